package ws

import (
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"github.com/lxzan/gws"

	"sidecast/relay/accept"
	"sidecast/relay/access"
	"sidecast/relay/protocol"
	"sidecast/relay/stats"
)

func TestHandshake(t *testing.T) {
	r := newTestRelay(t)
	good := handshakeText("/")
	without := func(header string) string {
		var kept []string
		for line := range strings.SplitAfterSeq(good, "\r\n") {
			if !strings.HasPrefix(line, header+":") {
				kept = append(kept, line)
			}
		}
		return strings.Join(kept, "")
	}
	with := func(header, value string) string {
		return strings.Replace(without(header), "\r\n\r\n", "\r\n"+header+": "+value+"\r\n\r\n", 1)
	}
	for _, test := range []struct {
		name, request string
		status        int
		body          string
	}{
		{"valid", good, 101, ""},
		{"Connection with several tokens", with("Connection", "keep-alive, Upgrade"), 101, ""},
		{"Connection in several headers", with("Connection", "keep-alive\r\nConnection: Upgrade"), 101, ""},
		{"Upgrade with several protocols", with("Upgrade", "h2c, websocket"), 101, ""},
		{"Upgrade in several headers", with("Upgrade", "h2c\r\nUpgrade: websocket"), 101, ""},
		{"Upgrade with an empty element", with("Upgrade", "websocket,"), 101, ""},
		{"an empty body", with("Content-Length", "0"), 101, ""},
		{"a body", with("Content-Length", "6") + "\x88\x80\x00\x00\x00\x00", 400, "no body"},
		{"a body of unknown length", with("Transfer-Encoding", "chunked") + "0\r\n\r\n", 400, "no body"},
		{"an empty subprotocol", with("Sec-WebSocket-Protocol", ""), 101, ""},
		{"a list of empty subprotocols", with("Sec-WebSocket-Protocol", ","), 101, ""},
		{"Upgrade in capitals", with("Upgrade", "WebSocket"), 101, ""},
		{"no Upgrade", without("Upgrade"), 426, "arrived as HTTP/1.1 without its header Upgrade: websocket: a proxy must pass them on"},
		{"no Connection", without("Connection"), 426, "without its header Connection: Upgrade: a proxy"},
		{"neither", strings.Replace(without("Upgrade"), "Connection: Upgrade\r\n", "", 1), 426, "header Upgrade: websocket and its header Connection: Upgrade: a"},
		{"no handshake", "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", 426, "accepts only WebSocket"},
		{"POST", strings.Replace(good, "GET", "POST", 1), 426, "accepts only WebSocket"},
		{"HTTP/1.0", strings.Replace(good, "HTTP/1.1", "HTTP/1.0", 1), 426, "arrived as HTTP/1.0: a proxy must pass them on, as HTTP/1.1"},
		{"no version", without("Sec-WebSocket-Version"), 426, "version 13"},
		{"an old version", with("Sec-WebSocket-Version", "8"), 426, "version 13"},
		{"no key", without("Sec-WebSocket-Key"), 400, "Sec-WebSocket-Key"},
		{"a short key", with("Sec-WebSocket-Key", "short"), 400, "Sec-WebSocket-Key"},
		{"a key of 15 bytes", with("Sec-WebSocket-Key", "AAAAAAAAAAAAAAAAAAAA"), 400, "Sec-WebSocket-Key"},
		{"two keys", with("Sec-WebSocket-Key", sampleKey+"\r\nSec-WebSocket-Key: "+sampleKey), 400, "Sec-WebSocket-Key"},
		{"an unknown subprotocol", with("Sec-WebSocket-Protocol", "graphql-ws"), 400, "sidecast.v1"},
		{"only a token", with("Sec-WebSocket-Protocol", "sidecast.token.x"), 400, "sidecast.v1"},
		{"a token and an unknown subprotocol", with("Sec-WebSocket-Protocol", "sidecast.token.x, graphql-ws"), 400, "sidecast.v1"},
		{"two tokens", with("Sec-WebSocket-Protocol", "sidecast.v1, sidecast.token.x, sidecast.token.x"), 400, "more than one token"},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := r.connect()
			p.t = t
			p.write([]byte(test.request))
			response := p.response()
			if response.StatusCode != test.status {
				t.Fatalf("status %s, want %d", response.Status, test.status)
			}
			if test.status == 101 {
				return
			}
			body, _ := io.ReadAll(response.Body)
			if !strings.Contains(string(body), test.body) {
				t.Errorf("the body %q does not contain %q", body, test.body)
			}
			if !response.Close {
				t.Error("the connection stays open after a rejected handshake: a proxy may keep a tunnel open")
			}
			if test.status == 426 && response.Header.Get("Upgrade") == "" && response.Header.Get("Sec-WebSocket-Version") != "13" {
				t.Error("the response 426 does not name a protocol or version to upgrade to")
			}
		})
	}
}

