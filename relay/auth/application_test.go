package auth

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sidecast/relay/access"
	"sidecast/relay/protocol"
	"sidecast/relay/stats"
)

// An app is the application behind the relay, as a test wants it.
type app struct {
	*Application
	server *httptest.Server
	stats  *stats.Stats
	log    *lockedLog
	asked  atomic.Int64
	most   atomic.Int64 // requests that were there at once
	now    atomic.Int64
}

type lockedLog struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lockedLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lockedLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// newApp asks answer about users at / and about channels at /channel.
func newApp(t *testing.T, answer http.HandlerFunc, options ...func(*ApplicationConfig)) *app {
	t.Helper()
	a := &app{stats: new(stats.Stats), log: new(lockedLog)}
	a.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.asked.Add(1)
		n := a.now.Add(1)
		defer a.now.Add(-1)
		for most := a.most.Load(); n > most && !a.most.CompareAndSwap(most, n); most = a.most.Load() {
		}
		answer(w, r)
	}))
	c := ApplicationConfig{
		LoginURL: a.server.URL + "/", ChannelURL: a.server.URL + "/channel", Timeout: 2 * time.Second, Cache: 10 * time.Second,
		Concurrency: 32, Grants: Grants{UserChannels: []string{"user:{user}"}}, Stats: a.stats,
		Logger: slog.New(slog.NewTextHandler(a.log, nil)),
	}
	for _, option := range options {
		option(&c)
	}
	a.Application = NewApplication(c)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = a.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done; a.server.CloseClientConnections(); a.server.Close() })
	return a
}

func says(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status); fmt.Fprint(w, body) }
}

// What each answer comes to. What is neither yes nor no is never a grant and never a verdict about the user.
func TestLoginOutcomes(t *testing.T) {
	for _, tt := range []struct {
		comment string
		answer  http.HandlerFunc
		user    string
		code    protocol.Code
	}{
		{"yes", says(200, `{"user":"42","channels":["chat:*"],"publish":["chat:lobby"],"expires_in":3600}`), "42", protocol.CodeOK},
		{"a number", says(200, `{"user":42}`), "42", protocol.CodeOK},
		{"yes, created", says(201, `{"user":"42"}`), "42", protocol.CodeOK},
		{"unknown fields", says(200, `{"user":"42","name":"x","channels":[]}`), "42", protocol.CodeOK},
		{"401", says(401, `{"user":"42"}`), "", protocol.CodeOK},
		{"302", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/login", http.StatusFound) }, "", protocol.CodeOK},
		{"301 elsewhere", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://169.254.169.254/", http.StatusMovedPermanently)
		}, "", protocol.CodeOK},
		{"403", says(403, ""), "", protocol.CodeForbidden},
		{"404", says(404, `{"user":"42"}`), "", protocol.CodeUnavailable},
		{"419, as Laravel", says(419, `{"user":"42"}`), "", protocol.CodeUnavailable},
		{"429", says(429, `{"user":"42"}`), "", protocol.CodeUnavailable},
		{"500 with a yes", says(500, `{"user":"42"}`), "", protocol.CodeUnavailable},
		{"503", says(503, ""), "", protocol.CodeUnavailable},
		{"nothing", says(200, ""), "", protocol.CodeUnavailable},
		{"204", says(204, ""), "", protocol.CodeUnavailable},
		{"a page to log in with", says(200, "<!doctype html><form>"), "", protocol.CodeUnavailable},
		{"no user", says(200, `{"channels":["*"]}`), "", protocol.CodeUnavailable},
		{"user null", says(200, `{"user":null,"channels":["*"]}`), "", protocol.CodeUnavailable},
		{"user empty", says(200, `{"user":"","channels":["*"]}`), "", protocol.CodeUnavailable},
		{"user false", says(200, `{"user":false}`), "", protocol.CodeUnavailable},
		{"user a list", says(200, `{"user":["42"]}`), "", protocol.CodeUnavailable},
		{"user with a line break", says(200, `{"user":"4\n2"}`), "", protocol.CodeUnavailable},
		{"user too long", says(200, `{"user":"`+strings.Repeat("x", 129)+`"}`), "", protocol.CodeUnavailable},
		{"channels no list", says(200, `{"user":"42","channels":"*"}`), "", protocol.CodeUnavailable},
		{"a pattern that is none", says(200, `{"user":"42","channels":["["]}`), "", protocol.CodeUnavailable},
		{"expires_in a word", says(200, `{"user":"42","expires_in":"3600"}`), "", protocol.CodeUnavailable},
		{"two answers", says(200, `{"user":"42"}{"user":"43"}`), "", protocol.CodeUnavailable},
		{"a warning of PHP before it", says(200, "Warning: x\n"+`{"user":"42"}`), "", protocol.CodeUnavailable},
		{"huge", says(200, `{"user":"42","pad":"`+strings.Repeat("x", maxAnswer)+`"}`), "", protocol.CodeUnavailable},
		{"broken off", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1000")
			fmt.Fprint(w, `{"user":"42"}`)
		}, "", protocol.CodeUnavailable},
		{"packed", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			fmt.Fprint(w, "\x1f\x8b\x08\x00")
		}, "", protocol.CodeUnavailable},
		{"endless headers", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X", strings.Repeat("x", 1<<20))
			fmt.Fprint(w, `{"user":"42"}`)
		}, "", protocol.CodeUnavailable},
	} {
		a := newApp(t, tt.answer)
		id, code := a.Login(t.Context(), request("Cookie", "s=1"))
		user := ""
		if id != nil {
			user = id.User
		}
		if user != tt.user || code != tt.code || code != protocol.CodeOK && id != nil {
			t.Errorf("%s: %q, %v; want %q, %v", tt.comment, user, code, tt.user, tt.code)
		}
		if n := a.asked.Load(); n != 1 {
			t.Errorf("%s: %d requests", tt.comment, n)
		}
		if told := strings.Contains(a.log.String(), "SIDECAST_AUTH_URL"); told != (tt.code == protocol.CodeUnavailable) {
			t.Errorf("%s: logged %q", tt.comment, a.log)
		}
	}
}

