package relay_test

import (
	"strings"
	"testing"
	"testing/synctest"

	"sidecast/relay/outbox/outboxtest"
	"sidecast/relay/protocol"
)

// missed returns a hub, a cursor on channel a, and publishes messages 1 to n
// after it.
func missed(t *testing.T, historyBytes, n int) (h *testHub, cursor string) {
	h = newLiveHub(t, historyBytes, nil)
	cursor = h.newCursor("a")
	h.publish("a", 1, n)
	return h, cursor
}

// stalled returns a client that resumes channel a and does not read.
func (h *testHub) stalled(cursor string) *testClient {
	c := h.client(0)
	c.subscribe("a", cursor)
	return c
}

// What a client missed is sent as fast as it reads: 48 KiB and one message wait
// for the client, the rest in the history, and new messages after both.
func TestReplayIsPulled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, cursor := missed(t, 4<<20, 1000)
		c := h.stalled(cursor)
		if n := c.pending(); n > 50<<10 {
			t.Errorf("%d bytes wait for a client that does not read", n)
		}
		h.publish("a", 1001, 1003)
		for range 20 {
			c.socket.Give(50_000)
			synctest.Wait()
			if n := c.pending(); n > 50<<10 {
				t.Errorf("%d bytes wait for a slow client", n)
			}
		}
		h.publish("a", 1004, 1010)
		c.drain()
		h.publish("a", 1011, 1011)
		c.want("a client that reads slowly", "subscribed true,"+numbers(1, 1011))
		if n := h.stats.Gaps[protocol.GapHistory].Load(); n != 0 {
			t.Errorf("%d gaps", n)
		}
	})
}

// A client that is slower than the history is notified, and receives new
// messages.
func TestReplayIsOvertaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, cursor := missed(t, 500_000, 300)
		c := h.stalled(cursor)
		h.publish("a", 301, 1000)
		c.drain()
		h.publish("a", 1001, 1002)
		got, _ := c.received()
		first, rest, notified := strings.Cut(got, ",gap history")
		n := strings.Count(first, ",")
		if !notified || first != "subscribed true,"+numbers(1, n) || n < 20 || rest != ",1001,1002" {
			t.Errorf("received %.2000s", got)
		}
	})
}

// The history before an outage is not complete: a replay ends with a gap when
// the link returns.
func TestReplayEndsWithTheLink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, cursor := missed(t, 4<<20, 300)
		c := h.stalled(cursor)
		h.relink()
		h.publish("a", 301, 302)
		c.drain()
		h.publish("a", 303, 303)
		if got, _ := c.received(); !strings.Contains(got, "gap redis") || !strings.HasSuffix(got, ",303") {
			t.Errorf("received %.2000s", got)
		}
	})
}

// A replay ends when the client unsubscribes or disconnects.
func TestReplayEndsWithTheClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, cursor := missed(t, 4<<20, 300)
		c := h.stalled(cursor)
		h.stalled(cursor).leave()
		c.handle(`{"type":"unsubscribe","channel":"a"}`)
		c.socket.Give(outboxtest.Unlimited)
		h.publish("a", 301, 302)
		if got, _ := c.received(); !strings.HasPrefix(got, "subscribed true,1,2,3") || !strings.HasSuffix(got, "unsubscribed") {
			t.Errorf("received %.2000s", got)
		}
		if n := h.stats.Subscriptions.Load(); n != 0 {
			t.Errorf("%d subscriptions are left", n)
		}
	})
}

// A slowProtocol calls encoding before it encodes a message.
type slowProtocol struct {
	protocol.V1
	encoding func()
}

func (p *slowProtocol) Message(channel string, cursor, payload []byte) []byte {
	p.encoding()
	return p.V1.Message(channel, cursor, payload)
}

// A page that is being encoded when the client unsubscribes is not sent.
func TestReplayEndsWithTheSubscription(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, cursor := missed(t, 4<<20, 300)
		p := &slowProtocol{encoding: func() {}}
		c := h.connect(connectOptions{protocol: p})
		t.Cleanup(c.leave)
		c.subscribe("a", cursor)
		unsubscribed := make(chan struct{})
		p.encoding = func() { <-unsubscribed }
		c.socket.Give(100_000)
		synctest.Wait()
		c.handle(`{"type":"unsubscribe","channel":"a"}`)
		close(unsubscribed)
		c.drain()
		if got, _ := c.received(); !strings.HasPrefix(got, "subscribed true,1,") || !strings.HasSuffix(got, ",unsubscribed") {
			t.Errorf("received %.2000s", got)
		}
	})
}

// If a message during a replay is too large, its gap keeps its place.
func TestReplayKeepsGapsInPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, cursor := missed(t, 4<<20, 300)
		c := h.stalled(cursor)
		h.Oversize([]byte("a"))
		h.publish("a", 301, 302)
		c.drain()
		c.want("a message that is too large", "subscribed true,"+numbers(1, 300)+",gap too_large,301,302")
	})
}

