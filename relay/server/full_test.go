package server_test

import (
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"sidecast/relay/stats"
)

// If clients take all places, health probes are answered, also while many
// connections do nothing. A further client is rejected with 503. It can connect
// when a place is free.
func TestFull(t *testing.T) {
	for _, secured := range []bool{false, true} {
		t.Run(map[bool]string{false: "TCP", true: "TLS"}[secured], func(t *testing.T) {
			const slots = 3
			r := startRelay(t, func(o *relayOptions) {
				o.slots = slots
				if secured {
					o.tls = testTLS()
				}
			})
			r.hub.Online(1)
			connect := func() net.Conn { return connectTo(t, r, secured) }
			var clients []net.Conn
			for range slots {
				conn := connect()
				if code := exchange(t, conn, "/ws", handshake...); code != http.StatusSwitchingProtocols {
					t.Fatalf("a client gets status %d", code)
				}
				clients = append(clients, conn)
			}
			for range 100 {
				connect()
			}
			for target, want := range map[string]int{"/livez": 200, "/readyz": 200, "/ws": 503} {
				var headers []string
				if want == 503 {
					headers = handshake
				}
				if code := exchange(t, connect(), target, headers...); code != want {
					t.Errorf("%s answers %d, want %d", target, code, want)
				}
			}
			if r.stats.Rejected[stats.RejectCapacity].Load() == 0 {
				t.Error("no client is counted as rejected")
			}
			_ = clients[0].Close()
			await(t, "a free place", func() bool { return exchange(t, connect(), "/ws", handshake...) == 101 })
		})
	}
}

// testTLS returns a configuration with a certificate for tests.
func testTLS() *tls.Config {
	server := httptest.NewTLSServer(http.NotFoundHandler())
	defer server.Close()
	return &tls.Config{Certificates: server.TLS.Certificates, NextProtos: []string{"http/1.1"}}
}

// connectTo connects to a relay, and closes the connection when the test ends.
func connectTo(t *testing.T, r *testRelay, secured bool) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", r.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(patience))
	if secured {
		return tls.Client(conn, &tls.Config{InsecureSkipVerify: true})
	}
	return conn
}

// A client that sends requests and does not read the responses loses its
// connection.
func TestUnreadResponses(t *testing.T) {
	t.Parallel()
	r := startRelay(t)
	conn := connectTo(t, r, false)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			if _, err := io.WriteString(conn, "GET /missing HTTP/1.1\r\nHost: relay\r\n\r\n"); err != nil {
				return
			}
		}
	}()
	select {
	case <-ended:
	case <-time.After(patience / 2):
		t.Error("the connection stays open")
	}
}
