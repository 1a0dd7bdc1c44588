package front

import (
	"bytes"
	"io"
	"log"
	"net"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"sidecast/relay/relaytest/inmemory"
)

// good is the head of an ordinary handshake.
const good = "GET /ws?channel=a HTTP/1.1\r\nHost: relay.example:8080\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
	"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"

// browser is what Chromium sends through a proxy.
const browser = "GET /ws HTTP/1.1\r\nhost: relay.example\r\nConnection: keep-alive, Upgrade\r\nPragma: no-cache\r\nCache-Control: no-cache\r\n" +
	"User-Agent: Mozilla/5.0 (X11; Linux x86_64)\r\nUpgrade: websocket\r\nOrigin: https://app.example\r\n" +
	"Sec-WebSocket-Version: 13\r\nAccept-Encoding: gzip, deflate, br, zstd\r\nAccept-Language: en-US,en;q=0.9\r\n" +
	"Cookie: a=b; c=\"d\"\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: sidecast.v1, token.a.b-c_d\r\n" +
	"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\nX-Forwarded-For: 192.0.2.1\r\nx-forwarded-for: 192.0.2.2\r\n" +
	"x-other: \r\n\r\n"

// with returns good with a line added to its header.
func with(line string) string { return strings.Replace(good, "Connection:", line+"\r\nConnection:", 1) }

// instead returns good with a part replaced.
func instead(of, by string) string { return strings.Replace(good, of, by, 1) }

// accepts are handshakes that the front serves.
var accepts = []string{
	good,
	browser,
	instead("/ws?channel=a", "/"),
	instead("/ws?channel=a", "//ws?a=%zz&b=%20#x"), // only the path must be valid
	instead("relay.example:8080", "[::1%25eth0]:8080"),
	instead("websocket", "WebSocket"),
	instead("Host: relay", "hOST:relay"), // a name in another case, no blank
	with("X-A:   b c  "),                 // blanks around a value
	with("X-A:"),                         // no value
	with("X-A: b\r\nX-A: c\r\nx-a: d"),   // several values
	with("A!#$%&'*+-.^_`|~9: b"),         // all bytes of a token
	with("Cookie: " + strings.Repeat("x", 3000)),
}

// refuses are requests that net/http has to judge.
var refuses = []string{
	// Another method, or not HTTP/1.1.
	instead("GET", "POST"), instead("GET", "get"), instead("HTTP/1.1", "HTTP/1.0"), instead("HTTP/1.1", "HTTP/1.2"),
	instead("HTTP/1.1", "http/1.1"), instead("HTTP/1.1", "HTTP/2.0"), "PRI * HTTP/2.0\r\n\r\n",
	// Request targets that are not a path, or not clear.
	instead("/ws?channel=a", "*"), instead("/ws?channel=a", "http://other.example/ws"), instead("/ws?channel=a", "relay.example:80"),
	instead("/ws?", "/ws ?"), instead("GET ", "GET  "), instead(" HTTP/1.1", "  HTTP/1.1"), instead("/ws", "/%zz"), instead("/ws", "/\x01"),
	instead("/ws", "/\x7f"), instead("/ws", "/ä"), instead("/ws", "/\t"),
	// The lines do not end as they should.
	instead("\r\nHost", "\nHost"), instead("\r\nUpgrade", "\nUpgrade"), instead("\r\nHost", "\r\r\nHost"), instead("websocket\r\n", "websocket\r\r\n"),
	"\r\n" + good, "\n" + good, " " + good,
	// Folded lines.
	with("X-A: b\r\n c"), with("X-A: b\r\n\tc"), with(" X-A: b"), instead("\r\nHost", "\r\n Host"),
	// Names that are not tokens.
	with("X A: b"), with("X-A : b"), with(": b"), with("X-A"), with("X-Ä: b"), with("X\x00: b"), with("(X): b"), with("X\t: b"),
	// Values with control bytes, or not in ASCII.
	with("X-A: b\x00c"), with("X-A: b\x1fc"), with("X-A: b\x7fc"), with("X-A: b\tc"), with("X-A: bä"), with("X-A: b\rc"), with("X-A: b\nc"),
	// No host, two hosts, or one that cannot be a host.
	instead("Host: relay.example:8080\r\n", ""), with("Host: relay.example:8080"), with("host: other.example"), instead("relay.example:8080", ""),
	instead("relay.example", "relay/example"), instead("relay.example", "a b"), instead("relay.example", "user@relay"), instead("relay.example", `a"b`),
	// A body, or an answer before the body.
	with("Content-Length: 0"), with("content-length: 5"), with("Transfer-Encoding: chunked"), with("Transfer-Encoding: identity"),
	with("Content-Length: 1\r\nTransfer-Encoding: chunked"), with("Trailer: X-A"), with("Expect: 100-continue"),
	// Not a handshake, or one that asks for more.
	instead("Upgrade: websocket\r\n", ""), instead("websocket", "h2c"), instead("websocket", "websocket, h2c"), with("Upgrade: h2c"), with("Upgrade: websocket"),
	instead("Connection: Upgrade", "Connection: Upgrade, close"), instead("Connection: Upgrade", "Connection: CLOSE"),
	instead("Connection: Upgrade\r\n", ""), with("Connection: close"), with("Connection: Upgrade"),
	// net/http adds a Cache-Control.
	with("Pragma: no-cache"),
}

