package console_test

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"sidecast/relay/relaytest"
)

// ask sends a request to a listener, of which the client reads the head of the
// answer only. It returns the status.
func ask(t *testing.T, addr, path string) int {
	t.Helper()
	conn, err := net.DialTimeout("tcp", addr, relaytest.Patience)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(relaytest.Patience))
	fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\n\r\n", path, addr, adminToken)
	response, err := http.ReadResponse(bufio.NewReaderSize(conn, 16), nil)
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return response.StatusCode
}

// Operators who open all streams and read nothing hold up neither probes nor
// the end of the relay, and there is a limit.
func TestUnreadStreams(t *testing.T) {
	relay, _, publish := startRelay(t, map[string]string{
		"SIDECAST_ADMIN_TOKEN": adminToken, "SIDECAST_DRAIN_DELAY": "500ms", "SIDECAST_DRAIN_TIMEOUT": "500ms",
	})
	paths := []string{"/console/feed", "/console/watch?channel=open:1", "/trace?channel=open:1"}
	for _, path := range paths {
		for range 8 {
			if status := ask(t, relay.AdminAddr(), path); status != http.StatusOK {
				t.Fatalf("%s: %d", path, status)
			}
		}
		if status := ask(t, relay.AdminAddr(), path); status != http.StatusServiceUnavailable {
			t.Errorf("one %s more: %d", path, status)
		}
	}
	for range 100 {
		publish("open:1", strings.Repeat("x", 200_000))
	}
	for _, path := range []string{"/livez", "/readyz", "/metrics"} {
		if status := ask(t, relay.AdminAddr(), path); status != http.StatusOK {
			t.Errorf("%s: %d", path, status)
		}
	}
	if log := relay.Log(); strings.Contains(log, "SIDECAST_MAX_CONNECTIONS") {
		t.Errorf("a limit of the console looks like that of clients:\n%s", log)
	}
	if code := relay.Stop(); code != 0 {
		t.Errorf("the relay has ended with %d:\n%s", code, relay.Log())
	}
}
