package relay_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sidecast/relay"
	"sidecast/relay/history"
	"sidecast/relay/outbox/outboxtest"
	"sidecast/relay/protocol"
	"sidecast/relay/stream"
)

// A watcher is a [relay.Unheard] that records its calls for the channels that
// begin with user.
type watcher struct {
	mu    sync.Mutex
	calls []string
}

func (w *watcher) Match(channel []byte) bool { return strings.HasPrefix(string(channel), "user") }
func (w *watcher) Listen(channel string)     { w.add("listen " + channel) }
func (w *watcher) Leave(channel string)      { w.add("leave " + channel) }
func (w *watcher) Nudge(channel []byte)      { w.add("nudge " + string(channel)) }
func (w *watcher) Message(channel, payload, cursor []byte) {
	place := "no place"
	if c, ok := history.ParseCursor(string(cursor)); ok {
		place = fmt.Sprint(c.Marker[7], ".", c.Index)
	}
	w.add(fmt.Sprintf("message %s %.10q %s", channel, payload, place))
}

func (w *watcher) add(call string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.calls = append(w.calls, call)
}

// expect compares the calls since the last expect.
func (w *watcher) expect(t *testing.T, want ...string) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	if !slices.Equal(w.calls, want) {
		t.Errorf("calls %q, want %q", w.calls, want)
	}
	w.calls = nil
}

// The hub reports messages without a subscriber, with their place if other
// relays know it too, and the first and the last subscriber of a channel.
func TestUnheard(t *testing.T) {
	for _, bytes := range []int{0, 1 << 20} {
		t.Run(fmt.Sprint("history ", bytes), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				place := func(index int) string {
					if bytes == 0 {
						return "no place"
					}
					return fmt.Sprint("7.", index)
				}
				w := new(watcher)
				h := newTestHub(t, relay.HubConfig{Unheard: w, HistoryBytes: bytes, HistoryAge: time.Hour})
				t.Cleanup(h.start())
				publish := func(channel, payload string) {
					h.Publish([]byte(channel), []byte(payload))
					h.Flush()
				}
				h.Online(1)
				publish("user:1", "before the first marker")
				w.expect(t, `message user:1 "before the" no place`)
				h.Marker([]byte{0, 0, 0, 0, 0, 0, 0, 7})
				publish("user:1", "one")
				publish("chat", "not watched")
				publish("user:1", "two")
				h.Oversize([]byte("user:1"))
				h.Flush()
				w.expect(t, `message user:1 "one" `+place(1), `message user:1 "two" `+place(2), `message user:1 "" `+place(3))

				first := h.connect(connectOptions{protocol: protocol.V1{}, room: outboxtest.Unlimited, channels: []string{"user:1"}})
				second := h.connect(connectOptions{protocol: protocol.V1{}, room: outboxtest.Unlimited, channels: []string{"user:1"}})
				publish("user:1", "heard")
				w.expect(t, "listen user:1")
				first.leave()
				publish("user:1", "heard")
				w.expect(t)
				second.leave()
				publish("user:1", strings.Repeat("x", 2000))
				w.expect(t, "leave user:1", `message user:1 "xxxxxxxxxx" `+place(6))
			})
		})
	}
}

// The hub reports nudges of streams without a subscriber.
func TestUnheardNudge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := new(watcher)
		conn := &storeConn{store: newPlainStore()}
		h := newTestHub(t, relay.HubConfig{Unheard: w, Streams: func() stream.Store { return conn }})
		t.Cleanup(h.start())
		h.Online(1)
		h.Nudge([]byte("user:1"), false)
		h.Event([]byte("user:1"))
		w.expect(t, "nudge user:1", "nudge user:1")
		c := h.connect(connectOptions{protocol: protocol.V1{}, room: outboxtest.Unlimited, channels: []string{"user:1"}})
		h.Nudge([]byte("user:1"), false)
		h.Event([]byte("user:1"))
		w.expect(t, "listen user:1")
		synctest.Wait()
		c.leave()
		h.Nudge([]byte("user:1"), false)
		w.expect(t, "leave user:1", "nudge user:1")
	})
}