func TestSubprotocols(t *testing.T) {
	r := newTestRelay(t)
	for _, test := range []struct {
		headers []string
		echoed  string
		why     string
	}{
		{nil, "", "without an offer the client gets raw and no header"},
		{[]string{"Sec-WebSocket-Protocol: sidecast.v1"}, "sidecast.v1", "offered alone"},
		{[]string{"Sec-WebSocket-Protocol: foo, sidecast.raw, sidecast.v1"}, "sidecast.raw", "the client's order decides"},
		{[]string{"Sec-WebSocket-Protocol: foo", "Sec-WebSocket-Protocol: sidecast.v1"}, "sidecast.v1", "offered in two headers"},
	} {
		p := r.connect()
		p.write([]byte(handshakeText("/", test.headers...)))
		response := p.response()
		got, present := response.Header["Sec-Websocket-Protocol"]
		if response.StatusCode != 101 || response.Header.Get("Sec-WebSocket-Protocol") != test.echoed || present != (test.echoed != "") {
			t.Errorf("offer %v: %s with %v, want %q: %s", test.headers, response.Status, got, test.echoed, test.why)
		}
		if ext := response.Header.Get("Sec-WebSocket-Extensions"); ext != "" {
			t.Errorf("the relay accepts the compression %q, but does not limit the size of a decompressed frame", ext)
		}
	}
}

// The relay reports a rejection by a close code, so that the page receives it.
// A rejected client gets no session.
func TestRejectedAfterHandshake(t *testing.T) {
	open, err := access.ParsePatterns([]string{"chat*"})
	if err != nil {
		t.Fatal(err)
	}
	r := newTestRelay(t, func(c *relayConfig) { c.hub.Access.Public = open })
	var many strings.Builder
	many.WriteString("/?channel=chat0")
	for i := range 128 {
		many.WriteString(fmt.Sprintf("&channel=chat%d", i))
	}
	for _, test := range []struct {
		name, target string
		headers      []string
		want         protocol.CloseCode
	}{
		{"a forbidden channel", "/?channel=other", nil, protocol.CloseForbidden.Because(protocol.ReasonChannel)},
		{"one of two channels is forbidden", "/?channel=chat1&channel=other", nil, protocol.CloseForbidden.Because(protocol.ReasonChannel)},
		{"a reserved name", "/?channel=sidecast:mark", nil, protocol.CloseForbidden.Because(protocol.ReasonName)},
		{"an invalid name", "/?channel=a%00b", nil, protocol.CloseForbidden.Because(protocol.ReasonName)},
		{"an empty name", "/?channel=", nil, protocol.CloseForbidden.Because(protocol.ReasonName)},
		{"too many channels", many.String(), nil, protocol.ClosePolicy.Because(protocol.ReasonChannels)},
		{"an invalid query", "/?channel=%zz", nil, protocol.ClosePolicy.Because(protocol.ReasonQuery)},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := r.connect()
			p.t = t
			p.write([]byte(handshakeText(test.target, test.headers...)))
			if response := p.response(); response.StatusCode != 101 || response.Header.Get("Sec-WebSocket-Accept") != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" {
				t.Fatalf("%s, accept %q", response.Status, response.Header.Get("Sec-WebSocket-Accept"))
			}
			p.wantClose(test.want)
		})
	}
	if r.stats.Opened.Load() != 0 {
		t.Error("a rejected client has a session")
	}
}

