package ws

import (
	"slices"
	"strings"
	"testing"

	"sidecast/relay/protocol"
	"sidecast/relay/stats"
)

// fillOutbox publishes to channel until the outbox of its only subscriber has
// at least n bytes. It returns the number of messages.
func (r *testRelay) fillOutbox(channel string, n int64) (times int) {
	r.t.Helper()
	before := r.budget.Used()
	for ; r.budget.Used()-before < n; times++ {
		if times > 10_000 {
			r.t.Fatal("the outbox does not fill")
		}
		r.publish(channel, strings.Repeat("x", 8<<10))
	}
	return times
}

// A client that does not read is evicted when its outbox is full. Another
// client receives all messages.
func TestSlowClientIsEvicted(t *testing.T) {
	r := newTestRelay(t, func(c *relayConfig) { c.each = 256 << 10; c.ws.DefaultChannels = []string{"a"} })
	slow := r.dialStuck("/?channel=a")
	fast := r.dial("/?channel=a")
	payload := strings.Repeat("x", 8<<10)
	for range 400 {
		r.publish("a", payload)
		fast.want(1, payload)
	}
	await(t, "the eviction", func() bool { return r.stats.Evictions[stats.EvictBytes].Load() == 1 })
	await(t, "the slow client to be disconnected", func() bool { return r.hub.Sessions() == 1 })
	if used := r.budget.Used(); used != 0 {
		t.Errorf("%d bytes are still charged", used)
	}
	await(t, "the close code in the log", func() bool { return strings.Contains(r.log.String(), "code=4408") })
	_ = slow.conn.Close()
}

// All outboxes together have a limit too. If any client's outbox exceeds it,
// only the client with the largest outbox is evicted.
func TestTotalBoundEvictsTheLargest(t *testing.T) {
	r := newTestRelay(t, func(c *relayConfig) { c.total = 1400 << 10 })
	r.dialStuck("/?channel=large")
	r.fillOutbox("large", 900<<10)
	small := make([]*peer, 0, 30)
	for i := range cap(small) {
		name := "small" + string(rune('A'+i))
		small = append(small, r.dialStuck("/?channel="+name))
		r.fillOutbox(name, 10<<10)
	}
	for i := 0; r.stats.Evictions[stats.EvictTotal].Load() == 0; i++ {
		r.publish("small"+string(rune('A'+i%cap(small))), strings.Repeat("x", 8<<10))
	}
	if used := r.budget.Used(); used > 600<<10 {
		t.Errorf("%d bytes are still queued: the client with the largest outbox was not evicted", used)
	}
	await(t, "the evicted client to be disconnected", func() bool { return r.hub.Sessions() == cap(small) })
	if n := r.stats.Evictions[stats.EvictTotal].Load(); n != 1 {
		t.Errorf("%d clients were evicted, want one", n)
	}
}

// If a connection is closed while messages are queued, the client receives all
// of them, and then the close frame.
func TestCloseComesAfterTheQueue(t *testing.T) {
	r := newTestRelay(t)
	p := r.dialStuck("/?channel=a")
	published := r.fillOutbox("a", 500<<10)
	done := make(chan struct{})
	go func() { defer close(done); r.hub.Drain(t.Context(), 0, protocol.CloseRestart) }()
	for range published {
		p.want(1, strings.Repeat("x", 8<<10))
	}
	p.wantClose(protocol.CloseRestart)
	<-done
}

// When a slow client reads again, it receives all queued frames in order, and
// pongs in their place.
func TestSlowClientCatchesUp(t *testing.T) {
	r := newTestRelay(t)
	p := r.dialStuck("/?channel=a&publish=elsewhere")
	r.fillOutbox("a", 300<<10)
	p.write(append(frame(0x89, "ping"), text("after the ping")...))
	await(t, "the relay to read on", func() bool {
		return slices.Contains(r.publications(), "elsewhere after the ping")
	})
	for range 10 {
		r.publish("a", "end")
	}
	pongs, ends := 0, 0
	for ends < 10 {
		op, got, err := p.read()
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case op == 10 && got == "ping":
			pongs++
		case got == "end":
			if ends++; pongs != 1 {
				t.Fatal("a message arrives before the pong that was queued earlier")
			}
		case got != strings.Repeat("x", 8<<10):
			t.Fatalf("a frame of type %x with %d bytes", op, len(got))
		}
	}
}

// Clients that do not read do not delay others.
func TestStuckClientsDoNotDelayOthers(t *testing.T) {
	r := newTestRelay(t, func(c *relayConfig) { c.each = 128 << 10 })
	for range 20 {
		r.dialStuck("/?channel=a")
	}
	fast := r.dial("/?channel=a")
	payload := strings.Repeat("y", 8<<10)
	for range 200 {
		r.publish("a", payload)
		fast.want(1, payload)
	}
	await(t, "the evictions", func() bool { return r.stats.Evictions[stats.EvictBytes].Load() == 20 })
}
