package e2e_test

import (
	"bytes"
	"net/http"
	"os"
	"slices"
	"syscall"
	"testing"
	"time"

	"sidecast/relay/relaytest"
	"sidecast/relay/relaytest/redistest"
)

// terminate asks a relay to drain.
func terminate(relay *relaytest.Process) { relay.Signal(syscall.SIGTERM) }

// TestDrain: a relay that is told to stop says so to load balancers, serves on until they have noticed, closes its clients
// one after the other, and ends in time although one of them does not read.
func TestDrain(t *testing.T) {
	t.Parallel()
	const delay, over, grace = 2 * time.Second, 3 * time.Second, 5 * time.Second
	server := redistest.Start(t)
	relay := startRelay(t, server, map[string]string{
		"SIDECAST_DRAIN_DELAY": delay.String(), "SIDECAST_DRAIN_TIMEOUT": over.String(),
	})
	fleet := dialFleet(t, &relaytest.Dialer{URL: relay.URL()}, 120)
	if err := fleet.Subscribe(t.Context(), "drained"); err != nil {
		t.Fatal(err)
	}
	stick(t, server, relay)
	publish := publishTo(t, server)

	began := time.Now()
	terminate(relay)
	for _, addr := range []string{relay.Addr(), relay.AdminAddr()} {
		relay.AwaitStatus("http://"+addr+"/readyz", http.StatusServiceUnavailable)
		relay.AwaitStatus("http://"+addr+"/livez", http.StatusOK)
	}
	noticed := time.Since(began)
	late := listenRaw(t, relay, "drained") // during the delay clients are still taken
	if _, err := publish(t.Context(), "drained", []byte("last words")); err != nil {
		t.Fatal(err)
	}
	for _, client := range append(slices.Clone(fleet), late) {
		if heard := hears(t, client, 1)[0].Data; heard != "last words" {
			t.Errorf("a client heard %q", heard)
		}
	}
	if noticed > delay/2 {
		t.Errorf("not ready only after %v", noticed)
	}

	spread := closings(t, append(slices.Clone(fleet), late), func() {
		// Those who come when the closes have begun have come too late.
		closes(t, dial(t, &relaytest.Dialer{URL: relay.URL()}), 1012)
	})
	for _, at := range spread {
		if after := at.Sub(began); after < delay || after > delay+over+grace {
			t.Errorf("a client was closed after %v, want %v to %v", after, delay, delay+over)
		}
	}
	if whole := spread[len(spread)-1].Sub(spread[0]); whole < over*3/4 {
		t.Errorf("the clients were closed within %v, which is no spread over %v", whole, over)
	}
	if code := relay.Wait(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	took := time.Since(began)
	t.Logf("not ready after %v, closes from %v to %v, ended after %v", noticed,
		spread[0].Sub(began), spread[len(spread)-1].Sub(began), took)
	if took > delay+over+grace {
		t.Errorf("ended only after %v", took)
	}
}

// closings returns when each client was closed, all with 1012, in the order of time. It calls once after the first.
func closings(t testing.TB, fleet relaytest.Fleet, once func()) (times []time.Time) {
	t.Helper()
	first := make(chan struct{}, len(fleet))
	for _, client := range fleet {
		go func() {
			<-client.Done()
			first <- struct{}{}
		}()
	}
	<-first
	once()
	for _, client := range fleet {
		closes(t, client, 1012)
		times = append(times, only(client, relaytest.KindClose)[0].At)
	}
	slices.SortFunc(times, time.Time.Compare)
	return times
}

// stick connects a client that does not read, with something in its way that it would have to.
func stick(t testing.TB, server *redistest.Server, relay *relaytest.Process) {
	t.Helper()
	stuck := dial(t, &relaytest.Dialer{URL: relay.URL(), ReceiveBuffer: 4096})
	if err := stuck.Subscribe(t.Context(), "stuck"); err != nil {
		t.Fatal(err)
	}
	stuck.StopReading()
	publish := publishTo(t, server)
	for range 2 {
		if _, err := publish(t.Context(), "stuck", bytes.Repeat([]byte("x"), 1<<19)); err != nil {
			t.Fatal(err)
		}
	}
	awaitMetric(t, relay, "sidecast_outbox_bytes", func(bytes float64) bool { return bytes > 1<<18 })
}

// soonEnough bounds what is to happen at once, on a machine that has other things to do.
const soonEnough = 2 * time.Second

// TestStop: ways to stop that do not wait, of relays that would drain for a minute.
func TestStop(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	tests := []struct {
		why     string
		client  bool
		signals []os.Signal
		exit    int
		close   uint16 // what the client sees
	}{
		{"SIGINT from a keyboard", true, []os.Signal{os.Interrupt}, 0, 1012},
		{"SIGINT without clients", false, []os.Signal{os.Interrupt}, 0, 0},
		{"SIGTERM without clients", false, []os.Signal{syscall.SIGTERM}, 0, 0},
		{"SIGTERM twice", true, []os.Signal{syscall.SIGTERM, syscall.SIGTERM}, 1, 1006},
		{"SIGINT after SIGTERM", true, []os.Signal{syscall.SIGTERM, os.Interrupt}, 1, 1006},
	}
	for _, test := range tests {
		t.Run(test.why, func(t *testing.T) {
			relay := startRelay(t, server, map[string]string{
				"SIDECAST_DRAIN_DELAY": "1m", "SIDECAST_DRAIN_TIMEOUT": "1m",
			})
			var client *relaytest.Client
			if test.client {
				client = listen(t, relay, "stopped")
				stick(t, server, relay)
			}
			began := time.Now()
			for i, signal := range test.signals {
				if i > 0 { // two at once would be one
					relay.AwaitMessage("draining")
					began = time.Now()
				}
				relay.Signal(signal)
			}
			if code := relay.Wait(); code != test.exit {
				t.Errorf("exit code %d, want %d", code, test.exit)
			}
			if took := time.Since(began); took > soonEnough {
				t.Errorf("ended only after %v", took)
			}
			if client == nil {
				return
			}
			end, err := client.Await(t.Context(), relaytest.Is(relaytest.KindEnd))
			if err != nil || end.Code != test.close {
				t.Errorf("the client ended with %d (%v), want %d", end.Code, err, test.close)
			}
		})
	}
}
