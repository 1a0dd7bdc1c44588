package auth_test

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"

	"sidecast/relay/relaytest"
)

// TestAddressLimits checks the limit on connections for each client address,
// which clients cannot evade with a forged header, and which does not affect
// other addresses.
func TestAddressLimits(t *testing.T) {
	s := newSetup(t, "TRUSTED_PROXIES=127.0.0.1", "MAX_CONNECTIONS_PER_IP=3", "MAX_CONNECT_RATE_PER_IP=0")
	const xff = "X-Forwarded-For"
	for i := range 3 {
		if status, _ := s.handshake(xff, fmt.Sprintf("10.1.1.%d, 198.51.100.7", i)); status != 101 {
			t.Errorf("connection %d: %d", i, status)
		}
	}
	status, header := s.handshake(xff, "192.0.2.1, 198.51.100.7")
	if status != http.StatusTooManyRequests || header.Get("Retry-After") == "" {
		t.Errorf("the fourth connection: %d, %v", status, header)
	}
	for _, other := range []string{"198.51.100.8", "2001:db8::1"} {
		if status, _ := s.handshake(xff, other); status != 101 {
			t.Errorf("%s: %d", other, status)
		}
	}
	for i := range 5 { // two more fit, because the /64 already has one connection
		want := 101
		if i >= 2 {
			want = http.StatusTooManyRequests
		}
		if status, _ := s.handshake(xff, fmt.Sprintf("2001:db8::%x:1", i+1)); status != want {
			t.Errorf("IPv6 %d: %d, want %d", i, status, want)
		}
	}
	if log := s.relay.Log(); strings.Contains(log, "X-Forwarded-For ignored") {
		t.Errorf("the log calls a trusted proxy untrusted:\n%s", log)
	}
}

// TestAddressRate checks the limit on new connections per second for each
// client address.
func TestAddressRate(t *testing.T) {
	s := newSetup(t, "TRUSTED_PROXIES=127.0.0.1", "MAX_CONNECT_RATE_PER_IP=5")
	rejected := 0
	for range 40 {
		if status, _ := s.handshake("X-Forwarded-For", "198.51.100.7"); status == http.StatusTooManyRequests {
			rejected++
		}
	}
	if rejected == 0 {
		t.Error("40 connections at the same time were accepted")
	}
	if status, _ := s.handshake("X-Forwarded-For", "198.51.100.8"); status != 101 {
		t.Errorf("another address: %d", status)
	}
}

// TestUntrustedProxy checks that a private peer is not limited, that its
// forwarded addresses are ignored, and that the log names the missing setting
// once.
func TestUntrustedProxy(t *testing.T) {
	s := newSetup(t, "MAX_CONNECTIONS_PER_IP=1", "MAX_CONNECT_RATE_PER_IP=1")
	for range 5 {
		if status, _ := s.handshake("X-Forwarded-For", "198.51.100.7"); status != 101 {
			t.Errorf("rejected: %d", status)
		}
	}
	if n := strings.Count(s.relay.Log(), "add it to SIDECAST_TRUSTED_PROXIES"); n != 1 {
		t.Errorf("the log contains the hint %d times:\n%s", n, s.relay.Log())
	}
}

// TestCapacity checks that connections beyond MAX_CONNECTIONS are rejected with
// 503 and Retry-After. Connections that wait for the application count too.
func TestCapacity(t *testing.T) {
	release, arrived := make(chan struct{}), make(chan struct{})
	addr := serve(t, func(w http.ResponseWriter, _ *http.Request) { arrived <- struct{}{}; <-release; w.WriteHeader(401) })
	s := newSetup(t, "MAX_CONNECTIONS=2", "AUTH_URL=http://"+addr+"/", "AUTH_TIMEOUT=20s")
	var waiting sync.WaitGroup
	for i := range 2 {
		waiting.Go(func() {
			d := s.dialer(dialOptions{header: http.Header{"Cookie": {fmt.Sprint(i)}}})
			if c, err := d.Dial(t.Context()); err != nil {
				t.Errorf("a waiting client: %v", err)
			} else {
				c.Drop()
			}
		})
		<-arrived
	}
	if status, header := s.handshake("Cookie", "another"); status != http.StatusServiceUnavailable || header.Get("Retry-After") == "" {
		t.Errorf("a third client: %d, %v", status, header)
	}
	close(release)
	waiting.Wait()
}

// handshake connects with the given headers. It returns the HTTP status, 101
// for success, and the headers of a rejection.
func (s *setup) handshake(headers ...string) (status int, header http.Header) {
	s.t.Helper()
	d := s.dialer(dialOptions{header: http.Header{}})
	for i := 0; i < len(headers); i += 2 {
		d.Header.Add(headers[i], headers[i+1])
	}
	client, err := d.Dial(s.t.Context())
	if err == nil {
		s.t.Cleanup(client.Drop)
		return http.StatusSwitchingProtocols, nil
	}
	if failed, ok := errors.AsType[*relaytest.HandshakeError](err); ok {
		return failed.Status, failed.Header
	}
	s.t.Fatal(err)
	return 0, nil
}

// serve runs an HTTP server and returns its host:port.
func serve(t *testing.T, handler http.HandlerFunc) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: handler}
	done := make(chan struct{})
	go func() { defer close(done); _ = server.Serve(listener) }()
	t.Cleanup(func() { server.Close(); <-done })
	return listener.Addr().String()
}
