package server_test

import (
	"fmt"
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
	filler := strings.Repeat("x", 32<<10)
	published := 0
	publish := func() (receivers int64) {
		receivers, err := redis.Publish(t.Context(), "a", fmt.Sprintf("%d %s", published, filler)).Result()
		if err != nil {
			t.Fatal(err)
		}
		published++
		return receivers
	}
	publish()
	unblock := make(chan struct{})
	sink.blocked.Store(&unblock)
	for publish() > 0 {
		if published > 5000 {
			t.Fatal("Redis does not disconnect the relay")
		}
	}
	missed := published - 1
	close(unblock)

	gap, err := c.Await(t.Context(), relaytest.Is(relaytest.KindGap))
	if err != nil {
		t.Fatalf("no gap: %v", err)
	}
	publish()
	last := func(e relaytest.Event) bool { return number(e) == published-1 }
	if _, err := c.AwaitAfter(t.Context(), gap, last); err != nil {
		t.Fatalf("no message after the gap: %v", err)
	}
	checkDisconnect(t, c.Events(), missed)
}

// checkDisconnect checks the client's events. Redis has delivered message
// number missed to no subscriber.
func checkDisconnect(t *testing.T, log []relaytest.Event, missed int) {
	t.Helper()
	next, offline, gaps := 0, 0, 0
	for _, e := range log {
		switch {
		case e.Kind == relaytest.KindOffline:
			offline++
		case e.Kind == relaytest.KindGap:
			gaps++
			if offline == 0 {
				t.Error("a gap before `offline`")
			}
			next = -1
		case e.Kind == relaytest.KindMessage:
			n := number(e)
			if n == missed {
				t.Errorf("message %d was received, but Redis has not delivered it", n)
			}
			if next >= 0 && n != next {
				t.Errorf("message %d was received, want %d: messages are missing without a gap", n, next)
			}
			next = n + 1
		}
	}
	if offline != 1 || gaps != 1 {
		t.Errorf("%d times `offline` and %d gaps, want one of each", offline, gaps)
	}
}

// number returns the number of a message, or -1.
func number(e relaytest.Event) int {
	if e.Kind != relaytest.KindMessage {
		return -1
	}
	text, _, _ := strings.Cut(e.Data, " ")
	n, err := strconv.Atoi(text)
	if err != nil {
		return -1
	}
	return n
}