// Each rejection is counted, and its log line has the client's address and
// what to do, but nothing that the client sent.
func TestRejectionsAreLogged(t *testing.T) {
	proxied := "GET /?channel=secret HTTP/1.0\r\nHost: localhost\r\nSec-WebSocket-Key: " + sampleKey + "\r\n\r\n"
	for _, test := range []struct {
		name, request string
		reason        stats.Rejection
		problem, do   string
	}{
		{"channel[]", handshakeText("/?channel[]=secret"), stats.RejectBadRequest, "names no channel", "not channel[]"},
		{"a semicolon", handshakeText("/?channel=secret;b"), stats.RejectBadRequest, "the query of the URL is invalid", "encodeURIComponent"},
		{"a bare percent sign", handshakeText("/?channel=100%&secret"), stats.RejectBadRequest, "the query of the URL is invalid", "encodeURIComponent"},
		{
			"too many channels", handshakeText("/?channel=secret" + strings.Repeat("&channel=a", 128)), stats.RejectBadRequest,
			"more channels than one client may have", "MAX_CHANNELS_PER_SESSION",
		},
		{"an unknown subprotocol", handshakeText("/", "Sec-WebSocket-Protocol: secret"), stats.RejectHandshake, "none of the offered subprotocols", "sidecast.v1"},
		{
			"two tokens", handshakeText("/", v1Header+", sidecast.token.secret, sidecast.token.secret"), stats.RejectHandshake,
			"more than one token", "a single",
		},
		{"a proxy removed Upgrade", proxied, stats.RejectHandshake, "lost its Upgrade header", "let the proxy pass"},
		{"a body", handshakeText("/", "Content-Length: 6") + "secret", stats.RejectHandshake, "a handshake with a body", "RFC 6455"},
		{"no place", handshakeText("/?channel=secret"), stats.RejectCapacity, "as many clients as it accepts", "MAX_CONNECTIONS"},
		{"too many from an address", handshakeText("/?channel=secret"), stats.RejectAddress, "too many connections from one address", "MAX_CONNECTIONS_PER_IP"},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := newTestRelay(t, func(c *relayConfig) {
				c.ws.DefaultChannels = nil
				c.ws.Remote = func(*http.Request) string { return "192.0.2.1" }
				if test.reason == stats.RejectCapacity {
					c.slots = 0
				}
				if test.reason == stats.RejectAddress {
					c.ws.Limited = func(*http.Request) netip.Addr { return netip.MustParseAddr("192.0.2.1") }
					c.ws.IPLimiter = accept.NewIPLimiter(1, 0)
					c.ws.IPLimiter.Take(c.ws.Limited(nil))
				}
			})
			p := r.connect()
			p.write([]byte(test.request))
			p.response()
			await(t, "the counter", func() bool { return r.stats.Rejected[test.reason].Load() == 1 })
			await(t, "the log line", func() bool { return r.log.String() != "" })
			log := r.log.String()
			head := `msg="client rejected" reason=` + stats.Rejections[test.reason] + " remote=192.0.2.1 "
			if !strings.Contains(log, head) || !strings.Contains(log, test.problem) || !strings.Contains(log, test.do) ||
				strings.Count(log, "\n") != 1 || strings.Contains(log, "secret") {
				t.Errorf("want one line with %q, %q and %q, and without what the client sent:\n%s", head, test.problem, test.do, log)
			}
		})
	}
}

// A message that is too large is logged with what to do.
func TestTooLargeMessageIsLogged(t *testing.T) {
	r := newTestRelay(t)
	p := r.dial("/")
	p.write(header64(0x81, 1<<20))
	p.wantClose(protocol.CloseTooBig)
	await(t, "the log line", func() bool { return strings.Contains(r.log.String(), "raise SIDECAST_MAX_INBOUND_BYTES") })
}

