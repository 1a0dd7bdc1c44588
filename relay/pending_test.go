package relay_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sidecast/relay"
	"sidecast/relay/outbox/outboxtest"
	"sidecast/relay/stream"
)

// newSilentHub returns a hub with live channels and durable ones, whose names
// begin with "s:". It is online, and Redis does not answer a read of streams
// before the context ends.
func newSilentHub(t *testing.T, channels int) *testHub {
	conn := &storeConn{store: newPlainStore(), pass: func(ctx context.Context, _, _ string) error {
		<-ctx.Done()
		return ctx.Err()
	}}
	h := newTestHub(t, relay.HubConfig{
		Access: mixedRules(), Shards: 1, PingInterval: time.Hour, HistoryBytes: 1 << 20, HistoryAge: time.Hour,
		MaxChannels: channels, Streams: func() stream.Store { return conn },
	})
	t.Cleanup(h.start())
	h.Online(1)
	h.receiveMarker()
	return h
}

const someEntry = "AgcBRX7pPQ" // a cursor of a durable channel

// While a subscribe waits for Redis, the client's other commands run, and are
// answered in order.
func TestPendingSubscribe(t *testing.T) {
	for _, test := range []struct {
		why      string
		channels int // allowed
		commands []string
		want     string // at once
		later    string // after ten seconds
	}{
		{"other commands are answered", 3, []string{`{"type":"subscribe","channels":[{"channel":"a"}]}`, `{"type":"ping"}`},
			"subscribed false,pong", "error unavailable"},
		{"a second subscribe", 3, []string{`{"type":"subscribe","channels":[{"channel":"s:a"}]}`},
			"error bad_request", "error unavailable"},
		{"unsubscribe cancels it", 3, []string{`{"type":"unsubscribe","channel":"s:a"}`}, "unsubscribed", ""},
		{"it counts towards the limit", 1, []string{`{"type":"subscribe","channels":[{"channel":"a"}]}`},
			"error too_many_channels", "error unavailable"},
		{"after unsubscribe it does not count", 1,
			[]string{`{"type":"unsubscribe","channel":"s:a"}`, `{"type":"subscribe","channels":[{"channel":"a"}]}`},
			"unsubscribed,subscribed false", ""},
		{"the client can subscribe again at once", 1,
			[]string{`{"type":"unsubscribe","channel":"s:a"}`, fmt.Sprintf(`{"type":"subscribe","channels":[{"channel":"s:a","after":%q}]}`, someEntry)},
			"unsubscribed", "error unavailable"},
	} {
		t.Run(test.why, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newSilentHub(t, test.channels)
				c := h.client(outboxtest.Unlimited)
				c.subscribe("s:a", someEntry)
				c.want("before Redis answers", "")
				for _, command := range test.commands {
					c.handle("%s", command)
				}
				synctest.Wait()
				c.want("at once", test.want)
				time.Sleep(10 * time.Second)
				synctest.Wait()
				c.want("after ten seconds", test.later)
				c.leave()
				h.checkEmpty()
			})
		})
	}
}

// One deadline covers all channels of a command: live ones are answered at once,
// durable ones after ten seconds.
func TestOneDeadlineForACommand(t *testing.T) {
	for _, away := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			h := newSilentHub(t, 128)
			if away {
				h.Offline()
				synctest.Wait()
			}
			c := h.client(outboxtest.Unlimited)
			c.receive()
			var requests []string
			for i := range 127 {
				requests = append(requests, request(fmt.Sprint("s:", i), someEntry))
			}
			began := time.Now()
			c.handle("%s", subscribe(append(requests, request("live", ""))...))
			synctest.Wait()
			c.want("at once", "subscribed false")
			time.Sleep(10*time.Second - time.Millisecond)
			synctest.Wait()
			c.want("before ten seconds", "")
			time.Sleep(time.Millisecond)
			synctest.Wait()
			c.want("after ten seconds", strings.TrimSuffix(strings.Repeat("error unavailable,", 127), ","))
			if waited := time.Since(began); waited != 10*time.Second {
				t.Errorf("the answers took %v", waited)
			}
		})
	}
}

// A client that has gone while it waited leaves nothing behind, whether the link
// returns or not.
func TestClientsThatLeaveDuringAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newSilentHub(t, 128)
		live := h.newCursor("live")
		h.Offline()
		for range 100 {
			c := h.client(outboxtest.Unlimited)
			c.handle("%s", subscribe(request("s:a", someEntry), request("s:b", ""), request("live", live)))
			synctest.Wait()
			c.leave()
		}
		synctest.Wait()
		if n := h.Waiting(); n != 0 {
			t.Errorf("%d resumes still wait", n)
		}
		h.checkEmpty()
		h.Online(1)
		synctest.Wait()
		h.checkEmpty()
	})
}

// Clients that resume the same messages share their pages: each is encoded once.
func TestPagesAreEncodedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, cursor := missed(t, 4<<20, 240)
		for range 50 {
			h.subscriber("a", cursor).want("a client that resumes", "subscribed true,"+numbers(1, 240))
		}
		_, _, encoded := h.PageCache()
		if pages := uint64(240/7 + 2); encoded > pages {
			t.Errorf("%d pages were encoded, want %d at most", encoded, pages)
		}
	})
}
