package relay_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sidecast/relay/protocol"
)

// A hookedPusher calls a function before it encodes the n-th message.
type hookedPusher struct {
	protocol.Pusher
	n    *int
	hook func()
}

func (p hookedPusher) Message(channel string, cursor, payload []byte) []byte {
	if *p.n--; *p.n == 0 {
		p.hook()
	}
	return p.Pusher.Message(channel, cursor, payload)
}

// The last event of a cache channel is not one that may be older than messages
// that were lost while it was searched.
func TestCacheChannelWithLosses(t *testing.T) {
	const channel = "private-cache-a"
	miss := fmt.Sprintf(`{"event":"pusher:cache_miss","channel":%q,"data":"{}"}`, channel)
	next := fmt.Sprintf(`{"event":"next","channel":%q,"data":"null"}`, channel)
	for name, tt := range map[string]struct {
		happens func(h *pusherHub)
		want    string
	}{
		"a new link":                  {func(h *pusherHub) { h.Online(2); time.Sleep(time.Millisecond) }, miss},
		"a message that is too large": {func(h *pusherHub) { h.Oversize([]byte(channel)); h.Flush() }, miss},
		"one more message":            {func(h *pusherHub) { h.Publish([]byte(channel), []byte(`{"event":"next"}`)); h.Flush() }, next},
		"a message that is too large, and a new": {func(h *pusherHub) {
			h.Oversize([]byte(channel))
			h.Publish([]byte(channel), []byte(`{"event":"next"}`))
			h.Flush()
		}, next},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newPusherHub(t)
				keep := h.pusherClient(protocol.V1{}, connectOptions{}) // keeps the channel in the history
				keep.handle(`{"type":"subscribe","channel":%q,"auth":%q}`, channel, testApp.SignChannel(keep.socketID, channel, ""))
				synctest.Wait()
				for range 10 {
					h.Publish([]byte(channel), []byte(`{"event":"old","data":"`+strings.Repeat("x", 20<<10)+`"}`))
				}
				h.Flush()
				synctest.Wait()
				n := 5
				c := h.pusherClient(hookedPusher{n: &n, hook: func() { tt.happens(h) }}, connectOptions{})
				c.join(channel, "")
				time.Sleep(time.Second)
				if n > 0 {
					t.Fatal("nothing has happened during the search")
				}
				c.wantFrames("the first frames", succeeded(channel), tt.want)
			})
		})
	}
}
