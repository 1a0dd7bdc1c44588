package auth

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log"
	"net"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"
	"time"

	"sidecast/relay/protocol"
	"sidecast/relay/relaytest/redistest"
)

// TestUnusableAnswers checks that the log says why an answer cannot be used and
// what to do, and that it contains neither the URL nor the answer.
func TestUnusableAnswers(t *testing.T) {
	secure := httptest.NewUnstartedServer(respond(200, `{"user":"42"}`))
	secure.Config.ErrorLog = log.New(io.Discard, "", 0)
	secure.StartTLS()
	t.Cleanup(secure.Close)
	plain := httptest.NewServer(respond(200, `{"user":"42"}`))
	t.Cleanup(plain.Close)
	body := func(text string) string {
		s := httptest.NewServer(respond(200, text))
		t.Cleanup(s.Close)
		return s.URL
	}
	silent := listen(t, func(c net.Conn) { io.Copy(io.Discard, c) })
	closing := listen(t, func(net.Conn) {})
	gibberish := listen(t, func(c net.Conn) { io.WriteString(c, "\x15\x03\x01\x00\x02\x02\x46canary") })
	for _, tt := range []struct{ url, reason, do string }{
		{"http://" + redistest.FreeAddr(t), "nothing listens at this address", "start the application"},
		{"http://" + silent, "no complete answer in time", "SIDECAST_AUTH_TIMEOUT"},
		{"https://" + silent, "no connection in time", "firewall"},
		{"http://" + closing, "the server closed the connection before the end of its answer", "the server's log"},
		{"http://" + gibberish, "the server does not speak HTTP on this port", "write https://"},
		{strings.Replace(secure.URL, "https", "http", 1), "the server requires TLS on this port", "write https://"},
		{strings.Replace(plain.URL, "http", "https", 1), "the server does not use TLS on this port", "write http://"},
		{secure.URL, `signed by an authority that this host does not trust: \"O=Acme Co\"`, "SSL_CERT_FILE"},
		{plain.URL + "/\x7f", "the request cannot be created", "correct the URL"},
		{body(""), "not a JSON object: empty", "or 401 if the application does not know the user"},
		{body("<html>canary"), "not a JSON object: HTML", "or 401"},
		{body("Warning: canary\n{\"user\":\"42\"}"), "not a JSON object: text before it", "display_errors"},
		{body("\ufeff" + `{"user":"42"}`), "a byte order mark (BOM) before it", "UTF-8"},
		{body(`{"user":"42","canary"`), "not one valid JSON object", "one object and nothing else"},
		{body(`["canary"]`), `"not a JSON object"`, "or 401"},
		{body(`{"canary":1}`), "user is missing", "the user's id"},
		{body(`{"user":"can\u0000ary"}`), "user is not a valid id", "control characters"},
		{body(`{"user":4.2}`), "user is not a whole number", ""},
		{body(`{"user":true}`), "user is true or false", ""},
		{body(`{"user":"42","channels":"canary"}`), "channels is a string and not a list of strings", ""},
		{body(`{"user":"42","channels":{"1":"canary"}}`), "channels is an object and not a list of strings", "array_values"},
		{body(`{"user":"42","publish":[1]}`), "publish contains something that is not a string", ""},
		{body(`{"user":"42","publish":[null]}`), "publish contains something that is not a string", ""},
		{body(`{"user":"42","channels":["canary["]}`), "channels: pattern has a [ without its ]", ""},
		{body(`{"user":"42","expires_in":"canary"}`), "expires_in is a string and not a number of seconds", ""},
		{body(`{"user":"42","expires_in":-1}`), "expires_in is 0 or less", ""},
		{body(`{"user":"42","expires_in":1e999}`), "expires_in is too large", ""},
	} {
		a := newTestApp(t, respond(500, ""), func(c *ApplicationConfig) {
			c.LoginURL, c.Timeout = tt.url, 30*time.Second
			if strings.HasSuffix(tt.url, silent) {
				c.Timeout = 200 * time.Millisecond
			}
		})
		if id, code := a.Login(t.Context(), request("Cookie", "canary=1")); id != nil || code != protocol.CodeUnavailable {
			t.Errorf("%s: %v, %v", tt.reason, id, code)
		}
		text := a.log.String()
		if !strings.Contains(text, tt.reason) || !strings.Contains(text, tt.do) || !strings.Contains(text, "setting=SIDECAST_AUTH_URL") {
			t.Errorf("logged %q, want %q and %q", text, tt.reason, tt.do)
		}
		if strings.Contains(text, `do=""`) || strings.Contains(text, "canary") || strings.Contains(text, "127.0.0.1") {
			t.Errorf("logged %q", text)
		}
	}
}

