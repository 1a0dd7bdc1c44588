package server_test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"sidecast/relay/access"
	"sidecast/relay/relaytest/inmemory"
	"sidecast/relay/stats"
)

// request sends a request over a new connection, and returns the response with
// its body. headers are lines.
func request(t *testing.T, r *testRelay, target string, headers ...string) (*http.Response, string) {
	t.Helper()
	response, err := send(connectTo(t, r, false), target, headers...)
	if err != nil {
		t.Fatal(err)
	}
	var body []byte
	if response.StatusCode != http.StatusSwitchingProtocols {
		body, _ = io.ReadAll(response.Body)
	}
	return response, string(body)
}

// exchange sends a request and returns the status of the response.
func exchange(t *testing.T, conn net.Conn, target string, headers ...string) int {
	t.Helper()
	response, err := send(conn, target, headers...)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode
}

func send(conn net.Conn, target string, headers ...string) (*http.Response, error) {
	var text strings.Builder
	text.WriteString("GET " + target + " HTTP/1.1\r\nHost: relay\r\n")
	for _, line := range headers {
		text.WriteString(line + "\r\n")
	}
	if _, err := io.WriteString(conn, text.String()+"\r\n"); err != nil {
		return nil, err
	}
	return http.ReadResponse(bufio.NewReader(conn), nil)
}

// handshake are the headers of a WebSocket handshake.
var handshake = []string{
	"Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
}

// A WebSocket client cannot follow a redirect, so handshakes get none.
func TestPaths(t *testing.T) {
	for base, paths := range map[string]map[string]int{
		"": {"/": 101, "/ws": 101, "/ws/": 101, "//ws": 101, "/?channel=a": 101, "/wsx": 404, "/ws/x": 404, "/live/ws": 404},
		"/live": {
			"/live": 101, "/live?channel=a": 101, "/live/": 101, "/live/ws": 101, "/live/ws/": 101, "//live/ws": 101, "/live//ws": 101,
			"/": 404, "/ws": 404, "/livews": 404, "/live/x": 404,
		},
	} {
		r := startRelay(t, func(o *relayOptions) { o.base = base })
		r.hub.Online(1)
		for target, want := range paths {
			if response, body := request(t, r, target, handshake...); response.StatusCode != want {
				t.Errorf("base path %q: %s answers %s %s, want %d", base, target, response.Status, body, want)
			}
		}
		if response, _ := request(t, r, base+"/ws"); response.StatusCode != http.StatusUpgradeRequired {
			t.Errorf("base path %q: without a handshake, /ws answers %s", base, response.Status)
		}
	}
}

// A request for an unknown path is counted, and the log says where clients can
// connect. It contains nothing that the client sent.
func TestNotFoundIsLogged(t *testing.T) {
	var log bytes.Buffer
	r := startRelay(t, func(o *relayOptions) { o.base, o.logger = "/live", slog.New(slog.NewTextHandler(&log, nil)) })
	if response, body := request(t, r, "/secret?token=secret", handshake...); response.StatusCode != http.StatusNotFound {
		t.Errorf("%s %s", response.Status, body)
	}
	if n := r.stats.Rejected[stats.RejectNotFound].Load(); n != 1 {
		t.Errorf("%d requests are counted", n)
	}
	const want = `msg="client rejected" reason=not_found remote=127.0.0.1 `
	if text := log.String(); !strings.Contains(text, want) || !strings.Contains(text, "connect to /live/ws") || strings.Contains(text, "secret") {
		t.Errorf("the log is:\n%s", text)
	}
}

// The application uses the paths below apps/. No page does, whatever its origin.
func TestApplicationPaths(t *testing.T) {
	api := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "the API at "+r.URL.EscapedPath())
	})
	for base, targets := range map[string]map[string]int{
		"":      {"/apps/1/events": 200, "/apps/1/channels/a%2Fb": 200, "/apps/": 200, "/appsx": 404},
		"/push": {"/push/apps/1/events": 200, "/apps/1/events": 404},
	} {
		relay := startRelay(t, func(o *relayOptions) { o.base, o.api = base, api })
		for target, want := range targets {
			response, body := request(t, relay, target)
			if response.StatusCode != want || want == 200 && body != "the API at "+target {
				t.Errorf("%s: %s %s", target, response.Status, body)
			}
			if response, body := request(t, relay, target, "Origin: https://other.example"); response.StatusCode != http.StatusForbidden {
				t.Errorf("%s from a page of another origin: %s %s", target, response.Status, body)
			}
		}
	}
}