// A handshake that the library refuses is counted and logged, and frees its
// slot.
func TestLibraryRefusesHandshake(t *testing.T) {
	r := newTestRelay(t)
	r.handler.codecs[""].upgrader = gws.NewUpgrader(gws.BuiltinEventHandler{}, &gws.ServerOption{
		Authorize: func(*http.Request, gws.SessionStorage) bool { return false },
	})
	p := r.connect()
	p.write([]byte(handshakeText("/")))
	if _, err := http.ReadResponse(p.in, nil); err == nil {
		t.Error("the client gets a response")
	}
	await(t, "the slot to be freed", func() bool { return r.slots.Used() == 0 })
	if n := r.stats.Rejected[stats.RejectHandshake].Load(); n != 1 || !strings.Contains(r.log.String(), "reason=handshake") {
		t.Errorf("%d handshakes are counted, the log is:\n%s", n, r.log.String())
	}
}

func TestRejectedClientThatStays(t *testing.T) {
	r := newTestRelay(t, func(c *relayConfig) { c.hub.Access.Public = nil; c.slots = 1 })
	p := r.connect()
	p.write([]byte(handshakeText("/")))
	p.response()
	op, _, err := p.read()
	if err != nil || op != 8 {
		t.Fatalf("got %x, %v, want a close frame", op, err)
	}
	// The client does not close the connection, but its slot is freed.
	await(t, "the slot to be freed", func() bool { return r.slots.Used() == 0 })
}

func TestTooManyConnections(t *testing.T) {
	r := newTestRelay(t, func(c *relayConfig) { c.slots = 1 })
	first := r.dial("/")
	p := r.connect()
	p.write([]byte(handshakeText("/")))
	response := p.response()
	if response.StatusCode != http.StatusServiceUnavailable || response.Header.Get("Retry-After") == "" {
		t.Errorf("%s, Retry-After %q, want 503 with a Retry-After", response.Status, response.Header.Get("Retry-After"))
	}
	first.write(frame(0x88, "\x03\xe8"))
	first.wantClose(protocol.CloseNormal)
	await(t, "the slot to be freed", func() bool { return r.slots.Used() == 0 })
	r.dial("/")
}

// The relay keeps bytes that a client sends in one packet with its handshake.
func TestEarlyBytes(t *testing.T) {
	r := newTestRelay(t)
	p := r.connect()
	p.write(append([]byte(handshakeText("/?channel=chat")), text("early")...))
	if response := p.response(); response.StatusCode != 101 {
		t.Fatal(response.Status)
	}
	p.want(1, "early")
}

func TestConnectionIsLoggedOnce(t *testing.T) {
	r := newTestRelay(t)
	p := r.dial("/?channel=secretroom&secret=hunter2", "Origin: https://example.com")
	p.write(text("payload-in-log"))
	p.want(1, "payload-in-log")
	p.write(frame(0x88, "\x0f\xa0")) // 4000
	op, got, err := p.read()
	if op != 8 || got != "\x0f\xa0" || err != nil {
		t.Fatalf("the relay answers close code 4000 with %x %q %v", op, got, err)
	}
	await(t, "the log line", func() bool { return strings.Contains(r.log.String(), "connection closed") })
	log := r.log.String()
	if strings.Count(log, "\n") != 1 || !strings.Contains(log, "code=4000") || !strings.Contains(log, "messages=1") ||
		!strings.Contains(log, "origin=https://example.com") || !strings.Contains(log, "protocol=raw") {
		t.Errorf("want one log line with the details of the connection, got:\n%s", log)
	}
	for _, secret := range []string{"hunter2", "secretroom", "payload-in-log"} {
		if strings.Contains(log, secret) {
			t.Errorf("the log contains %q:\n%s", secret, log)
		}
	}
}

func TestClientDisconnects(t *testing.T) {
	r := newTestRelay(t)
	p := r.dial("/")
	await(t, "the session", func() bool { return r.hub.Sessions() == 1 })
	_ = p.conn.Close()
	await(t, "the log line", func() bool { return strings.Contains(r.log.String(), "code=1006") })
	if r.hub.Sessions() != 0 {
		t.Error("the session is not removed")
	}
}