func TestChannelOutcomes(t *testing.T) {
	for _, tt := range []struct {
		comment string
		answer  http.HandlerFunc
		code    protocol.Code
	}{
		{"yes, empty", says(200, ""), protocol.CodeOK},
		{"204", says(204, ""), protocol.CodeOK},
		{"an object", says(200, `{}`), protocol.CodeOK},
		{"an empty array, as PHP writes it", says(200, `[]`), protocol.CodeOK},
		{"with an end", says(200, `{"expires_in":60}`), protocol.CodeOK},
		{"401", says(401, ""), protocol.CodeForbidden},
		{"403", says(403, ""), protocol.CodeForbidden},
		{"302", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/login", http.StatusFound) }, protocol.CodeUnavailable},
		{"404", says(404, ""), protocol.CodeUnavailable},
		{"500", says(500, "{}"), protocol.CodeUnavailable},
		{"a page to log in with", says(200, "<form>"), protocol.CodeUnavailable},
		{"false", says(200, "false"), protocol.CodeUnavailable},
		{"null", says(200, "null"), protocol.CodeUnavailable},
		{"a list", says(200, `["x"]`), protocol.CodeUnavailable},
		{"an end that is none", says(200, `{"expires_in":"soon"}`), protocol.CodeUnavailable},
		{"huge", says(200, strings.Repeat(" ", maxAnswer+1)), protocol.CodeUnavailable},
	} {
		a := newApp(t, tt.answer)
		permit := a.Permit(request("Cookie", "s=1"), nil)
		if _, code := permit(t.Context(), "", "order:1"); code != tt.code {
			t.Errorf("%s: %v, want %v", tt.comment, code, tt.code)
		}
	}
}

// How long the application's word holds.
func TestExpiry(t *testing.T) {
	for body, want := range map[string]time.Duration{
		`{"user":1}`: time.Hour, `{"user":1,"expires_in":60}`: time.Minute, `{"user":1,"expires_in":0}`: 10 * time.Second,
		`{"user":1,"expires_in":-5}`: 10 * time.Second, `{"user":1,"expires_in":1e300}`: 24 * time.Hour, `{"user":1,"expires_in":90.5}`: 90500 * time.Millisecond,
		`{"user":1,"expires_in":null}`: time.Hour,
	} {
		a := newApp(t, says(200, body))
		id, code := a.Login(t.Context(), request("Cookie", "s=1"))
		if code != protocol.CodeOK {
			t.Errorf("%s: %v", body, code)
			continue
		}
		if left := time.Until(id.Until); left > want || left < want-5*time.Second {
			t.Errorf("%s: %v left, want %v", body, left, want)
		}
	}
}

// What reaches the application, and what does not.
func TestForwardedHeaders(t *testing.T) {
	var got http.Header
	a := newApp(t, func(w http.ResponseWriter, r *http.Request) { got = r.Header.Clone(); fmt.Fprint(w, `{"user":"1"}`) })
	r := request("Cookie", "a=1", "Cookie", "b=2", "Authorization", "Basic Zm9vOmJhcg==", "Origin", "https://app.example.com",
		"User-Agent", "Firefox", "X-Forwarded-For", "6.6.6.6", "X-Sidecast-User", "admin", "Sec-WebSocket-Protocol", "sidecast.token.x",
		"Sec-WebSocket-Key", "k", "X-Evil", "1", "Host", "evil", "Referer", "https://x/?token=1", "X-Requested-With", "no")
	r.RemoteAddr = "203.0.113.9:1234"
	permit := a.Permit(r, &access.Identity{User: "4 2%\u00fc"})
	if _, code := permit(t.Context(), "4 2%\u00fc", " chat:1 "); code != protocol.CodeOK {
		t.Fatal(code)
	}
	want := http.Header{
		"Accept": {"application/json"}, "X-Requested-With": {"XMLHttpRequest"}, "Cookie": {"a=1", "b=2"},
		"Authorization": {"Basic Zm9vOmJhcg=="}, "Origin": {"https://app.example.com"}, "User-Agent": {"Firefox"},
		"X-Forwarded-For": {"203.0.113.9"}, "X-Sidecast-Channel": {"%20chat:1%20"}, "X-Sidecast-User": {"4%202%25%C3%BC"},
	}
	for name := range want {
		if !slices.Equal(got[name], want[name]) {
			t.Errorf("%s: %q, want %q", name, got[name], want[name])
		}
	}
	for name := range got {
		if _, ok := want[name]; !ok {
			t.Errorf("%s: %q was not to be forwarded", name, got[name])
		}
	}
}

// Who brings nothing is anybody, and nobody is asked.
func TestNoCredentials(t *testing.T) {
	a := newApp(t, says(200, `{"user":"1"}`))
	if id, code := a.Login(t.Context(), request("Origin", "https://x")); id != nil || code != protocol.CodeOK {
		t.Errorf("%v, %v", id, code)
	}
	if a.Permit(request(), nil) != nil || a.Permit(request(), &access.Identity{User: "1"}) == nil {
		t.Error("channels are asked about for nobody, or not for somebody with a token")
	}
	if n := a.asked.Load(); n != 0 {
		t.Errorf("asked %d times", n)
	}
}

// No proxy of the environment sees cookies.
func TestNoProxyFromEnvironment(t *testing.T) {
	for _, name := range []string{"HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY"} {
		t.Setenv(name, "http://127.0.0.1:1")
	}
	if transport := newClient(1).Transport.(*http.Transport); transport.Proxy != nil {
		t.Error("requests may go through a proxy")
	}
}

// A yes is kept for ten seconds, a no for one, a failure not at all; and each for its own credentials only.
func TestCache(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		status := 200
		asked := 0
		a := bubbleApp(t, func(*http.Request) (int, string) {
			asked++
			return status, `{"user":"1"}`
		})
		login := func(headers ...string) { a.Login(t.Context(), request(headers...)) }
		want := func(n int, comment string) {
			t.Helper()
			if asked != n {
				t.Errorf("%s: asked %d times, want %d", comment, asked, n)
			}
			asked = 0
		}
		login("Cookie", "s=1")
		login("Cookie", "s=1", "User-Agent", "other")
		want(1, "the same credentials")
		login("Cookie", "s=2")
		login("Cookie", "s=", "Cookie", "1")
		login("Authorization", "s=1")
		login("Cookie", "s=1", "Authorization", "x")
		login("Cookie", "s=1", "Origin", "https://x")
		want(5, "others'")
		pass(9900 * time.Millisecond)
		login("Cookie", "s=1")
		want(0, "just before ten seconds")
		pass(200 * time.Millisecond)
		login("Cookie", "s=1")
		want(1, "after ten seconds")
		for status = range map[int]bool{401: true, 403: true, 302: true} {
			cookie := "s=" + strconv.Itoa(status)
			login("Cookie", cookie)
			pass(900 * time.Millisecond)
			login("Cookie", cookie)
			want(1, "a no within a second")
			pass(200 * time.Millisecond)
			login("Cookie", cookie)
			want(1, "a no after a second")
		}
		status = 500
		login("Cookie", "s=5")
		login("Cookie", "s=5")
		want(2, "a failure")
	})
}

