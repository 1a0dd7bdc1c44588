package ws

import (
	"bytes"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"sidecast/relay/protocol"
	"sidecast/relay/stats"
)

// deaf is a client that does not read, with a small receive buffer so that the kernel hides little.
func (r *rig) deaf(target string) *peer {
	r.t.Helper()
	p := r.connect()
	_ = p.conn.(*net.TCPConn).SetReadBuffer(64 << 10)
	p.write([]byte(r.handshake(target)))
	p.response()
	return p
}

// stuff publishes to channel until its only listener's outbox holds at least n bytes, and returns how often.
func (r *rig) stuff(channel string, n int64) (times int) {
	r.t.Helper()
	before := r.budget.Used()
	for ; r.budget.Used()-before < n; times++ {
		if times > 10_000 {
			r.t.Fatal("the outbox does not fill")
		}
		r.say(channel, strings.Repeat("x", 8<<10))
	}
	return times
}

// A client that does not read is thrown out at its bound; the one beside it hears everything.
func TestSlowClientIsEvicted(t *testing.T) {
	r := newRig(t, func(c *rigConfig) { c.each = 256 << 10; c.ws.DefaultChannels = []string{"a"} })
	slow := r.deaf("/?channel=a")
	quick := r.dial("/?channel=a")
	payload := strings.Repeat("x", 8<<10)
	for range 400 {
		r.say("a", payload)
		quick.want(1, payload)
	}
	await(t, "the eviction", func() bool { return r.stats.Evictions[stats.EvictBytes].Load() == 1 })
	await(t, "the slow client to be gone", func() bool { return r.hub.Sessions() == 1 })
	if used := r.budget.Used(); used != 0 {
		t.Errorf("%d bytes are still charged", used)
	}
	await(t, "slow consumer in the log", func() bool { return strings.Contains(r.log.String(), "code=4408") })
	_ = slow.conn.Close()
}

// An evicted client that starts to read finds whole frames, the last of them the close frame.
func TestEvictedClientReadsWholeFrames(t *testing.T) {
	r := newRig(t, func(c *rigConfig) { c.each = 64 << 10 })
	slow := r.deaf("/?channel=a")
	for r.stats.Evictions[stats.EvictBytes].Load() == 0 {
		r.say("a", strings.Repeat("x", 8<<10))
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

func TestOldBytesEvict(t *testing.T) {
	r := newRig(t, func(c *rigConfig) { c.age = 500 * time.Millisecond; c.hub.PongTimeout = 200 * time.Millisecond })
	slow := r.deaf("/?channel=a")
	r.stuff("a", 100<<10)
	await(t, "the eviction", func() bool { return r.stats.Evictions[stats.EvictAge].Load() == 1 })
	await(t, "the client to be gone", func() bool { return r.hub.Sessions() == 0 })
	_ = slow.conn.Close()
}

// All outboxes together have a bound as well: whoever crosses it, the largest goes, and nobody else.
func TestTotalBoundEvictsTheLargest(t *testing.T) {
	r := newRig(t, func(c *rigConfig) { c.total = 1400 << 10 })
	r.deaf("/?channel=large")
	r.stuff("large", 900<<10)
	small := make([]*peer, 0, 30)
	for i := range cap(small) {
		name := "small" + string(rune('A'+i))
		small = append(small, r.deaf("/?channel="+name))
		r.stuff(name, 10<<10)
	}
	for i := 0; r.stats.Evictions[stats.EvictTotal].Load() == 0; i++ {
		r.say("small"+string(rune('A'+i%cap(small))), strings.Repeat("x", 8<<10))
	}
	if used := r.budget.Used(); used > 500<<10 {
		t.Errorf("%d bytes still wait: it was not the one with most of them that went", used)
	}
	await(t, "the largest to be gone", func() bool { return r.hub.Sessions() == cap(small) })
	if n := r.stats.Evictions[stats.EvictTotal].Load(); n != 1 {
		t.Errorf("%d were evicted, want one", n)
	}
}

// One frame larger than the outbox is always taken, or nobody could ever be sent it.
func TestOneFrameAlwaysFits(t *testing.T) {
	r := newRig(t, func(c *rigConfig) { c.each = 1 << 10 })
	p := r.deaf("/?channel=a")
	payload := strings.Repeat("x", 1<<20-1)
	r.say("a", payload)
	p.want(1, payload)
}

// A connection that is closed while much is queued still gets everything, and then the close frame.
func TestCloseComesAfterTheQueue(t *testing.T) {
	r := newRig(t)
	p := r.deaf("/?channel=a")
	said := r.stuff("a", 500<<10)
	done := make(chan struct{})
	go func() { defer close(done); r.hub.Drain(t.Context(), 0, protocol.CloseRestart) }()
	for range said {
		p.want(1, strings.Repeat("x", 8<<10))
	}
	p.wantClose(protocol.CloseRestart)
	<-done
}

// Everything that the kernel refused arrives in order when the client reads again, pongs among it in their place.
func TestSlowClientCatchesUp(t *testing.T) {
	r := newRig(t)
	p := r.deaf("/?channel=a&publish=elsewhere")
	r.stuff("a", 300<<10)
	p.write(append(frame(0x89, "ping"), text("behind the ping")...))
	await(t, "the relay to read on", func() bool {
		return slices.Contains(r.publications(), "elsewhere behind the ping")
	})
	for range 10 {
		r.say("a", "end")
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
				t.Fatal("a message overtook the pong queued before it")
			}
		case got != strings.Repeat("x", 8<<10):
			t.Fatalf("a frame of type %x with %d bytes", op, len(got))
		}
	}
}