// What is missing for the clients of other servers is in the answer and in the
// log. A client of the Pusher protocol is not closed with 4001, after which it
// would never return.
func TestPathsOfOtherServers(t *testing.T) {
	app := access.NewApp("1", "key", "a secret of the application")
	for _, tt := range []struct {
		base, target string
		app          *access.App
		status       int
		want         string // in the answer and in the log
	}{
		{"", "/app/key", nil, 404, "SIDECAST_PUSHER_KEY"},
		{"", "/apps/1/events", nil, 404, "SIDECAST_PUSHER_KEY"},
		{"/live", "/app/key", nil, 404, "SIDECAST_PUSHER_KEY"},
		{"/live", "/live/app/key", nil, 404, "SIDECAST_PUSHER_KEY"},
		{"/live", "/app/key", app, 404, "wsPath: '/live'"},
		{"", "/socket.io/?EIO=3&transport=polling", app, 404, "broadcaster: 'reverb'"},
		{"/live", "/socket.io/?EIO=3&transport=polling", nil, 404, "broadcaster: 'reverb'"},
		{"", "/pusher/app/key/123/abc/xhr_streaming", app, 404, "enabledTransports"},
		{"", "/app/key", app, 101, ""},
		{"/live", "/live/app/key", app, 101, ""},
		{"", "/broadcasting/auth", app, 404, "SIDECAST_BROADCAST_AUTH_URL"},
		{"", "/applause/key", nil, 404, "/ws"},
	} {
		var log bytes.Buffer
		relay := startRelay(t, func(o *relayOptions) {
			o.base, o.app, o.demo, o.logger = tt.base, tt.app, http.NotFoundHandler(), slog.New(slog.NewTextHandler(&log, nil))
		})
		relay.hub.Online(1)
		response, body := request(t, relay, tt.target, handshake...)
		if response.StatusCode != tt.status || tt.status == 404 && tt.want != "/ws" && (!strings.Contains(body, tt.want) || !strings.Contains(log.String(), tt.want)) {
			t.Errorf("base path %q: %s answers %s %q, and the log is\n%s", tt.base, tt.target, response.Status, body, log.String())
		}
	}
}

// A client that encrypts, and a port that does not: the log names both.
func TestTLSOnPlainPort(t *testing.T) {
	var log inmemory.Log
	relay := startRelay(t, func(o *relayOptions) { o.logger = slog.New(slog.NewTextHandler(&log, nil)) })
	for range 30 {
		if _, err := tls.Dial("tcp", relay.addr, &tls.Config{InsecureSkipVerify: true}); err == nil {
			t.Fatal("the handshake succeeded")
		}
	}
	for relay.stats.Rejected[stats.RejectMalformed].Load() < 30 {
		time.Sleep(time.Millisecond)
	}
	const want = `reason=malformed remote=127.0.0.1 problem="a client begins a TLS handshake`
	if n := strings.Count(log.String(), want); n == 0 || n > 11 || !strings.Contains(log.String(), "VITE_REVERB_SCHEME=http") {
		t.Errorf("%d log entries about 30 handshakes, want 1 to 11:\n%s", n, log.String())
	}
}

// A proxy may send the requests of all clients over one HTTP/2 connection. A
// client whose request for a stream has a body does not use up the connection's
// window, which the bodies of the application's requests need.
func TestStreamWithBody(t *testing.T) {
	r := startRelay(t, func(o *relayOptions) {
		o.api = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) })
	})
	r.hub.Online(1)
	proxy := &http.Client{Transport: &http.Transport{Protocols: new(http.Protocols)}}
	proxy.Transport.(*http.Transport).Protocols.SetUnencryptedHTTP2(true)
	defer proxy.CloseIdleConnections()
	send := func(method, target, body string) (*http.Response, error) {
		request, err := http.NewRequestWithContext(t.Context(), method, "http://"+r.addr+target, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		return proxy.Do(request)
	}
	stream, err := send("GET", "/sse?channel=a", strings.Repeat("x", 1<<20))
	if err != nil {
		t.Fatal(err)
	}
	if stream.StatusCode != http.StatusBadRequest {
		t.Errorf("the stream: %s", stream.Status)
	}
	response, err := send("POST", "/apps/1/events", strings.Repeat("y", 3000))
	if err != nil {
		t.Fatal(err)
	}
	if echo, err := io.ReadAll(response.Body); len(echo) != 3000 || err != nil {
		t.Errorf("%d bytes of 3000, %v", len(echo), err)
	}
	_ = response.Body.Close()
	_ = stream.Body.Close()
}

