package e2e_test

import (
	"slices"
	"testing"
	"time"

	"sidecast/relay/relaytest"
	"sidecast/relay/relaytest/redistest"
)

// TestTakeover: a relay with many clients drains while messages are published,
// and its clients reconnect to another relay. It spreads its closes and exits
// in time although one client does not read. No client misses a message or
// receives a gap.
func TestTakeover(t *testing.T) {
	t.Parallel()
	clients := orLong(300, 2000)
	delay, over := orLong(2*time.Second, 5*time.Second), orLong(4*time.Second, 25*time.Second)
	d := &deployment{t: t, server: redistest.Start(t), settings: map[string]string{
		"SIDECAST_DRAIN_DELAY": delay.String(), "SIDECAST_DRAIN_TIMEOUT": over.String(),
		"SIDECAST_DURABLE_CHANNELS": "order:*",
	}}
	first := d.start()
	live, durable := channels("taken", 6), channels("order", 2)
	d.connect(clients, slices.Concat(live, durable))
	fillOutbox(t, d.server, first.Process)
	p := publisher(t, d.server, relaytest.Payloads{Sizes: []int{64, 700}})
	client := relaytest.NewRedis(d.server.Addr, time.Second)
	defer client.Close()
	appender := relaytest.NewPublisher(relaytest.AppendTo(client, 10_000), relaytest.Payloads{})
	stop := traffic(t, p, live, 200*time.Millisecond)
	stopAppending := traffic(t, appender, durable, 200*time.Millisecond)

	d.start()
	took := d.drain(first)
	if limit := delay + over + 5*time.Second; took > limit {
		t.Errorf("drained in %v, want at most %v", took, limit)
	}
	stop()
	stopAppending()
	d.durable = map[string]int{durable[0]: 10_000, durable[1]: 10_000}
	d.finish(2*clients, p, appender)

	var closed []time.Time
	for _, client := range d.clients {
		for _, e := range client.Sessions()[0].Events {
			if e.Kind == relaytest.KindClose {
				closed = append(closed, e.At)
			}
		}
	}
	if len(closed) != clients {
		t.Fatalf("%d of %d clients received a close frame", len(closed), clients)
	}
	wantSpread(t, closed, over)
}

// wantSpread fails the test if the times are not spread over about this
// duration, with at most half of them in any quarter of it.
func wantSpread(t testing.TB, times []time.Time, over time.Duration) {
	t.Helper()
	slices.SortFunc(times, time.Time.Compare)
	first := times[0]
	whole := times[len(times)-1].Sub(first)
	if whole < over*3/4 {
		t.Errorf("%d closes within %v, want a spread over %v", len(times), whole, over)
		return
	}
	quarters := make([]int, 4)
	for _, at := range times {
		quarters[min(int(4*at.Sub(first)/whole), 3)]++
	}
	t.Logf("closes by quarters of %v: %v", whole, quarters)
	if slices.Max(quarters) > len(times)/2 {
		t.Error("more than half of the closes are in one quarter")
	}
}
