package rolling_test

import (
	"net/http"
	"testing"

	"sidecast/relay/relaytest"
	"sidecast/relay/relaytest/redistest"
)

// TestProbesThroughAnOutage: a relay without Redis lives and is ready, at both listeners and the whole time: who takes it out
// of service closes its clients, and who restarts it as well. Those who want to know are told, and so are those who asked for
// it by a setting.
func TestProbesThroughAnOutage(t *testing.T) {
	t.Parallel()
	for name, outage := range map[string]struct{ begin, end func(*redistest.Server) }{
		"killed":  {(*redistest.Server).Kill, func(s *redistest.Server) { s.Restart() }},
		"stopped": {(*redistest.Server).Stop, (*redistest.Server).Cont},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t)
			relay := relaytest.Start(t, settings(server, "127.0.0.1:0", "127.0.0.1:0"))
			strict := settings(server, "127.0.0.1:0", "127.0.0.1:0")
			strict["SIDECAST_READY_NEEDS_REDIS"] = "true"
			other := relaytest.Start(t, strict)
			relay.AwaitReady()
			other.AwaitReady()
			client, err := (&relaytest.Dialer{URL: relay.URL()}).Dial(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(client.Drop)
			if err := client.Subscribe(t.Context(), "chat"); err != nil {
				t.Fatal(err)
			}

			outage.begin(server)
			until(t, "that the relay knows", func() bool { return probe(t, relay, http.StatusServiceUnavailable) })
			// Both relays may find out at different times.
			other.AwaitStatus("http://"+other.AdminAddr()+"/readyz", http.StatusServiceUnavailable)
			if status, _ := ask(t, "http://"+other.AdminAddr()+"/livez"); status != http.StatusOK {
				t.Errorf("READY_NEEDS_REDIS: /livez answers %d", status)
			}
			for range 20 {
				probe(t, relay, http.StatusServiceUnavailable)
			}
			if up := metric(t, relay, "sidecast_redis_up"); up != 0 {
				t.Errorf("sidecast_redis_up is %v", up)
			}
			outage.end(server)
			until(t, "that the relay is back", func() bool { return probe(t, relay, http.StatusOK) })
			other.AwaitStatus("http://"+other.AdminAddr()+"/readyz", http.StatusOK)
			if _, err := client.Await(t.Context(), relaytest.Is(relaytest.KindGap)); err != nil {
				t.Errorf("the client did not live through it: %v", err)
			}
		})
	}
}

// probe asks once as a kubelet does, at both listeners, and reports whether the question about Redis has this answer.
func probe(t *testing.T, relay *relaytest.Process, redis int) bool {
	t.Helper()
	for _, addr := range []string{relay.Addr(), relay.AdminAddr()} {
		for _, path := range []string{"/livez", "/readyz"} {
			if status, _ := ask(t, "http://"+addr+path); status != http.StatusOK {
				t.Errorf("%s%s answers %d", addr, path, status)
			}
		}
	}
	status, _ := ask(t, "http://"+relay.AdminAddr()+"/readyz?redis=1")
	return status == redis
}