// Ordinary handshakes are the same requests as in net/http.
func TestAccepts(t *testing.T) {
	judge := newJudge(t)
	for _, text := range accepts {
		got, ok := parse([]byte(text))
		if !ok {
			t.Errorf("refused:\n%s", text)
			continue
		}
		judge.compare(t, text, &got)
	}
}

// Whatever is not ordinary is left to net/http.
func TestRefuses(t *testing.T) {
	for _, text := range refuses {
		if _, ok := parse([]byte(text)); ok {
			t.Errorf("accepted: %q", text)
		}
		if i := strings.Index(text, "\r\n\r\n"); text == good || i >= 0 && i+4 != len(text) {
			t.Errorf("the case is not one head: %q", text)
		}
	}
}

// A head that is incomplete is refused.
func TestIncomplete(t *testing.T) {
	for i := range len(good) {
		if _, ok := parse([]byte(good[:i])); ok {
			t.Errorf("accepted: %q", good[:i])
		}
	}
}

// net/http accepts each request that parse accepts, and reads the same.
func FuzzParse(f *testing.F) {
	for _, text := range append(accepts, refuses...) {
		f.Add([]byte(text))
	}
	judge := newJudge(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		i := bytes.Index(b, endOfHead)
		if i < 0 || i+len(endOfHead) > maxHead {
			return
		}
		head := string(b[:i+len(endOfHead)])
		if got, ok := parse(b[:len(head)]); ok {
			judge.compare(t, head, &got)
		}
	})
}

// A judge is a server of net/http.
type judge struct {
	listener *inmemory.Listener
	requests chan *http.Request // nil: the connection is closed without a request
}

func newJudge(t testing.TB) *judge {
	j := &judge{listener: inmemory.Listen(), requests: make(chan *http.Request)}
	s := &http.Server{
		ErrorLog: log.New(io.Discard, "", 0),
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			j.requests <- r
			_, _, _ = w.(http.Hijacker).Hijack()
		}),
		ConnState: func(_ net.Conn, state http.ConnState) {
			if state == http.StateClosed {
				j.requests <- nil
			}
		},
	}
	ended := make(chan struct{})
	go func() { defer close(ended); _ = s.Serve(j.listener) }()
	t.Cleanup(func() { _ = s.Close(); <-ended })
	return j
}

// compare checks that net/http reads the same request.
func (j *judge) compare(t *testing.T, head string, got *http.Request) {
	t.Helper()
	j.listener.Connect(&memConn{Reader: strings.NewReader(head)})
	want := <-j.requests
	if want == nil {
		t.Errorf("net/http refuses %q", head)
		return
	}
	if g, w := essence(got), essence(want); !reflect.DeepEqual(g, w) {
		t.Errorf("%q\nis read as %+v\nnet/http:  %+v", head, g, w)
	}
}

// essence returns what a handler may look at.
func essence(r *http.Request) http.Request {
	return http.Request{
		Method: r.Method, URL: r.URL, Proto: r.Proto, ProtoMajor: r.ProtoMajor, ProtoMinor: r.ProtoMinor, Header: r.Header, Body: r.Body,
		ContentLength: r.ContentLength, TransferEncoding: r.TransferEncoding, Close: r.Close, Host: r.Host, Form: r.Form, Trailer: r.Trailer,
		RequestURI: r.RequestURI, Pattern: r.Pattern,
	}
}

// A memConn is a connection in memory.
type memConn struct {
	net.Conn
	io.Reader
}

func (c *memConn) Read(b []byte) (int, error)     { return c.Reader.Read(b) }
func (*memConn) Write(b []byte) (int, error)      { return len(b), nil }
func (*memConn) Close() error                     { return nil }
func (*memConn) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (*memConn) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (*memConn) SetDeadline(time.Time) error      { return nil }
func (*memConn) SetReadDeadline(time.Time) error  { return nil }
func (*memConn) SetWriteDeadline(time.Time) error { return nil }