// Clients that do not read cost what their outboxes hold, and nobody else waits for them.
func TestStuckClientsDoNotDelayOthers(t *testing.T) {
	r := newRig(t, func(c *rigConfig) { c.each = 128 << 10 })
	for range 20 {
		r.deaf("/?channel=a")
	}
	quick := r.dial("/?channel=a")
	payload := strings.Repeat("y", 8<<10)
	for range 200 {
		r.say("a", payload)
		quick.want(1, payload)
	}
	await(t, "the evictions", func() bool { return r.stats.Evictions[stats.EvictBytes].Load() == 20 })
}

func TestUnansweredPingEnds(t *testing.T) {
	r := newRig(t, func(c *rigConfig) {
		c.hub.PingInterval = 200 * time.Millisecond
		c.hub.PongTimeout = 100 * time.Millisecond
	})
	quiet := r.dial("/?channel=a")
	talker := r.dial("/?channel=a")
	heard := make(chan string, 1)
	go func() {
		for {
			op, got, err := talker.read()
			if err != nil || op == 1 {
				heard <- got
				return
			}
			talker.write(frame(0x8a, got))
		}
	}()
	quiet.want(9, "")
	await(t, "the quiet client to be gone", func() bool { return r.hub.Sessions() == 1 })
	r.say("a", "still here")
	if got := <-heard; got != "still here" {
		t.Errorf("the client that answers hears %q", got)
	}
	await(t, "the end of the quiet one in the log, as abnormal", func() bool {
		return strings.Contains(r.log.String(), "code=1006")
	})
}

func TestHeartbeatLeavesWithThePing(t *testing.T) {
	r := newRig(t, func(c *rigConfig) { c.hub.PingInterval = 100 * time.Millisecond })
	p := r.v1()
	p.want(1, `{"type":"heartbeat"}`)
	p.want(9, "")
}

// Frames that several clients share are the same bytes: what one is sent cannot be changed by another.
func TestSharedFramesAreNotCopied(t *testing.T) {
	r := newRig(t)
	var all []*peer
	for range 5 {
		all = append(all, r.dial("/?channel=a"))
	}
	r.say("a", "shared")
	for _, p := range all {
		p.want(1, "shared")
	}
	if !bytes.Equal([]byte(r.publications()[0]), []byte("a shared")) {
		t.Error("the payload was changed")
	}
}