// TestStatusIsNamed checks that the log contains a status that decides nothing.
func TestStatusIsNamed(t *testing.T) {
	a := newTestApp(t, respond(503, "canary"))
	a.Login(t.Context(), request("Cookie", "s=1"))
	a.ChannelAuthorizer(request("Cookie", "s=1"), nil)(t.Context(), "", "order:1")
	if text := a.log.String(); strings.Count(text, `reason="HTTP status 503"`) != 2 || !strings.Contains(text, "answer 204") {
		t.Errorf("logged %q", text)
	}
}

// TestConnectionProblems checks the reasons for errors that a test cannot cause
// on every machine.
func TestConnectionProblems(t *testing.T) {
	certificate := &x509.Certificate{}
	named := &x509.Certificate{DNSNames: []string{"a.example"}}
	numbered := &x509.Certificate{IPAddresses: []net.IP{net.IPv4(10, 0, 0, 1)}}
	date := func(year int) time.Time { return time.Date(year, 2, 3, 4, 5, 6, 0, time.UTC) }
	expired, early := &x509.Certificate{NotAfter: date(2001)}, &x509.Certificate{NotBefore: date(3001), NotAfter: date(3002)}
	authority := &x509.Certificate{NotAfter: date(2001), IsCA: true}
	failed := func(err error) error { return &tls.CertificateVerificationError{Err: err} }
	for _, tt := range []struct {
		err  error
		want string
	}{
		{&net.DNSError{Name: "canary", IsNotFound: true}, "the host name cannot be resolved"},
		{&net.DNSError{Name: "canary", IsTimeout: true}, "the name server does not answer"},
		{&net.OpError{Op: "dial", Err: syscall.EHOSTUNREACH}, "there is no route to the server"},
		{&net.OpError{Op: "dial", Err: context.DeadlineExceeded}, "no connection in time"},
		{&net.OpError{Op: "read", Err: syscall.ECONNRESET}, "the server closed the connection before the end of its answer"},
		{failed(x509.HostnameError{Certificate: named, Host: "canary"}), `the server's certificate is for another host: "a.example"`},
		{failed(x509.HostnameError{Certificate: certificate, Host: "canary"}), "the server's certificate has no subject alternative name"},
		{failed(x509.HostnameError{Certificate: numbered, Host: "canary"}), "the server's certificate is for another host: 10.0.0.1"},
		{failed(x509.CertificateInvalidError{Reason: x509.CANotAuthorizedForThisName, Detail: "canary"}), "the server's certificate is not valid"},
		{failed(x509.CertificateInvalidError{Reason: x509.Expired, Cert: expired}), "the server's certificate expired on 2001-02-03 04:05 UTC"},
		{failed(x509.CertificateInvalidError{Reason: x509.Expired, Cert: authority}),
			"the certificate of the authority that signed the server's expired on 2001-02-03 04:05 UTC"},
		{failed(x509.CertificateInvalidError{Reason: x509.Expired, Cert: early}), "the server's certificate is not valid before 3001-02-03 04:05 UTC"},
		{tls.AlertError(40), "the TLS handshake failed"},
		{io.ErrClosedPipe, "the connection failed"},
	} {
		if p := connectionProblem(t.Context(), tt.err, false); p.text != tt.want || p.do == "" {
			t.Errorf("%v: %+v, want %q", tt.err, p, tt.want)
		}
	}
}

// listen accepts connections. For each, it reads what arrives first, calls
// answer and closes the connection. It returns its address.
func listen(t *testing.T, answer func(net.Conn)) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				_, _ = conn.Read(make([]byte, 4096))
				answer(conn)
			}()
		}
	}()
	return listener.Addr().String()
}