// bubbleApp answers without a network, for tests in a bubble of synctest.
func bubbleApp(t *testing.T, answer func(*http.Request) (status int, body string), options ...func(*ApplicationConfig)) *Application {
	t.Helper()
	c := ApplicationConfig{
		LoginURL: "http://app/", ChannelURL: "http://app/channel", Timeout: 2 * time.Second, Cache: 10 * time.Second,
		Concurrency: 32, Stats: new(stats.Stats), Logger: slog.New(slog.DiscardHandler),
	}
	for _, option := range options {
		option(&c)
	}
	a := NewApplication(c)
	a.lane.client.Transport = roundTrip(func(r *http.Request) (*http.Response, error) {
		recorder := httptest.NewRecorder()
		status, body := answer(r)
		if err := r.Context().Err(); err != nil {
			return nil, err
		}
		recorder.WriteHeader(status)
		recorder.WriteString(body)
		return recorder.Result(), nil
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = a.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	return a
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// A thousand who share one credential cause one request, and those who leave early do not take it from the others.
func TestSharedCredential(t *testing.T) {
	release := make(chan struct{})
	a := newApp(t, func(w http.ResponseWriter, _ *http.Request) { <-release; fmt.Fprint(w, `{"user":"1"}`) })
	leaving, leave := context.WithCancel(t.Context())
	leave()
	if _, code := a.Login(leaving, request("Cookie", "s=1")); code != protocol.CodeUnavailable {
		t.Errorf("who left got %v", code)
	}
	var all sync.WaitGroup
	var came, yes atomic.Int64
	for range 1000 {
		all.Go(func() {
			if came.Add(1) == 1000 {
				close(release)
			}
			if id, code := a.Login(t.Context(), request("Cookie", "s=1")); code == protocol.CodeOK && id != nil {
				yes.Add(1)
			}
		})
	}
	all.Wait()
	if a.asked.Load() != 1 || yes.Load() != 1000 {
		t.Errorf("%d requests, %d of 1000 let in", a.asked.Load(), yes.Load())
	}
}

// An application that does not answer is given up after the timeout; the queue has a bound; nobody is let in and nobody
// is told that it is forbidden; and it is never asked more than the cap at once.
func TestDeadApplication(t *testing.T) {
	stop := make(chan struct{})
	a := newApp(t, func(http.ResponseWriter, *http.Request) { <-stop }, func(c *ApplicationConfig) { c.Timeout = 200 * time.Millisecond })
	t.Cleanup(func() { close(stop) })
	var all sync.WaitGroup
	for i := range 1000 {
		all.Go(func() {
			id, code := a.Login(t.Context(), request("Cookie", "s="+strconv.Itoa(i)))
			if id != nil || code != protocol.CodeUnavailable {
				t.Errorf("%v, %v", id, code)
			}
		})
	}
	all.Wait()
	if busy := a.stats.AuthRequests[stats.AuthBusy].Load(); busy == 0 || busy > 1000-32-256 {
		t.Errorf("%d of 1000 were turned away", busy)
	}
	if timeouts := a.stats.AuthRequests[stats.AuthTimeout].Load(); timeouts < 32+256 {
		t.Errorf("%d timeouts", timeouts)
	}
	if strings.Contains(a.log.String(), a.server.URL) || strings.Contains(a.log.String(), "s=") {
		t.Errorf("logged: %s", a.log)
	}
	refused := newApp(t, nil)
	refused.server.Close()
	if id, code := refused.Login(t.Context(), request("Cookie", "s=1")); id != nil || code != protocol.CodeUnavailable {
		t.Errorf("nobody there: %v, %v", id, code)
	}
}

// An application that sends its answer byte by byte is slow too: the timeout counts to the end of the answer.
func TestTricklingApplication(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	go func() {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		if _, err := http.ReadRequest(bufio.NewReader(conn)); err != nil {
			return
		}
		fmt.Fprint(conn, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n")
		for range time.Tick(20 * time.Millisecond) {
			if _, err := conn.Write([]byte(" ")); err != nil {
				return
			}
		}
	}()
	a := newApp(t, nil, func(c *ApplicationConfig) {
		c.LoginURL, c.Timeout = "http://"+listener.Addr().String(), 200*time.Millisecond
	})
	if _, code := a.Login(t.Context(), request("Cookie", "s=1")); code != protocol.CodeUnavailable {
		t.Error(code)
	}
	if a.stats.AuthRequests[stats.AuthTimeout].Load() != 1 {
		t.Error("not counted as a timeout")
	}
}

// Five thousand with a credential of their own come at once to an application that serves 32 at a time in 50 ms each, and
// come again with full jitter when they are told to: all are in within a minute, and it is never asked more than it bears.
func TestStampede(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var now, most, asked int
		var mu sync.Mutex
		a := bubbleApp(t, func(r *http.Request) (int, string) {
			mu.Lock()
			now, asked = now+1, asked+1
			most = max(most, now)
			mu.Unlock()
			pass(50 * time.Millisecond)
			mu.Lock()
			now--
			mu.Unlock()
			return 200, `{"user":"` + strings.TrimPrefix(r.Header.Get("Cookie"), "s=") + `"}`
		})
		began := time.Now()
		var all sync.WaitGroup
		for i := range 5000 {
			all.Go(func() {
				user := strconv.Itoa(i)
				for ceiling := time.Second; ; ceiling = min(2*ceiling, 30*time.Second) {
					id, code := a.Login(t.Context(), request("Cookie", "s="+user))
					if code == protocol.CodeOK {
						if id.User != user {
							t.Errorf("%s became %s", user, id.User)
						}
						return
					}
					pass(500*time.Millisecond + rand.N(ceiling))
				}
			})
		}
		all.Wait()
		t.Logf("all in after %v, %d requests, %d at once", time.Since(began), asked, most)
		if time.Since(began) > time.Minute || most > 32 || asked != 5000 {
			t.Errorf("after %v; %d requests, at most %d at once", time.Since(began), asked, most)
		}
	})
}

// The cache's bounds hold, and what it drops is asked again rather than guessed.
func TestCacheBounds(t *testing.T) {
	c := newCache()
	key := func(i int) (d digest) { d[0], d[1], d[2] = byte(i), byte(i>>8), byte(i>>16); return d }
	for i := range 2 * cacheEntries {
		c.put(key(i), answer{verdict: granted}, time.Hour, 1)
	}
	if len(c.entries) > cacheEntries || len(c.order) > cacheEntries || c.bytes > cacheEntries {
		t.Errorf("%d entries, %d in order, %d bytes", len(c.entries), len(c.order), c.bytes)
	}
	for i := range 100 {
		c.put(key(i), answer{verdict: granted}, time.Hour, 1<<20)
	}
	if c.bytes > cacheBytes {
		t.Errorf("%d bytes", c.bytes)
	}
	for range 3 * cacheEntries {
		c.put(key(1), answer{verdict: granted}, time.Hour, 1)
	}
	if len(c.order) > cacheEntries {
		t.Errorf("%d in order for one key", len(c.order))
	}
	if _, ok := c.get(key(7 << 16)); ok {
		t.Error("an answer to what was never asked")
	}
}

// pass lets time pass in a bubble.
func pass(d time.Duration) { <-time.After(d) }
