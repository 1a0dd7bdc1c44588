package ws

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

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

// An evicted client that starts to read receives complete frames, and the close
// frame as the last.
func TestEvictedClientReadsWholeFrames(t *testing.T) {
	r := newTestRelay(t, func(c *relayConfig) { c.each = 64 << 10 })
	slow := r.dialStuck("/?channel=a")
	for r.stats.Evictions[stats.EvictBytes].Load() == 0 {
		r.publish("a", strings.Repeat("x", 8<<10))
	}
	for {
		op, got, err := slow.read()
		if err != nil {
			t.Fatalf("no close frame: %v", err)
		}
		if op == 8 {
			if want := "\x11\x38" + protocol.CloseSlow.Reason(); got != want {
				t.Errorf("close frame %q, want %q", got, want)
			}
			return
		}
		if op != 1 || got != strings.Repeat("x", 8<<10) {
			t.Fatalf("a frame of type %x with %d bytes", op, len(got))
		}
	}
}

func TestOldBytesCauseEviction(t *testing.T) {
	r := newTestRelay(t, func(c *relayConfig) { c.age = 500 * time.Millisecond; c.hub.PongTimeout = 200 * time.Millisecond })
	slow := r.dialStuck("/?channel=a")
	r.fillOutbox("a", 100<<10)
	await(t, "the eviction", func() bool { return r.stats.Evictions[stats.EvictAge].Load() == 1 })
	await(t, "the client to be disconnected", func() bool { return r.hub.Sessions() == 0 })
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
	if used := r.budget.Used(); used > 500<<10 {
		t.Errorf("%d bytes are still queued: the client with the largest outbox was not evicted", used)
	}
	await(t, "the evicted client to be disconnected", func() bool { return r.hub.Sessions() == cap(small) })
	if n := r.stats.Evictions[stats.EvictTotal].Load(); n != 1 {
		t.Errorf("%d clients were evicted, want one", n)
	}
}

// An empty outbox accepts a frame larger than its limit: otherwise such a frame
// could never be delivered.
func TestOneFrameAlwaysFits(t *testing.T) {
	r := newTestRelay(t, func(c *relayConfig) { c.each = 1 << 10 })
	p := r.dialStuck("/?channel=a")
	payload := strings.Repeat("x", 1<<20-1)
	r.publish("a", payload)
	p.want(1, payload)
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

func TestUnansweredPingDisconnects(t *testing.T) {
	r := newTestRelay(t, func(c *relayConfig) {
		c.hub.PingInterval = 200 * time.Millisecond
		c.hub.PongTimeout = 100 * time.Millisecond
	})
	silent := r.dial("/?channel=a")
	answering := r.dial("/?channel=a")
	received := make(chan string, 1)
	go func() {
		for {
			op, got, err := answering.read()
			if err != nil || op == 1 {
				received <- got
				return
			}
			answering.write(frame(0x8a, got))
		}
	}()
	silent.want(9, "")
	await(t, "the silent client to be disconnected", func() bool { return r.hub.Sessions() == 1 })
	r.publish("a", "still here")
	if got := <-received; got != "still here" {
		t.Errorf("the client that answers receives %q", got)
	}
	await(t, "the abnormal end of the silent client in the log", func() bool {
		return strings.Contains(r.log.String(), "code=1006")
	})
}

func TestHeartbeatIsSentWithThePing(t *testing.T) {
	r := newTestRelay(t, func(c *relayConfig) { c.hub.PingInterval = 100 * time.Millisecond })
	p := r.dialV1()
	p.want(1, `{"type":"heartbeat"}`)
	p.want(9, "")
}

// Several clients share the bytes of a frame: sending it to one client must not
// change it for another.
func TestSharedFramesAreNotChanged(t *testing.T) {
	r := newTestRelay(t)
	var all []*peer
	for range 5 {
		all = append(all, r.dial("/?channel=a"))
	}
	r.publish("a", "shared")
	for _, p := range all {
		p.want(1, "shared")
	}
	if !bytes.Equal([]byte(r.publications()[0]), []byte("a shared")) {
		t.Error("the payload was changed")
	}
}
