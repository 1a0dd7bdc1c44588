package e2e_test

import (
	"runtime"
	"sync"
	"testing"

	"sidecast/relay/relaytest"
	"sidecast/relay/relaytest/redistest"
)

// TestNoLeaks: after its clients have left, well-behaved or not, a relay has as
// many goroutines and open files as before, and has not used much more memory.
func TestNoLeaks(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux reports how many files a process has open")
	}
	t.Parallel()
	server := redistest.Start(t)
	relay := startRelay(t, server, nil)
	connectAndLeave(t, relay, 50) // the relay allocates some things once
	awaitIdle(t, relay)
	files, goroutines := metric(t, relay, "process_open_fds"), metric(t, relay, "go_goroutines")
	before := peakMemory(t, relay)
	for range orLong(2, 10) {
		connectAndLeave(t, relay, orLong(500, 2000))
	}
	awaitIdle(t, relay)
	const few = 8 // for the connections of this test to /metrics, and timers
	awaitMetric(t, relay, "process_open_fds", func(n float64) bool { return n <= files+few })
	awaitMetric(t, relay, "go_goroutines", func(n float64) bool { return n <= goroutines+few })
	t.Logf("%.0f files and %.0f goroutines before, %.0f and %.0f after", files, goroutines,
		metric(t, relay, "process_open_fds"), metric(t, relay, "go_goroutines"))
	wantMemory(t, relay, before)
}

// connectAndLeave connects clients of both protocols, which then end their
// connections in different ways.
func connectAndLeave(t testing.TB, relay *relaytest.Process, n int) {
	t.Helper()
	names := channels("leak", 20)
	fleet := append(listenFleet(t, relay, n/2, names...), dialFleet(t, &relaytest.Dialer{
		URL: relay.URL(), Protocol: relaytest.Raw, Channels: names,
	}, n/2)...)
	awaitMetric(t, relay, "sidecast_subscriptions", func(n float64) bool { return n == float64(20*len(fleet)) })
	var leaving sync.WaitGroup
	for i, client := range fleet {
		leaving.Go(func() {
			switch i % 4 {
			case 0:
				if err := client.Close(t.Context(), 1000, "bye"); err != nil {
					t.Errorf("closing: %v", err)
				}
			case 1:
				client.Drop()
			case 2:
				client.Abort()
			case 3: // in the middle of a frame
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

// awaitIdle waits until a relay has no clients.
func awaitIdle(t testing.TB, relay *relaytest.Process) {
	t.Helper()
	for _, series := range []string{
		`sidecast_connections{protocol="v1",transport="websocket"}`,
		`sidecast_connections{protocol="raw",transport="websocket"}`,
		"sidecast_subscriptions", "sidecast_channels", "sidecast_outbox_bytes",
	} {
		awaitMetric(t, relay, series, func(n float64) bool { return n == 0 })
	}
}