// replaySizes are payloads that a client may miss, and their number.
var replaySizes = []struct {
	why, payload string
	n            int
}{
	{"empty", "", 3000},
	{"tiny: frames are many times as long", "x", 3000},
	{"six times as long in JSON", strings.Repeat("\x01", 700), 300},
	{"each longer than the last part of a replay", strings.Repeat("\x01", 4<<10), 60},
	{"as long as the last part of a replay", strings.Repeat("x", 4<<10), 100},
	{"larger than a page", strings.Repeat("x", 40<<10), 30},
}

// requirePulled lets a client read slowly until it has n messages with this
// payload, which it calls for each. No more than 48 KiB and one message may
// wait for it.
func requirePulled(t *testing.T, c *testClient, payload string, n int, each func(i int)) []event {
	t.Helper()
	for i := range 1000 {
		if waiting := c.pending(); waiting > 48<<10+7*len(payload)+300 {
			t.Fatalf("%d bytes wait", waiting)
		}
		each(i)
		c.socket.Give(10_000)
		synctest.Wait()
	}
	c.receive()
	if waiting := c.pending(); waiting > 0 || c.fault != nil {
		t.Fatalf("%d bytes wait in the end, fault %v", waiting, c.fault)
	}
	var messages []event
	for _, e := range c.events {
		switch {
		case e.kind == "gap":
			t.Fatalf("a gap: %v", e)
		case e.kind == "message" && string(e.payload) != payload:
			t.Fatalf("message %d is changed", len(messages))
		case e.kind == "message":
			messages = append(messages, e)
		}
	}
	if len(messages) != n {
		t.Errorf("received %d messages of %d", len(messages), n)
	}
	return messages
}

// However small messages are and however long they become on the wire, the
// client receives all of them, and 48 KiB and one of them wait at most.
func TestReplayOfAllSizes(t *testing.T) {
	for _, test := range replaySizes {
		for _, room := range []int{outboxtest.Unlimited, 0} {
			t.Run(test.why, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					h, cursor := missed(t, 4<<20, 0)
					for range test.n {
						h.Publish([]byte("a"), []byte(test.payload))
					}
					h.Flush()
					c := h.client(room)
					c.subscribe("a", cursor)
					requirePulled(t, c, test.payload, test.n, func(int) {})
				})
			})
		}
	}
}

// What a session published is not mistaken for another client's equal message
// after it has left the channel, or has skipped a part of it.
func TestEchoEndsWithItsPlace(t *testing.T) {
	for _, test := range []struct {
		why  string
		lose func(h *testHub, c *testClient) // so that its own message never arrives
	}{
		{"it left the channel and returned", func(h *testHub, c *testClient) {
			c.handle(`{"type":"unsubscribe","channel":"a"}`)
			h.publish("a", 1, 1)
			c.subscribe("a", "")
			c.handle(`{"type":"publish","channel":"a","data":"another","echo":false}`)
		}},
		{"its replay skipped the message", func(h *testHub, c *testClient) {
			h.publish("a", 1, 1)
			h.publish("b", 1, 1000) // drops the message from the history
			c.drain()
		}},
	} {
		synctest.Test(t, func(t *testing.T) {
			h := newLiveHub(t, 500_000, nil)
			cursor := h.newCursor("a")
			h.publish("a", 2, 300)
			c := h.stalled(cursor)
			own := strings.Repeat("x", 1000)
			c.handle(`{"type":"publish","channel":"a","data":%q,"echo":false}`, "#1:"+own)
			test.lose(h, c)
			c.drain()
			c.receive()
			h.publish("a", 1, 1)
			if text, _ := c.received(); text != "1" {
				t.Errorf("%s: of another client's message it receives %q", test.why, text)
			}
		})
	}
}

// A page that is encoded already may have messages that the history has dropped
// since. They are not sent again to a client that has them.
func TestReplayOfAPageWithDroppedMessages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newLiveHub(t, 20_000, nil)
		begin := h.newCursor("a")
		live := h.subscriber("a", "")
		h.publish("a", 1, 5)
		fifth := live.want("a live client", "subscribed false,"+numbers(1, 5))
		h.publish("a", 6, 6)
		h.subscriber("a", begin).want("the first client that resumes", "subscribed true,"+numbers(1, 6))
		dropped := false
		for got := "subscribed true,6"; got == "subscribed true,6"; {
			h.publish("b", 1, 1)
			first := h.subscriber("a", begin)
			text, _ := first.received()
			dropped = dropped || text == "subscribed false"
			first.leave()
			c := h.subscriber("a", fifth)
			if got, _ = c.received(); got != "subscribed true,6" && got != "subscribed false" {
				t.Fatalf("a client that has the fifth message: %s", got)
			}
			c.leave()
		}
		if !dropped {
			t.Error("the first messages were never dropped alone")
		}
	})
}
