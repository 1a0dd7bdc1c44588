package relay_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sidecast/relay"
	"sidecast/relay/outbox/outboxtest"
	"sidecast/relay/protocol"
	"sidecast/relay/stream"
)

// last subscribes to channel a, with the newest messages.
func (c *testClient) last(n int) {
	c.handle(`{"type":"subscribe","channels":[{"channel":"a","last":%d}]}`, n)
	synctest.Wait()
}

// A client that joins with last receives the newest messages, oldest first, and
// then new ones: never a gap because there were fewer.
func TestLast(t *testing.T) {
	for _, test := range []struct {
		why     string
		history int
		happens func(h *testHub)
		last    int
		want    string
	}{
		{"some of many", 1 << 20, func(h *testHub) { h.publish("a", 1, 50) }, 3, "48,49,50,"},
		{"over a marker", 1 << 20, func(h *testHub) { h.publish("a", 1, 5); h.mark(); h.publish("a", 6, 7) }, 3, "5,6,7,"},
		{"all of fewer", 1 << 20, func(h *testHub) { h.publish("a", 1, 2) }, 100, "1,2,"},
		{"no message", 1 << 20, func(h *testHub) {}, 100, ""},
		{"none", 1 << 20, func(h *testHub) { h.publish("a", 1, 50) }, 0, ""},
		{"no history", 0, func(h *testHub) { h.publish("a", 1, 50) }, 3, ""},
		{"of those that the history still has", 10_000, func(h *testHub) { h.publishSized("a", 1, 50, 3000) }, 100, "49,50,"},
		{"after a message that was too large", 1 << 20, func(h *testHub) {
			h.publish("a", 1, 3)
			h.Oversize([]byte("a"))
			h.publish("a", 4, 5)
		}, 4, "4,5,"},
		{"before a message that was too large", 1 << 20, func(h *testHub) { h.publish("a", 1, 3); h.Oversize([]byte("a")) }, 4, ""},
		{"after an outage", 1 << 20, func(h *testHub) { h.publish("a", 1, 3); h.relink(); h.publish("a", 4, 5) }, 4, "4,5,"},
		{"large ones", 1 << 20, func(h *testHub) { h.publishSized("a", 1, 20, 20_000) }, 7, "14,15,16,17,18,19,20,"},
	} {
		t.Run(test.why, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newLiveHub(t, test.history, nil)
				test.happens(h)
				c := h.client(outboxtest.Unlimited)
				c.last(test.last)
				h.publish("a", 100, 101)
				c.want("a client with last", "subscribed false,"+test.want+"100,101")
			})
		})
	}
}

// The cursor of the answer is the place before the first message: a client
// whose connection breaks before that arrives loses none. The oldest message
// may be the first one since its marker, or follow one that is not held.
func TestLastIsResumedBeforeItsFirstMessage(t *testing.T) {
	for last := range 9 {
		synctest.Test(t, func(t *testing.T) {
			h := newLiveHub(t, 15_000, nil)
			for n := range 20 {
				h.publishSized("a", n+1, n+1, 2000)
				if n%3 == 0 {
					h.receiveMarker()
				}
			}
			all := h.client(outboxtest.Unlimited)
			all.last(last + 1)
			want, _ := all.received()
			first := h.client(0)
			first.last(last + 1)
			first.socket.Give(len(handshake) + 400)
			synctest.Wait()
			_, cursor := first.received()
			first.leave()
			second := h.client(outboxtest.Unlimited)
			second.subscribe("a", cursor)
			second.want(fmt.Sprint("last ", last+1), strings.Replace(want, "false", "true", 1))
			if last == 5 && want != "subscribed false,15,16,17,18,19,20" {
				t.Errorf("the first client received %s", want)
			}
		})
	}
}

// While Redis is down, the newest messages are those from before. The gap
// follows when it is back.
func TestLastWhileRedisIsDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newLiveHub(t, 1<<20, nil)
		h.publish("a", 1, 3)
		h.Offline()
		c := h.client(outboxtest.Unlimited)
		c.last(2)
		h.Online(1)
		h.publish("a", 4, 4)
		c.want("a client that joins during an outage", "subscribed false,2,3,gap redis,4")
	})
}

// After a client is subscribed, and for values that are none, there is no last.
func TestLastIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newLiveHub(t, 1<<20, nil)
		h.publish("a", 1, 3)
		c := h.client(outboxtest.Unlimited)
		c.last(101)
		c.last(-1)
		c.handle(`{"type":"subscribe","channels":[{"channel":"a","since":"5-0"}]}`)
		c.subscribe("a", "")
		c.last(1)
		c.last(0)
		c.want("a client", "error bad_request,error bad_request,error bad_request,subscribed false,error bad_request,subscribed true")
	})
}

// After precedes last: the client receives all that it missed, and only that.
func TestAfterPrecedesLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newLiveHub(t, 1<<20, nil)
		h.publish("a", 1, 3)
		cursor := h.newCursor("a")
		h.publish("a", 4, 9)
		for name, value := range map[string]string{"after": cursor, "at": cursor} {
			c := h.client(outboxtest.Unlimited)
			c.handle(`{"type":"subscribe","channels":[{"channel":"a",%q:%q,"last":2}]}`, name, value)
			synctest.Wait()
			c.want(name, "subscribed true,"+numbers(4, 9))
		}
		c := h.client(outboxtest.Unlimited)
		c.handle(`{"type":"subscribe","channels":[{"channel":"a","after":"bogus","last":2}]}`)
		synctest.Wait()
		c.want("a cursor that is none", "subscribed false")
	})
}

// A client that reads slowly gets its newest messages page by page, as any
// replay.
func TestLastIsPulled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newLiveHub(t, 4<<20, nil)
		h.publishSized("a", 1, 200, 5000)
		c := h.client(0)
		c.last(100)
		if n := c.pending(); n > 50<<10 {
			t.Errorf("%d bytes wait for a client that does not read", n)
		}
		h.publish("a", 201, 203)
		c.drain()
		c.want("a client that reads slowly", fmt.Sprint("subscribed false,", numbers(101, 203)))
	})
}

// A raw client that asks for gaps is closed where a message was too large, also
// while its newest messages are being sent.
func TestLastEndsAtAGap(t *testing.T) {
	for _, channel := range []string{"a", "s:a"} {
		synctest.Test(t, func(t *testing.T) {
			store := newPlainStore()
			store.limit = 6000
			h := newTestHub(t, relay.HubConfig{
				Access: mixedRules(), HistoryBytes: 4 << 20, HistoryAge: time.Hour, PingInterval: time.Hour,
				Streams: func() stream.Store { return &storeConn{store: store} },
			})
			t.Cleanup(h.start())
			h.Online(1)
			h.publishSized("a", 1, 50, 5000)
			store.fill("s:a", 1, 50, 5000)
			c := h.connect(connectOptions{protocol: protocol.Raw{}, gapClose: true})
			t.Cleanup(c.leave)
			c.session.Subscribe([]protocol.ChannelRequest{{Channel: channel, Last: 20}})
			h.Oversize([]byte("a"))
			h.publishSized("a", 51, 52, 10)
			store.fill("s:a", 51, 51, 7000)
			store.fill("s:a", 52, 52, 10)
			h.Nudge([]byte("s:a"), false)
			synctest.Wait()
			c.drain()
			c.want(channel, numbers(31, 50)+",close")
			if code := c.session.CloseCode(); code != protocol.CloseGap {
				t.Errorf("closed with %d", code.Number())
			}
		})
	}
}
