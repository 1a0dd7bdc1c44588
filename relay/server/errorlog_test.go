package server

import (
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"

	"sidecast/relay/relaytest/inmemory"
)

// TestErrorLog checks the log entries for errors that net/http reports itself.
func TestErrorLog(t *testing.T) {
	var log inmemory.Log
	s := &Server{cfg: Config{Logger: slog.New(slog.NewTextHandler(&log, nil))}}
	server := s.httpServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		panic("bad handler\nsecond line")
	}))
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = server.Serve(&failingListener{Listener: listener, fail: 1}) }()
	if _, err := http.Get("http://" + listener.Addr().String()); err == nil {
		t.Error("a handler that panics answers")
	}
	_ = server.Close()
	for _, want := range []string{
		"level=WARN msg=\"accepting a connection failed; the relay tries again\" err=\"accept: too many open files; retrying in 5ms\"",
		"level=ERROR msg=\"panic while serving a request; its connection is closed\"", `bad handler`, "stack=",
	} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log does not contain %q:\n%s", want, log.String())
		}
	}
	if n := strings.Count(log.String(), "\n"); n != 2 {
		t.Errorf("the log has %d lines, want 2:\n%s", n, log.String())
	}
}

// failingListener fails to accept a few times.
type failingListener struct {
	net.Listener
	fail int
}

func (l *failingListener) Accept() (net.Conn, error) {
	if l.fail--; l.fail >= 0 {
		return nil, tooManyFiles{errors.New("accept: too many open files")}
	}
	return l.Listener.Accept()
}

type tooManyFiles struct{ error }

func (tooManyFiles) Timeout() bool   { return false }
func (tooManyFiles) Temporary() bool { return true }

// Failed TLS handshakes are noise, unless the certificate is the reason. The
// log is limited.
func TestErrorLogOfHandshakes(t *testing.T) {
	var log inmemory.Log
	certificate, err := LoadCertificate(pair(t))
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{cfg: Config{Logger: slog.New(slog.NewTextHandler(&log, nil))}}
	server := s.httpServer(http.NotFoundHandler())
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var served sync.WaitGroup
	served.Go(func() { _ = server.Serve(tls.NewListener(listener, certificate.Config())) })
	connect := func(send string) {
		conn, err := net.Dial("tcp", listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(conn, send)
		_ = conn.(*net.TCPConn).CloseWrite()
		_, _ = io.Copy(io.Discard, conn)
		_ = conn.Close()
	}
	for _, noise := range []string{"", "GET / HTTP/1.1\r\n\r\n", "SSH-2.0-scanner\r\n", "\x16\x03\x01"} {
		connect(noise)
	}
	if log.String() != "" {
		t.Errorf("noise is logged:\n%s", log.String())
	}
	for range 30 { // the client does not trust the certificate
		_, err := tls.Dial("tcp", listener.Addr().String(), &tls.Config{ServerName: "localhost", MaxVersion: tls.VersionTLS12})
		if err == nil {
			t.Fatal("the client trusts the certificate")
		}
	}
	_ = server.Close()
	served.Wait()
	lines := strings.Count(log.String(), `level=WARN msg="TLS handshake failed because of the certificate"`)
	if lines == 0 || lines > 11 {
		t.Errorf("%d log entries about 30 handshakes, want 1 to 11:\n%s", lines, log.String())
	}
}

func pair(t *testing.T) (certFile, keyFile string, logger *slog.Logger) {
	certFile, keyFile = writePair(t, t.TempDir(), "relay")
	return certFile, keyFile, slog.New(slog.DiscardHandler)
}
