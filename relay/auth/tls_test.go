package auth_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestTLS checks that the relay serves WebSocket over TLS without HTTP/2,
// answers plain HTTP with an error, and uses a renewed certificate without a
// restart.
func TestTLS(t *testing.T) {
	dir := t.TempDir()
	certFile, keyFile, roots := writePair(t, dir)
	s := newSetup(t, "TLS_CERT="+certFile, "TLS_KEY="+keyFile)
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
	s.redis.CLI("PUBLISH", "public:1", "over TLS")
	if n, err = conn.Read(head); err != nil || string(head[:n]) != "\x81\x08over TLS" {
		t.Errorf("received %q, %v", head[:n], err)
	}
	if text := get(t, "http://"+s.relay.Addr()+"/"); !strings.HasPrefix(text, "400") {
		t.Errorf("plain HTTP: %.80q", text)
	}
	// The relay notices the new certificate within a second.
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
	t.Error("the relay does not use the new certificate")
}

// writePair writes a certificate for localhost and its key to files.
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
