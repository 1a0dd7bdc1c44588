package relay_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sidecast/relay"
	"sidecast/relay/outbox/outboxtest"
	"sidecast/relay/protocol"
)

// A countingProtocol stands for the Pusher protocol: its clients are told how
// many subscriptions a channel has.
type countingProtocol struct{ protocol.V1 }

func (countingProtocol) ID() protocol.ID { return protocol.PusherID }

func (p countingProtocol) Event(e protocol.Event) []byte {
	if e.Type == protocol.EventSubscriptionCount {
		return p.Message(e.Channel, nil, fmt.Append(nil, "count ", e.Count))
	}
	return p.V1.Event(e)
}

// fakeCounts stands for relay/counts, and records what it is told.
type fakeCounts struct {
	mu    sync.Mutex
	calls []string
	now   map[string]int // subscriptions by channel
}

func (c *fakeCounts) Changed(channel string, subscriptions, watching, by int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls = append(c.calls, fmt.Sprintf("%s %d %d %+d", channel, subscriptions, watching, by))
	if c.now[channel] += by; c.now[channel] != subscriptions {
		c.calls = append(c.calls, "which is wrong")
	}
}

// take returns the calls since the last call.
func (c *fakeCounts) take() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	list := strings.Join(c.calls, ", ")
	c.calls = nil
	return list
}

func newCountingHub(t *testing.T, counts relay.Counts) *testHub {
	h := newTestHub(t, relay.HubConfig{
		Shards: 2, Counts: counts, HistoryBytes: 1 << 20, HistoryAge: time.Hour,
		Protocols: append(protocol.All()[:protocol.PusherID:protocol.PusherID], countingProtocol{}),
	})
	t.Cleanup(h.start())
	h.Online(1)
	h.receiveMarker()
	return h
}

// countsTold returns the numbers that a client was told.
func countsTold(c *testClient) (list []string) {
	got, _ := c.socket.sent()
	for part := range strings.SplitSeq(string(got), "count ") {
		list = append(list, part[:strings.IndexAny(part+`"`, `"`)])
	}
	return list[1:]
}

// The hub reports each subscription that begins or ends, however it does.
func TestSubscriptionsAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		counts := &fakeCounts{now: map[string]int{}}
		h := newCountingHub(t, counts)
		want := func(what, calls string) {
			t.Helper()
			synctest.Wait()
			if got := counts.take(); got != calls {
				t.Errorf("%s: %s, want %s", what, got, calls)
			}
		}
		pusher := func() *testClient {
			c := h.connect(connectOptions{room: outboxtest.Unlimited, protocol: countingProtocol{}})
			t.Cleanup(c.leave)
			return c
		}
		a, b := h.client(outboxtest.Unlimited), pusher()
		a.subscribe("chat", "")
		want("a client of another protocol", "chat 1 0 +1")
		a.subscribe("chat", "")
		want("again", "")
		b.subscribe("chat", "")
		want("a client that is told the number", "chat 2 1 +1")
		b.subscribe("presence-1", "")
		want("a presence channel", "presence-1 1 0 +1")
		b.subscribe("private-1", "")
		want("a private channel", "private-1 1 1 +1")
		a.handle(`{"type":"unsubscribe","channel":"chat"}`)
		want("unsubscribe", "chat 1 1 -1")
		b.handle(`{"type":"unsubscribe","channel":"private-1"}`)
		b.handle(`{"type":"unsubscribe","channel":"presence-1"}`)
		want("unsubscribe", "private-1 0 0 -1, presence-1 0 0 -1")
		cursor := h.newCursor("other")
		want("a client that leaves", "other 1 0 +1, other 0 0 -1")
		h.publish("other", 1, 3)
		a.subscribe("other", cursor)
		want("a client that resumes", "other 1 0 +1")
		b.leave()
		want("a client that leaves", "chat 0 0 -1")
	})
}

// SubscriptionCount tells the clients on the channel whose protocol has such an
// event, in all shards, and only those that are there.
func TestSubscriptionCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newCountingHub(t, nil)
		var told []*testClient
		for range 4 {
			c := h.connect(connectOptions{room: outboxtest.Unlimited, protocol: countingProtocol{}})
			t.Cleanup(c.leave)
			c.subscribe("chat", "")
			told = append(told, c)
		}
		other := h.subscriber("chat", "")
		stranger := h.connect(connectOptions{room: outboxtest.Unlimited, protocol: countingProtocol{}})
		t.Cleanup(stranger.leave)
		h.SubscriptionCount("chat", 7)
		h.SubscriptionCount("nobody", 8)
		synctest.Wait()
		told[0].handle(`{"type":"unsubscribe","channel":"chat"}`)
		h.SubscriptionCount("chat", 9)
		synctest.Wait()
		for i, c := range told {
			want := "7,9"
			if i == 0 {
				want = "7"
			}
			if got := strings.Join(countsTold(c), ","); got != want {
				t.Errorf("client %d was told %s, want %s", i, got, want)
			}
		}
		other.want("a client of another protocol", "subscribed false")
		if got := countsTold(stranger); len(got) != 0 {
			t.Errorf("a client that is not on the channel was told %q", got)
		}
	})
}
