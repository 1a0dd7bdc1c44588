package e2e_test

import (
	"context"
	"testing"
	"time"

	"sidecast/relay/relaytest"
	"sidecast/relay/relaytest/redistest"
)

// TestQuietAndTraffic: if nothing fails, no client receives a gap or an offline
// notice, with and without messages.
func TestQuietAndTraffic(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	relay := startRelay(t, server, nil)
	names := channels("traffic", 10)
	busy := append(listenFleet(t, relay, 50, names...), dialFleet(t, &relaytest.Dialer{
		// A gap would close these raw clients, which otherwise receive no gaps.
		URL: relay.URL(), Protocol: relaytest.Raw, Channels: names, GapClose: true,
	}, 10)...)
	quiet := listenFleet(t, relay, 50, "quiet")

	p := publisher(t, server, relaytest.Payloads{Bytes: relaytest.BytesHostile, Sizes: []int{64, 1000, 200}})
	ctx, cancel := context.WithTimeout(t.Context(), orLong(10*time.Second, 10*time.Minute))
	defer cancel()
	_ = p.Run(ctx, names, 0, orLong(20*time.Millisecond, 500*time.Millisecond)) // its error is the end of the context
	p.Publish(t.Context(), "quiet")
	fleet := append(busy, quiet...)
	finish(t, p, fleet)
	report := checkContract(t, relaytest.Run{Published: p.Log(), Sessions: fleet.Sessions()})
	if report.Gaps != 0 || report.Offlines != 0 {
		t.Errorf("%d gaps and %d offline notices without a cause", report.Gaps, report.Offlines)
	}
	for _, series := range []string{
		"sidecast_redis_epochs_total{", "sidecast_markers_lost_total", "sidecast_evictions_total{",
	} {
		if n := total(t, relay, series); n != 0 {
			t.Errorf("the sum of %s... is %v, want 0", series, n)
		}
	}
}
