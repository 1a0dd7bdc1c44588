package e2e_test

import (
	"slices"
	"testing"
	"time"

	"sidecast/relay/relaytest"
	"sidecast/relay/relaytest/redistest"
)

// TestTakeover: a relay with many clients drains while messages come, and another takes them over. It spreads its closes,
// ends in time although somebody does not read, and nobody misses a message or is told of a gap.
func TestTakeover(t *testing.T) {
	t.Parallel()
	clients := or(300, 2000)
	delay, over := or(2*time.Second, 5*time.Second), or(4*time.Second, 25*time.Second)
	d := &deployment{t: t, server: redistest.Start(t), settings: map[string]string{
		"SIDECAST_DRAIN_DELAY": delay.String(), "SIDECAST_DRAIN_TIMEOUT": over.String(),
		"SIDECAST_DURABLE_CHANNELS": "order:*",
	}}
	first := d.start()
	live, durable := channels("taken", 6), channels("order", 2)
	names := slices.Concat(live, durable)
	d.travel(clients, names)
	awaitMetric(t, first.Process, "sidecast_subscriptions", func(n float64) bool { return int(n) == 2*clients })
	stick(t, d.server, first.Process)
	p := publisher(t, d.server, relaytest.Payloads{Sizes: []int{64, 700}})
	client := relaytest.NewRedis(d.server.Addr, time.Second)
	defer client.Close()
	appender := relaytest.NewPublisher(relaytest.AppendTo(client, 10_000), relaytest.Payloads{})
	stop, stopAppending := traffic(t, p, live, 200*time.Millisecond), traffic(t, appender, durable, 200*time.Millisecond)

	second := d.start()
	took := d.drain(first)
	if limit := delay + over + 5*time.Second; took > limit {
		t.Errorf("drained in %v, want %v at most", took, limit)
	}
	awaitMetric(t, second.Process, "sidecast_subscriptions", func(n float64) bool { return int(n) == 2*clients })
	stop()
	stopAppending()
	d.durable = map[string]int{durable[0]: 10_000, durable[1]: 10_000}
	d.end(2*clients, p, appender)

	var closed []time.Time
	for _, tr := range d.travellers {
		sessions := tr.Sessions()
		for _, e := range sessions[0].Events {
			if e.Kind == relaytest.KindClose {
				closed = append(closed, e.At)
			}
		}
	}
	if len(closed) != clients {
		t.Fatalf("%d of %d clients heard a close", len(closed), clients)
	}
	spread(t, closed, over)
}

// spread holds that events are spread evenly over about so much time.
func spread(t testing.TB, times []time.Time, over time.Duration) {
	t.Helper()
	first, last := times[0], times[0]
	for _, at := range times {
		if at.Before(first) {
			first = at
		}
		if at.After(last) {
			last = at
		}
	}
	whole := last.Sub(first)
	if whole < over*3/4 {
		t.Errorf("%d closes came within %v, which is no spread over %v", len(times), whole, over)
		return
	}
	quarters := make([]int, 4)
	for _, at := range times {
		quarters[min(int(4*at.Sub(first)/whole), 3)]++
	}
	t.Logf("closes by quarters of %v: %v", whole, quarters)
	for _, n := range quarters {
		if n > len(times)/2 {
			t.Errorf("closes by quarters of %v: %v", whole, quarters)
		}
	}
}
