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

// TestDrain: after SIGTERM the relay answers load balancers that it is not
// ready, but serves clients until they have noticed. Then it closes its clients
// one after another, and exits in time although one client does not read.
func TestDrain(t *testing.T) {
	t.Parallel()
	const delay, over, grace = 2 * time.Second, 3 * time.Second, 5 * time.Second
	server := redistest.Start(t)
	relay := startRelay(t, server, map[string]string{
		"SIDECAST_DRAIN_DELAY": delay.String(), "SIDECAST_DRAIN_TIMEOUT": over.String(),
	})
	fleet := listenFleet(t, relay, 120, "drained")
	fillOutbox(t, server, relay)
	publish := publishTo(t, server)

	began := time.Now()
	terminate(relay)
	for _, addr := range []string{relay.Addr(), relay.AdminAddr()} {
		relay.AwaitStatus("http://"+addr+"/readyz", http.StatusServiceUnavailable)
		relay.AwaitStatus("http://"+addr+"/livez", http.StatusOK)
	}
	noticed := time.Since(began)
	fleet = append(fleet, listenRaw(t, relay, "drained")) // the relay accepts clients during the delay
	if _, err := publish(t.Context(), "drained", []byte("last message")); err != nil {
		t.Fatal(err)
	}
	for _, client := range fleet {
		if received := hears(t, client, 1)[0].Data; received != "last message" {
			t.Errorf("a client received %q", received)
		}
	}
	if noticed > delay {
		t.Errorf("/readyz answered 503 only after %v", noticed)
	}

	var closed []time.Time
	for _, client := range fleet {
		wantClose(t, client, 1012)
		closed = append(closed, eventsOf(client, relaytest.KindClose)[0].At)
	}
	slices.SortFunc(closed, time.Time.Compare)
	first, last := closed[0].Sub(began), closed[len(closed)-1].Sub(began)
	if first < delay || last > delay+over+grace {
		t.Errorf("the clients were closed %v to %v after SIGTERM, want %v to %v", first, last, delay, delay+over)
	}
	if last < delay+over*3/4 { // if the relay gets no processor for a while, only the first are late
		t.Errorf("the last client was closed after %v, want a spread over %v", last-delay, over)
	}
	if code := relay.Wait(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	took := time.Since(began)
	t.Logf("not ready after %v, closes from %v to %v, exit after %v", noticed, first, last, took)
	if took > delay+over+grace {
		t.Errorf("the relay exited only after %v", took)
	}
}

// TestHangup: the relay drains when its terminal closes, also if that sends
// several signals.
func TestHangup(t *testing.T) {
	t.Parallel()
	relay := startRelay(t, redistest.Start(t), map[string]string{
		"SIDECAST_DRAIN_DELAY": "300ms", "SIDECAST_DRAIN_TIMEOUT": "1s",
	})
	client := listen(t, relay, "news")
	relay.Signal(syscall.SIGHUP)
	relay.AwaitMessage("draining")
	relay.Signal(syscall.SIGHUP)
	wantClose(t, client, 1012)
	if code := relay.Wait(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// fillOutbox connects a client that does not read and publishes more to it than
// its socket holds, so that the relay has bytes queued that it cannot send.
func fillOutbox(t testing.TB, server *redistest.Server, relay *relaytest.Process) {
	t.Helper()
	listenStalled(t, relay, "stalled")
	publish := publishTo(t, server)
	for range 2 {
		if _, err := publish(t.Context(), "stalled", bytes.Repeat([]byte("x"), 1<<19)); err != nil {
			t.Fatal(err)
		}
	}
	awaitMetric(t, relay, "sidecast_outbox_bytes", func(bytes float64) bool { return bytes > 1<<18 })
}

// immediate bounds how long something may take that must not wait, on a busy
// machine.
const immediate = 2 * time.Second

// TestStop: a relay that would drain for a minute exits immediately on SIGINT,
// on a second signal, and if it has no clients.
func TestStop(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	tests := []struct {
		name    string
		client  bool
		signals []os.Signal
		exit    int
		close   uint16 // the client's close code
	}{
		{"SIGINT from a keyboard", true, []os.Signal{os.Interrupt}, 0, 1012},
		{"SIGINT without clients", false, []os.Signal{os.Interrupt}, 0, 0},
		{"SIGTERM without clients", false, []os.Signal{syscall.SIGTERM}, 0, 0},
		{"SIGTERM twice", true, []os.Signal{syscall.SIGTERM, syscall.SIGTERM}, 1, 1006},
		{"SIGINT after SIGTERM", true, []os.Signal{syscall.SIGTERM, os.Interrupt}, 1, 1006},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			relay := startRelay(t, server, map[string]string{
				"SIDECAST_DRAIN_DELAY": "1m", "SIDECAST_DRAIN_TIMEOUT": "1m",
			})
			var client *relaytest.Client
			if test.client {
				client = listen(t, relay, "stopped")
				fillOutbox(t, server, relay)
			}
			began := time.Now()
			for i, signal := range test.signals {
				if i > 0 { // the second signal must not arrive before the relay has handled the first
					relay.AwaitMessage("draining")
					began = time.Now()
				}
				relay.Signal(signal)
			}
			if code := relay.Wait(); code != test.exit {
				t.Errorf("exit code %d, want %d", code, test.exit)
			}
			if took := time.Since(began); took > immediate {
				t.Errorf("the relay exited only after %v", took)
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
