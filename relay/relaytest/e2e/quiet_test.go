package e2e_test

import (
	"testing"
	"time"

	"sidecast/relay/relaytest"
	"sidecast/relay/relaytest/redistest"
)

// TestQuietAndTraffic: where nothing is broken nobody is told that something is, whether messages come or not.
func TestQuietAndTraffic(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	relay := startRelay(t, server, nil)
	names := channels("traffic", 10)
	traffic := dialFleet(t, &relaytest.Dialer{URL: relay.URL()}, 50)
	if err := traffic.Subscribe(t.Context(), names...); err != nil {
		t.Fatal(err)
	}
	traffic = append(traffic, dialFleet(t, &relaytest.Dialer{
		// A raw client would only hear of a gap by losing its connection.
		URL: relay.URL(), Protocol: relaytest.Raw, Channels: names, GapClose: true,
	}, 10)...)
	quiet := dialFleet(t, &relaytest.Dialer{URL: relay.URL()}, 50)
	if err := quiet.Subscribe(t.Context(), "quiet"); err != nil {
		t.Fatal(err)
	}

	loud := publisher(t, server, relaytest.Payloads{Bytes: relaytest.BytesHostile, Sizes: []int{64, 1000, 200}})
	_ = loud.Run(lasting(t, or(10*time.Second, 10*time.Minute)), names, 0, or(20*time.Millisecond, 500*time.Millisecond)) // it ends with the time
	for _, client := range quiet {
		for _, e := range client.Events() {
			if e.Kind == relaytest.KindMessage || e.Kind == relaytest.KindGap || e.Kind == relaytest.KindOffline {
				t.Errorf("a quiet client was told: %v", e)
			}
		}
	}
	hush := publisher(t, server, relaytest.Payloads{})
	hush.Publish(t.Context(), "quiet")
	finish(t, loud, traffic)
	finish(t, hush, quiet)

	report := judge(t, relaytest.Run{
		Published: append(loud.Log(), hush.Log()...), Sessions: append(traffic.Sessions(), quiet.Sessions()...),
	})
	if report.Gaps != 0 || report.Offlines != 0 {
		t.Errorf("%d gaps and %d offline without a cause", report.Gaps, report.Offlines)
	}
	for _, series := range []string{"sidecast_redis_epochs_total{", "sidecast_markers_lost_total", "sidecast_evictions_total{"} {
		if n := total(t, relay, series); n != 0 {
			t.Errorf("%v of %s...", n, series)
		}
	}
}
