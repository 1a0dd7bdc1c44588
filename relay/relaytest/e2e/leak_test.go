package e2e_test

import (
	"context"
	"runtime"
	"sync"
	"testing"

	"sidecast/relay/relaytest"
	"sidecast/relay/relaytest/redistest"
)

// TestMemoryAndFd: clients that have come and gone, well-behaved or not, leave nothing behind.
func TestMemoryAndFd(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux tells how many files a process has open")
	}
	t.Parallel()
	server := redistest.Start(t)
	relay := startRelay(t, server, nil)
	crowd(t, relay, 50) // what is made once is made now
	settle(t, relay)
	files, goroutines, before := metric(t, relay, "process_open_fds"), metric(t, relay, "go_goroutines"), peak(t, relay)
	for range or(2, 10) {
		crowd(t, relay, or(500, 2000))
	}
	settle(t, relay)
	const few = 8 // connections that metrics are asked for over, and timers
	awaitMetric(t, relay, "process_open_fds", func(n float64) bool { return n <= files+few })
	awaitMetric(t, relay, "go_goroutines", func(n float64) bool { return n <= goroutines+few })
	t.Logf("%.0f files and %.0f goroutines before, %.0f and %.0f after", files, goroutines,
		metric(t, relay, "process_open_fds"), metric(t, relay, "go_goroutines"))
	wantMemory(t, relay, before)
}

// crowd connects clients of all kinds, and lets them leave in all the ways there are.
func crowd(t testing.TB, relay *relaytest.Process, n int) {
	t.Helper()
	fleet := dialFleet(t, &relaytest.Dialer{URL: relay.URL()}, n/2)
	if err := fleet.Subscribe(t.Context(), channels("crowd", 20)...); err != nil {
		t.Fatal(err)
	}
	fleet = append(fleet, dialFleet(t, &relaytest.Dialer{
		URL: relay.URL(), Protocol: relaytest.Raw, Channels: channels("crowd", 20),
	}, n/2)...)
	awaitMetric(t, relay, "sidecast_subscriptions", func(all float64) bool { return all == float64(20*len(fleet)) })
	leave(t.Context(), t, fleet)
}

func leave(ctx context.Context, t testing.TB, fleet relaytest.Fleet) {
	t.Helper()
	var leaving sync.WaitGroup
	for i, client := range fleet {
		leaving.Go(func() {
			switch i % 4 {
			case 0:
				if err := client.Close(ctx, 1000, "bye"); err != nil {
					t.Errorf("closing: %v", err)
				}
			case 1:
				client.Drop()
			case 2:
				client.Abort()
			case 3: // with half a frame on its way
				err := client.SendRaw([]byte{0x81, 0xfe, 1})
				client.Drop()
				if err != nil {
					t.Errorf("sending: %v", err)
				}
			}
		})
	}
	leaving.Wait()
}

// settle waits until a relay knows of no client any more.
func settle(t testing.TB, relay *relaytest.Process) {
	t.Helper()
	for _, series := range []string{
		`sidecast_connections{protocol="v1",transport="websocket"}`, `sidecast_connections{protocol="raw",transport="websocket"}`,
		"sidecast_subscriptions", "sidecast_channels", "sidecast_outbox_bytes",
	} {
		awaitMetric(t, relay, series, func(n float64) bool { return n == 0 })
	}
}
