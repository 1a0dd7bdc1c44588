package server

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sidecast/relay/relaytest"
	"sidecast/relay/relaytest/redistest"
)

// writePair writes a certificate for localhost with the given common name, and
// its key.
func writePair(t *testing.T, dir, name string) (certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{"localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for file, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: der}, keyFile: {Type: "PRIVATE KEY", Bytes: keyDER}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return certFile, keyFile
}

func commonName(t *testing.T, c *Certificate) string {
	t.Helper()
	leaf, err := x509.ParseCertificate(c.get().Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	return leaf.Subject.CommonName
}

// A certificate is reloaded when its files change. The files are checked once
// per second at most, and the previous certificate is kept if they do not
// match.
func TestCertificate(t *testing.T) {
	dir := t.TempDir()
	certFile, keyFile := writePair(t, dir, "one")
	var log strings.Builder
	c, err := LoadCertificate(certFile, keyFile, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	want := func(name, comment string) {
		t.Helper()
		if got := commonName(t, c); got != name {
			t.Errorf("%s: %q, want %q", comment, got, name)
		}
	}
	later := func() { c.checked = time.Time{} }
	want("one", "at the start")
	writePair(t, dir, "two")
	want("one", "within a second")
	later()
	want("two", "a second later")

	if err := os.WriteFile(keyFile, []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	later()
	want("two", "while the key is being written")
	later()
	want("two", "a second later")
	if n := strings.Count(log.String(), "using the previous certificate"); n != 1 {
		t.Errorf("logged %d times, want once:\n%s", n, log.String())
	}
	writePair(t, dir, "three")
	later()
	want("three", "when the files match again")
	_, foreign := writePair(t, t.TempDir(), "four")
	if _, err := LoadCertificate(certFile, foreign, slog.New(slog.DiscardHandler)); !errors.Is(err, ErrKeyMismatch) {
		t.Errorf("a key of another certificate: %v", err)
	}
	if err := os.Remove(certFile); err != nil {
		t.Fatal(err)
	}
	later()
	want("three", "while a file is missing")
	if _, err := LoadCertificate(certFile, keyFile, slog.New(slog.DiscardHandler)); err == nil {
		t.Error("LoadCertificate succeeds without a file")
	}
}

// The relay serves WebSocket over TLS to clients that choose HTTP/1.1 for it, as
// browsers do, and offers HTTP/2 to others. It answers plain HTTP with an error,
// and uses a renewed certificate without a restart.
func TestTLS(t *testing.T) {
	dir := t.TempDir()
	certFile, keyFile := writePair(t, dir, "one")
	redis := redistest.Start(t)
	relay := relaytest.Start(t, map[string]string{
		"SIDECAST_REDIS_URL": redis.URL(), "SIDECAST_CHANNELS": "*", "SIDECAST_PUBLIC_CHANNELS": "*",
		"SIDECAST_TLS_CERT": certFile, "SIDECAST_TLS_KEY": keyFile,
	})
	relay.AwaitStatus("http://"+relay.AdminAddr()+"/readyz", 200)
	dial := func(protocols ...string) (*tls.Conn, error) {
		roots := x509.NewCertPool()
		if text, err := os.ReadFile(certFile); err != nil || !roots.AppendCertsFromPEM(text) {
			t.Fatalf("reading the certificate: %v", err)
		}
		return tls.Dial("tcp", relay.Addr(), &tls.Config{RootCAs: roots, ServerName: "localhost", NextProtos: protocols})
	}
	conn, err := dial("h2", "http/1.1")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if p := conn.ConnectionState().NegotiatedProtocol; p != "h2" {
		t.Errorf("negotiated %q", p)
	}
	if conn, err = dial("http/1.1"); err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprint(conn, "GET /ws?channel=public:1 HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
	head := make([]byte, 4096)
	n, err := conn.Read(head)
	if err != nil || !strings.HasPrefix(string(head[:n]), "HTTP/1.1 101 ") {
		t.Fatalf("answered %q, %v", head[:n], err)
	}
	redis.CLI("PUBLISH", "public:1", "over TLS")
	if n, err = conn.Read(head); err != nil || string(head[:n]) != "\x81\x08over TLS" {
		t.Errorf("received %q, %v", head[:n], err)
	}
	relay.AwaitStatus("http://"+relay.Addr()+"/", 400)

	writePair(t, dir, "two")
	for deadline := time.Now().Add(relaytest.Patience); ; time.Sleep(50 * time.Millisecond) { // the relay checks once per second
		again, err := dial()
		if err == nil {
			again.Close()
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the relay does not use the new certificate: %v", err)
		}
	}
}
