package e2e_test

import (
	"fmt"
	"net/http"
	"testing"

	"sidecast/relay/relaytest"
	"sidecast/relay/relaytest/redistest"
)

// TestProbesThroughAnOutage: a relay without Redis answers all probes at both
// listeners with 200, because taking it out of service or restarting it would
// close its clients. Only /readyz?redis=1, and /readyz with READY_NEEDS_REDIS,
// report the outage.
func TestProbesThroughAnOutage(t *testing.T) {
	t.Parallel()
	for name, outage := range map[string]struct{ begin, end func(*redistest.Server) }{
		"killed":  {(*redistest.Server).Kill, func(s *redistest.Server) { s.Restart() }},
		"stopped": {(*redistest.Server).Stop, (*redistest.Server).Cont},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t)
			relay := startRelay(t, server, nil)
			strict := startRelay(t, server, map[string]string{"SIDECAST_READY_NEEDS_REDIS": "true"})
			client := listen(t, relay, "chat")

			outage.begin(server)
			awaitProbes(t, relay, http.StatusServiceUnavailable)
			// The two relays may notice the outage at different times.
			strict.AwaitStatus("http://"+strict.AdminAddr()+"/readyz", http.StatusServiceUnavailable)
			if got := status(t, "http://"+strict.AdminAddr()+"/livez"); got != http.StatusOK {
				t.Errorf("READY_NEEDS_REDIS: /livez answers %d", got)
			}
			for range 20 {
				probe(t, relay)
			}
			if up := metric(t, relay, "sidecast_redis_up"); up != 0 {
				t.Errorf("sidecast_redis_up is %v", up)
			}
			outage.end(server)
			awaitProbes(t, relay, http.StatusOK)
			strict.AwaitStatus("http://"+strict.AdminAddr()+"/readyz", http.StatusOK)
			if _, err := client.Await(t.Context(), relaytest.Is(relaytest.KindGap)); err != nil {
				t.Errorf("the client did not stay connected: %v", err)
			}
		})
	}
}

// probe requests /livez and /readyz once at both listeners.
func probe(t *testing.T, relay *relaytest.Process) {
	t.Helper()
	for _, addr := range []string{relay.Addr(), relay.AdminAddr()} {
		for _, path := range []string{"/livez", "/readyz"} {
			if got := status(t, "http://"+addr+path); got != http.StatusOK {
				t.Errorf("%s%s answers %d", addr, path, got)
			}
		}
	}
}

// awaitProbes probes a relay until /readyz?redis=1 answers with this status.
func awaitProbes(t *testing.T, relay *relaytest.Process, redis int) {
	t.Helper()
	eventually(t, func() string {
		probe(t, relay)
		if got := status(t, "http://"+relay.AdminAddr()+"/readyz?redis=1"); got != redis {
			return fmt.Sprintf("/readyz?redis=1 answers %d, want %d", got, redis)
		}
		return ""
	})
}