// The application gets an answer to a request that it has sent just before the
// relay stops: the event may have been published.
func TestStopAnswersApplication(t *testing.T) {
	listener, began := listen(t), make(chan struct{})
	r := startRelay(t, func(o *relayOptions) {
		o.listener = listener
		o.api = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			close(began)
			for err := error(nil); err == nil; { // until the relay accepts no more connections
				var conn net.Conn
				if conn, err = net.Dial("tcp", listener.Addr().String()); err == nil {
					_ = conn.Close()
				}
			}
			_, _ = io.WriteString(w, "the answer")
		})
	})
	var stopping sync.WaitGroup
	stopping.Go(func() { <-began; r.stop() })
	if response, body := request(t, r, "/apps/1/connections"); body != "the answer" {
		t.Errorf("%s %q", response.Status, body)
	}
	stopping.Wait()
}

// A relay without clients stops at once, unless an application uses its HTTP API:
// load balancers need time to notice that it must send elsewhere.
func TestStopWithoutClients(t *testing.T) {
	startRelay(t, func(o *relayOptions) { o.drainDelay = time.Hour }).end(nil)

	const delay = time.Second
	r := startRelay(t, func(o *relayOptions) { o.drainDelay = delay })
	r.stats.APIRequests[stats.APIAccepted].Add(1)
	began := time.Now()
	if r.end(nil); time.Since(began) < delay {
		t.Errorf("stops after %v, although an application uses it", time.Since(began))
	}
}

// Laravel Echo asks for the signature of a channel at a path without a prefix.
// Pages of other origins are refused.
func TestBroadcastPath(t *testing.T) {
	signer := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "the signature") })
	for base, paths := range map[string]map[string]int{
		"":      {"/broadcasting/auth": 200, "/broadcasting": 404, "/broadcasting/auth/": 404, "/broadcasting/auth/x": 404},
		"/live": {"/broadcasting/auth": 200, "/live/broadcasting/auth": 200, "/live/broadcasting/auth/": 404},
	} {
		r := startRelay(t, func(o *relayOptions) { o.base, o.broadcast = base, signer })
		for target, want := range paths {
			response, body := request(t, r, target, "Origin: http://relay")
			if response.StatusCode != want || (body == "the signature") != (want == 200) {
				t.Errorf("base path %q: %s answers %s %q, want %d", base, target, response.Status, body, want)
			}
			if response, body := request(t, r, target, "Origin: https://other.example"); response.StatusCode != http.StatusForbidden {
				t.Errorf("base path %q: %s answers %s %q to a page of another origin", base, target, response.Status, body)
			}
		}
	}
	if response, _ := request(t, startRelay(t), "/broadcasting/auth"); response.StatusCode != http.StatusNotFound {
		t.Errorf("without a handler: %s", response.Status)
	}
}

// Pages of every origin may load the files, below the base path only.
func TestFilesForAnyOrigin(t *testing.T) {
	file := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "the file") })
	relay := startRelay(t, func(o *relayOptions) { o.base, o.files = "/push", map[string]http.Handler{"x.mjs": file} })
	foreign := "Origin: https://other.example"
	for target, want := range map[string]int{
		"/push/x.mjs": http.StatusOK, "/x.mjs": http.StatusForbidden, "/push/y.mjs": http.StatusForbidden,
		"/push/x.mjs/": http.StatusForbidden, "/push/ws": http.StatusForbidden,
	} {
		response, body := request(t, relay, target, foreign)
		if response.StatusCode != want || (body == "the file") != (want == http.StatusOK) {
			t.Errorf("%s: %d %q, want %d", target, response.StatusCode, body, want)
		}
	}
	if response, _ := request(t, relay, "/push/x.mjs", append(slices.Clone(handshake), foreign)...); response.StatusCode == http.StatusSwitchingProtocols {
		t.Error("a handshake passed the origin check")
	}
}
