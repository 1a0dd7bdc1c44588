package server_test

import (
	"errors"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"sidecast/relay"
	"sidecast/relay/protocol"
	"sidecast/relay/relaytest"
	"sidecast/relay/relaytest/redistest"
	"sidecast/relay/stats"
)

// dial connects a client with a small receive buffer. If stuck is set, the
// client stops reading immediately.
func dial(t *testing.T, r *testRelay, p relaytest.Protocol, channel string, stuck bool) *relaytest.Client {
	t.Helper()
	d := &relaytest.Dialer{URL: "ws://" + r.addr + "/ws", Protocol: p, ReceiveBuffer: 16 << 10}
	if p == relaytest.Raw {
		d.Channels = []string{channel}
	}
	c, err := d.Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Drop)
	if p == relaytest.V1 {
		if err := c.Subscribe(t.Context(), channel); err != nil {
			t.Fatal(err)
		}
	}
	if stuck {
		c.StopReading()
	}
	return c
}

// The relay's memory stays within the formula in the documentation of package
// relay, and within the limit of the history, even if many clients do not read.
// Here 100 clients do not read: the limit for each client alone would allow
// their outboxes 100 MiB together.
func TestStuckClientsStayWithinTheFormula(t *testing.T) {
	const clients, total, history, message = 100, 16 << 20, 8 << 20, 8 << 10
	const formula = total + 1*(16<<20+4<<20) + message + history
	const idle = 4 << 20 // memory for the clients at both ends, and for the test
	r := startRelay(t, func(o *relayOptions) { o.each, o.total, o.shards, o.history = 1<<20, total, 1, history })
	r.hub.Online(1)
	for i := range clients {
		dial(t, r, relaytest.Raw, strconv.Itoa(i), true)
	}
	before := heap()
	var most, queued int64
	payload := []byte(strings.Repeat("x", message))
	for n := range clients * 160 { // 1.25 MiB for each
		r.hub.Publish([]byte(strconv.Itoa(n%clients)), payload)
		r.hub.Flush()
		queued = max(queued, r.budget.Used())
		if n%1000 == 0 {
			most = max(most, heap()-before)
		}
	}
	if most > formula+idle {
		t.Errorf("the heap grew by %d KiB, the formula allows %d KiB", most>>10, (formula+idle)>>10)
	}
	if queued < total*9/10 {
		t.Errorf("at most %d KiB were queued: too little to test the limit", queued>>10)
	}
	if kept := r.hub.HistoryBytes(); kept < history*3/4 || kept > history {
		t.Errorf("the history has %d KiB of %d", kept>>10, history>>10)
	}
	if n := r.stats.Evictions[stats.EvictTotal].Load(); n == 0 {
		t.Error("no client was evicted")
	}
}

// heap returns the size of the heap in use, without garbage.
func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// An empty outbox accepts a message larger than its limit, because such a
// message could not be delivered otherwise. The next message evicts the client,
// which still receives the complete first message, and a close frame with the
// reason.
func TestMessageLargerThanTheOutbox(t *testing.T) {
	r := startRelay(t, func(o *relayOptions) { o.each, o.maxPayload = 64<<10, 4<<20 })
	r.hub.Online(1)
	c := dial(t, r, relaytest.Raw, "a", true)
	for n := range 2 {
		payload := strings.Repeat(strconv.Itoa(n), 3<<20)
		r.hub.Publish([]byte("a"), []byte(payload))
		r.hub.Flush()
		if n == 0 {
			c.ResumeReading()
		}
		if n == 1 {
			r.hub.Publish([]byte("a"), []byte("one too many"))
			r.hub.Flush()
			await(t, "the eviction", func() bool { return r.stats.Evictions[stats.EvictBytes].Load() == 1 })
			c.ResumeReading()
		}
		whole := func(e relaytest.Event) bool { return e.Kind == relaytest.KindMessage && e.Data == payload }
		if _, err := c.Await(t.Context(), whole); err != nil {
			t.Fatalf("message %d: %v", n, err)
		}
		c.StopReading()
	}
	c.ResumeReading()
	closed := func(e relaytest.Event) bool { return e.Code == uint16(protocol.CloseSlow) }
	if _, err := c.Await(t.Context(), closed); err != nil {
		t.Fatalf("no close frame with %d: %v", protocol.CloseSlow, err)
	}
}

// A blockingSink can block the link, so that it reads nothing from Redis.
type blockingSink struct {
	*relay.Hub
	blocked atomic.Pointer[chan struct{}] // closed to unblock
}

func (s *blockingSink) Publish(channel, payload []byte) {
	if blocked := s.blocked.Load(); blocked != nil {
		<-*blocked
	}
	s.Hub.Publish(channel, payload)
}

// Redis disconnects a relay that reads too slowly, at
// client-output-buffer-limit. Clients receive all messages before the
// disconnect, then `offline`, then the gap, and then the messages published
// afterwards. No message is lost without a gap.
func TestRedisDisconnectsASlowRelay(t *testing.T) {
	server := redistest.Start(t)
	server.CLI("CONFIG", "SET", "client-output-buffer-limit", "pubsub 1mb 1mb 1")
	r := startRelay(t, func(o *relayOptions) { o.each = 64 << 20 })
	sink := &blockingSink{Hub: r.hub}
	runLink(t, server.Addr, sink, r.stats)
	c := dial(t, r, relaytest.V1, "a", false)

	redis := relaytest.NewRedis(server.Addr, relaytest.Patience)
	defer redis.Close()
	p := relaytest.NewPublisher(relaytest.PublishTo(redis), relaytest.Payloads{Sizes: []int{32 << 10}})
	p.Publish(t.Context(), "a")
	var faults relaytest.FaultLog
	fault := faults.Begin(relaytest.Fault{Name: "the relay reads nothing", Gap: relaytest.Once, Offline: relaytest.Once})
	unblock := make(chan struct{})
	sink.blocked.Store(&unblock)
	for n := 0; p.Publish(t.Context(), "a").Receivers > 0; n++ {
		if n > 5000 {
			t.Fatal("Redis does not disconnect the relay")
		}
	}
	close(unblock)
	fault.Undone()
	clients := relaytest.Fleet{c}
	if err := clients.Await(t.Context(), relaytest.Is(relaytest.KindGap)); err != nil {
		t.Fatalf("no gap: %v", err)
	}
	fault.Settled()
	p.Publish(t.Context(), "a")
	if err := errors.Join(p.Finish(t.Context()), clients.AwaitEnd(t.Context(), p)); err != nil {
		t.Fatal(err)
	}
	report := relaytest.Check(relaytest.Run{Published: p.Log(), Sessions: clients.Sessions(), Faults: faults.Faults()})
	if err := report.Err(); err != nil {
		t.Error(err)
	}
}
