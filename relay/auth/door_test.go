package auth_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"sidecast/relay/relaytest"
)

// refusal is how the relay answered a handshake in HTTP, or 101.
func (s *stage) refusal(headers ...string) (status int, header http.Header) {
	s.t.Helper()
	d := s.dialer(caller{header: http.Header{}})
	for i := 0; i < len(headers); i += 2 {
		d.Header.Add(headers[i], headers[i+1])
	}
	client, err := d.Dial(s.t.Context())
	if err == nil {
		s.t.Cleanup(client.Drop)
		return http.StatusSwitchingProtocols, nil
	}
	if refused, ok := errors.AsType[*relaytest.HandshakeError](err); ok {
		return refused.Status, refused.Header
	}
	s.t.Fatal(err)
	return 0, nil
}

// One address has so many connections and no more, whoever it says it is; others are not concerned.
func TestAddressLimits(t *testing.T) {
	s := newStage(t, "TRUSTED_PROXIES=127.0.0.1", "MAX_CONNECTIONS_PER_IP=3", "MAX_CONNECT_RATE_PER_IP=0")
	const xff = "X-Forwarded-For"
	for i := range 3 {
		if status, _ := s.refusal(xff, fmt.Sprintf("10.1.1.%d, 198.51.100.7", i)); status != 101 {
			t.Errorf("connection %d: %d", i, status)
		}
	}
	status, header := s.refusal(xff, "192.0.2.1, 198.51.100.7")
	if status != http.StatusTooManyRequests || header.Get("Retry-After") == "" {
		t.Errorf("one too many: %d, %v", status, header)
	}
	for _, other := range []string{"198.51.100.8", "2001:db8::1"} {
		if status, _ := s.refusal(xff, other); status != 101 {
			t.Errorf("%s: %d", other, status)
		}
	}
	for i := range 5 { // one more may come from the /64 of which there is one already, and then none
		want := 101
		if i >= 2 {
			want = http.StatusTooManyRequests
		}
		if status, _ := s.refusal(xff, fmt.Sprintf("2001:db8::%x:1", i+1)); status != want {
			t.Errorf("IPv6 %d: %d, want %d", i, status, want)
		}
	}
	if log := s.relay.Log(); strings.Contains(log, "SIDECAST_TRUSTED_PROXIES") {
		t.Errorf("a trusted proxy is called untrusted:\n%s", log)
	}
}

// New connections a second are bounded too, and a refused one costs no place.
func TestAddressRate(t *testing.T) {
	s := newStage(t, "TRUSTED_PROXIES=127.0.0.1", "MAX_CONNECT_RATE_PER_IP=5")
	refused := 0
	for range 40 {
		if status, _ := s.refusal("X-Forwarded-For", "198.51.100.7"); status == http.StatusTooManyRequests {
			refused++
		}
	}
	if refused == 0 {
		t.Error("40 at once were let in")
	}
	if status, _ := s.refusal("X-Forwarded-For", "198.51.100.8"); status != 101 {
		t.Errorf("another address: %d", status)
	}
}

// A peer on a private network is not counted, and what it forwards is not believed; what to set is said once.
func TestUntrustedProxy(t *testing.T) {
	s := newStage(t, "MAX_CONNECTIONS_PER_IP=1", "MAX_CONNECT_RATE_PER_IP=1")
	for range 5 {
		if status, _ := s.refusal("X-Forwarded-For", "198.51.100.7"); status != 101 {
			t.Errorf("refused: %d", status)
		}
	}
	if n := strings.Count(s.relay.Log(), "SIDECAST_TRUSTED_PROXIES"); n != 1 {
		t.Errorf("said %d times what to set:\n%s", n, s.relay.Log())
	}
}

// Beyond MAX_CONNECTIONS the answer is 503 and says when to come again, and who waits for the application has a place.
func TestCapacity(t *testing.T) {
	release, arrived := make(chan struct{}), make(chan struct{})
	addr := serve(t, func(w http.ResponseWriter, _ *http.Request) { arrived <- struct{}{}; <-release; w.WriteHeader(401) })
	s := newStage(t, "MAX_CONNECTIONS=2", "AUTH_URL=http://"+addr+"/", "AUTH_TIMEOUT=20s")
	var waiting sync.WaitGroup
	for i := range 2 {
		waiting.Go(func() {
			d := s.dialer(caller{header: http.Header{"Cookie": {fmt.Sprint(i)}}})
			if c, err := d.Dial(t.Context()); err != nil {
				t.Errorf("who waited: %v", err)
			} else {
				c.Drop()
			}
		})
		<-arrived
	}
	if status, header := s.refusal("Cookie", "another"); status != http.StatusServiceUnavailable || header.Get("Retry-After") == "" {
		t.Errorf("a third is answered %d, %v", status, header)
	}
	close(release)
	waiting.Wait()
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

// writePair writes a certificate for localhost and its key.
func writePair(t *testing.T, dir string) (certFile, keyFile string, roots *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"localhost"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certFile, keyFile, roots = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"), x509.NewCertPool()
	for file, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: der}, keyFile: {Type: "PRIVATE KEY", Bytes: keyDER}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	roots.AppendCertsFromPEM(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	return certFile, keyFile, roots
}

// Over TLS the same is served, HTTP/2 is not offered, and plain text is told so.
func TestTLS(t *testing.T) {
	dir := t.TempDir()
	certFile, keyFile, roots := writePair(t, dir)
	s := newStage(t, "TLS_CERT="+certFile, "TLS_KEY="+keyFile)
	conn, err := tls.Dial("tcp", s.relay.Addr(), &tls.Config{RootCAs: roots, ServerName: "localhost", NextProtos: []string{"h2", "http/1.1"}})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if p := conn.ConnectionState().NegotiatedProtocol; p != "http/1.1" {
		t.Errorf("negotiated %q", p)
	}
	fmt.Fprint(conn, "GET /ws?channel=public:1 HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
	head := make([]byte, 4096)
	n, err := conn.Read(head)
	if err != nil || !strings.HasPrefix(string(head[:n]), "HTTP/1.1 101 ") {
		t.Fatalf("answered %q, %v", head[:n], err)
	}
	s.redis.CLI("PUBLISH", "public:1", "by TLS")
	if n, err = conn.Read(head); err != nil || string(head[:n]) != "\x81\x06by TLS" {
		t.Errorf("heard %q, %v", head[:n], err)
	}
	if text := get(t, "http://"+s.relay.Addr()+"/"); !strings.HasPrefix(text, "400") {
		t.Errorf("plain text: %.80q", text)
	}
	// A new certificate is served without a restart, a second later at most.
	_, _, renewed := writePair(t, dir)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for range 100 {
		again, err := tls.Dial("tcp", s.relay.Addr(), &tls.Config{RootCAs: renewed, ServerName: "localhost"})
		if err == nil {
			again.Close()
			return
		}
		<-tick.C
	}
	t.Error("the new certificate is not served")
}
