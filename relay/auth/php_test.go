package auth_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"sidecast/relay/relaytest"
	"sidecast/relay/relaytest/browser"
	"sidecast/relay/relaytest/redistest"
)

// snippet returns the PHP of the README between its marks.
func snippet(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, begun := strings.Cut(string(text), "<!-- "+name+" -->\n```php\n")
	code, _, ended := strings.Cut(rest, "```\n<!-- /"+name+" -->")
	if !begun || !ended {
		t.Fatalf("the README has no %s", name)
	}
	return code
}

// startPHP runs an application with a login, whose answers to the relay are the README's, and returns its host:port. It
// serves one request at a time; two with the same directory of sessions are one application.
func startPHP(t *testing.T, sessions string) string {
	t.Helper()
	redistest.Require(t, "php", "php-cli")
	snippets := t.TempDir()
	for _, name := range []string{"live-auth.php", "may-hear.php"} {
		if err := os.WriteFile(filepath.Join(snippets, name), []byte(snippet(t, name)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	addr := redistest.FreeAddr(t)
	php := exec.Command("php", "-d", "session.save_path="+sessions, "-S", addr, "-t", "testdata/app", "testdata/app/index.php")
	php.Env = append(os.Environ(), "SNIPPETS="+snippets)
	if err := php.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = php.Process.Kill(); _ = php.Wait() })
	awaitHTTP(t, "http://"+addr+"/")
	return addr
}

func awaitHTTP(t *testing.T, url string) {
	t.Helper()
	limit := time.After(relaytest.Patience)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if response, err := http.Get(url); err == nil {
			response.Body.Close()
			return
		}
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("nothing answers at %s", url)
		}
	}
}

func port(t *testing.T, addr string) string {
	t.Helper()
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// A tab is a page of the application in Chromium, beside a relay.
type tab struct {
	*stage
	ctx context.Context
	app string // its host:port, by the name that cookies go by
	dir string // where its sessions are
}

func newTab(t *testing.T, settings ...string) *tab {
	t.Helper()
	dir := t.TempDir()
	addr := startPHP(t, dir)
	s := newStage(t, append([]string{
		"AUTH_URL=http://" + addr + "/live-auth", "CHANNEL_AUTH_URL=http://" + addr + "/may-hear",
	}, settings...)...)
	return &tab{stage: s, ctx: browser.Start(t), app: "localhost:" + port(t, addr), dir: dir}
}

func (b *tab) visit(path string) {
	b.t.Helper()
	browser.Do(b.ctx, b.t, chromedp.Navigate("http://"+b.app+path))
}

// url is the relay's, by the name of the page's host.
func (b *tab) url(p *relaytest.Process, query string) string {
	return "ws://localhost:" + port(b.t, p.Addr()) + "/ws" + query
}

func (b *tab) run(script string) { b.t.Helper(); browser.Eval[any](b.ctx, b.t, script+"; null") }

// connect opens a sidecast.v1 connection of this name and waits for its welcome.
func (b *tab) connect(name string) {
	b.t.Helper()
	b.run(fmt.Sprintf("connect(%q, %q, ['sidecast.v1'])", name, b.url(b.relay, "")))
	browser.Await(b.ctx, b.t, fmt.Sprintf("has(%q, 'welcome')", name))
}

func (b *tab) user(name string) string {
	b.t.Helper()
	return browser.Eval[string](b.ctx, b.t, fmt.Sprintf("seen[%q].messages[0].user ?? ''", name))
}

// subscribe returns the answer: subscribed, or an error's code.
func (b *tab) subscribe(name, channel string) string {
	b.t.Helper()
	b.run(fmt.Sprintf("seen[%q].socket.send(JSON.stringify({type: 'subscribe', channels: [{channel: %q}]}))", name, channel))
	answer := fmt.Sprintf("seen[%q].messages.findLast((m) => m.channel === %q)", name, channel)
	browser.Await(b.ctx, b.t, answer)
	return browser.Eval[string](b.ctx, b.t, fmt.Sprintf("((m) => m.code ?? m.type)(%s)", answer))
}

// Who is logged in at a PHP application is the same user on the WebSocket, without the page doing anything for it; who
// logs out is nobody, and who logs in as another is the other.
func TestPHPLogin(t *testing.T) {
	b := newTab(t)
	b.visit("/")
	b.connect("nobody")
	if user := b.user("nobody"); user != "" {
		t.Errorf("nobody is %q", user)
	}
	if got := b.subscribe("nobody", "chat:1"); got != "unauthorized" {
		t.Errorf("nobody hears chat:1: %s", got)
	}

	b.visit("/login?user=42")
	b.connect("a")
	if user := b.user("a"); user != "42" {
		t.Errorf("42 is %q", user)
	}
	browser.Await(b.ctx, t, "has('a', 'subscribed', 'user:42')")
	b.redis.CLI("PUBLISH", "user:42", "for you")
	browser.Await(b.ctx, t, "seen.a.messages.some((m) => m.data === 'for you')")
	for channel, want := range map[string]string{
		"chat:1": "subscribed", "inbox:42:x": "subscribed", "order:7": "subscribed",
		"inbox:43:x": "forbidden", "user:43": "forbidden", "order:8": "forbidden", "order:7\u00fc": "forbidden", " order:7": "forbidden",
	} {
		if got := b.subscribe("a", channel); got != want {
			t.Errorf("42 and %q: %s, want %s", channel, got, want)
		}
	}

	b.visit("/logout")
	b.connect("b")
	if user := b.user("b"); user != "" {
		t.Errorf("after the logout: %q", user)
	}
	if got := b.subscribe("b", "order:7"); got != "unauthorized" && got != "forbidden" {
		t.Errorf("after the logout order:7: %s", got)
	}
	b.visit("/login?user=43")
	b.connect("c")
	if user := b.user("c"); user != "43" {
		t.Errorf("43 is %q", user)
	}
	if got := b.subscribe("c", "order:8"); got != "subscribed" {
		t.Errorf("43 and order:8: %s", got)
	}
}

// A page that holds the session makes the answer late, never wrong: the browser is told to come again, and is let in.
func TestPHPSessionLock(t *testing.T) {
	b := newTab(t, "AUTH_TIMEOUT=500ms")
	b.visit("/login?user=42")
	// The page is served by another process of the same application.
	slow := "http://localhost:" + port(t, startPHP(t, b.dir)) + "/slow?ms=3000"
	b.run(fmt.Sprintf("fetch(%q, {mode: 'no-cors', credentials: 'include'}); window.tries = []", slow))
	b.run(fmt.Sprintf(`(function again() {
		const socket = new WebSocket(%q, ['sidecast.v1']);
		socket.onmessage = (event) => { window.user ??= JSON.parse(event.data).user; socket.onclose = null; };
		socket.onclose = (event) => { tries.push(event.code); setTimeout(again, 200); };
	})()`, b.url(b.relay, "")))
	browser.Await(b.ctx, t, "window.user")
	if user := browser.Eval[string](b.ctx, t, "window.user"); user != "42" {
		t.Errorf("let in as %q", user)
	}
	for _, code := range browser.Eval[[]int](b.ctx, t, "tries") {
		if code != 1013 {
			t.Errorf("closed with %d meanwhile", code)
		}
	}
}

// Every refusal that a page can meet has the code that tells it what to do, as Chromium reports it.
func TestRefusalsInChromium(t *testing.T) {
	b := newTab(t, "JWT_SECRET="+theSecret, "MAX_CHANNELS_PER_SESSION=2", "DEFAULT_CHANNELS=public:1")
	others := map[string]*relaytest.Process{"app": b.relay}
	for name, settings := range map[string][]string{
		"forbids":   {"AUTH_URL=http://" + b.deaf(403, "")},
		"fails":     {"AUTH_URL=http://" + b.deaf(500, "")},
		"lies":      {"AUTH_URL=http://" + b.deaf(200, "<form>")},
		"redirects": {"AUTH_URL=http://" + b.deaf(302, "")},
		"expires":   {"AUTH_URL=http://" + b.deaf(200, `{"user":"42","expires_in":10}`)},
		"dead":      {"AUTH_URL=http://127.0.0.1:1/"},
		"full":      {"MAX_CONNECTIONS=1"},
		"elsewhere": {"ALLOWED_ORIGINS=https://app.example.com"},
		"limited":   {"TRUSTED_PROXIES=127.0.0.0/8,::1", "MAX_CONNECTIONS_PER_IP=1"},
	} {
		env := map[string]string{"SIDECAST_REDIS_URL": b.redis.URL(), "SIDECAST_CHANNELS": "*", "SIDECAST_PUBLIC_CHANNELS": "public:*"}
		for _, setting := range settings {
			key, value, _ := strings.Cut(setting, "=")
			env["SIDECAST_"+key] = value
		}
		others[name] = relaytest.Start(t, env)
		others[name].AwaitReady()
	}
	b.visit("/login?user=42")
	token := b.token("--user", "42", "--channel", "chat:*")
	short := b.token("--user", "42", "--ttl", "2s")
	proxy := b.proxy(others["limited"].Addr())
	raw := func(p, query string) string {
		if p == "limited" {
			return fmt.Sprintf("connect(NAME, 'ws://localhost:%s/ws%s')", port(t, proxy), query)
		}
		return fmt.Sprintf("connect(NAME, %q)", b.url(others[p], query))
	}
	v1 := func(p string, protocols ...string) string {
		return fmt.Sprintf("connect(NAME, %q, ['%s'])", b.url(others[p], ""), strings.Join(protocols, "','"))
	}
	cases := []struct {
		name, script string
		code         int
	}{
		{"a channel that is not open to this user", raw("app", "?channel=user:43"), 4403},
		{"too many channels", raw("app", "?channel=chat:1&channel=chat:2&channel=chat:3"), 1008},
		{"a bad token", v1("app", "sidecast.v1", "sidecast.token.bad"), 4401},
		{"a token that ends", v1("app", "sidecast.v1", "sidecast.token."+short), 4401},
		{"a token alone", v1("app", "sidecast.token."+token), 1006},
		{"a subprotocol that nobody speaks", v1("app", "graphql-ws"), 1006},
		{"403 from the application", raw("forbids", "?channel=public:1"), 4403},
		{"500 from the application", raw("fails", "?channel=public:1"), 1013},
		{"a page from the application", raw("lies", "?channel=public:1"), 1013},
		{"no application", raw("dead", "?channel=public:1"), 1013},
		{"a redirect, and more than is public", raw("redirects", "?channel=chat:1"), 4401},
		{"expires_in", raw("expires", "?channel=public:1"), 4401},
		{"a page of another origin", raw("elsewhere", "?channel=public:1"), 1006},
	}
	for _, tt := range cases {
		b.run(strings.Replace(tt.script, "NAME", fmt.Sprintf("%q", tt.name), 1))
	}
	for _, name := range []string{"full", "limited"} { // the second is one too many
		b.run(strings.Replace(raw(name, "?channel=public:1"), "NAME", fmt.Sprintf("'%s 1'", name), 1))
		browser.Await(b.ctx, t, fmt.Sprintf("seen['%s 1'].protocol !== null", name))
		b.run(strings.Replace(raw(name, "?channel=public:1"), "NAME", fmt.Sprintf("'%s 2'", name), 1))
		browser.Await(b.ctx, t, fmt.Sprintf("seen['%s 2'].closed === 1006", name))
	}
	for _, tt := range cases {
		browser.Await(b.ctx, t, fmt.Sprintf("seen[%q].closed !== null", tt.name))
		if code := browser.Eval[int](b.ctx, t, fmt.Sprintf("seen[%q].closed", tt.name)); code != tt.code {
			t.Errorf("%s: closed %d, want %d", tt.name, code, tt.code)
		}
	}
	// What is let in beside all that.
	b.run(fmt.Sprintf("connect('good', %q, ['sidecast.v1', 'sidecast.token.%s'])", b.url(b.relay, ""), token))
	browser.Await(b.ctx, t, "seen.good.protocol === 'sidecast.v1' && has('good', 'subscribed', 'user:42')")
	b.run(strings.Replace(raw("redirects", "?channel=public:1"), "NAME", "'anybody'", 1))
	browser.Await(b.ctx, t, "seen.anybody.protocol === ''")
}

// deaf is an application that says the same to everybody. It returns its host:port.
func (b *tab) deaf(status int, body string) string {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Location", "/login")
		w.WriteHeader(status)
		fmt.Fprint(w, body)
	}))
	b.t.Cleanup(server.Close)
	return server.Listener.Addr().String()
}

// proxy stands in front of a relay, for browsers of one address of the open Internet. It returns its host:port.
func (b *tab) proxy(relay string) string {
	server := httptest.NewServer(&httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(&url.URL{Scheme: "http", Host: relay})
		r.Out.Host = r.In.Host
		r.Out.Header.Set("X-Forwarded-For", "198.51.100.7")
	}})
	b.t.Cleanup(func() { server.CloseClientConnections(); server.Close() })
	return server.Listener.Addr().String()
}

// The connection of a logged-in user and a request that brings nothing: only the first causes a question.
func TestPHPIsNotAskedAboutAnybody(t *testing.T) {
	addr := startPHP(t, t.TempDir())
	s := newStage(t, "AUTH_URL=http://"+addr+"/live-auth")
	s.await(s.dial(caller{}), "anybody", relaytest.Is(relaytest.KindWelcome))
	metrics := func() string {
		t.Helper()
		response, err := http.Get("http://" + s.relay.AdminAddr() + "/metrics")
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		var text strings.Builder
		if err := response.Write(&text); err != nil {
			t.Fatal(err)
		}
		return text.String()
	}
	if !strings.Contains(metrics(), `sidecast_auth_requests_total{result="anonymous"} 0`) {
		t.Error("asked about nobody")
	}
	s.await(s.dial(caller{header: http.Header{"Cookie": {"PHPSESSID=none"}}}), "a cookie", relaytest.Is(relaytest.KindWelcome))
	lines := strings.Split(metrics(), "\n")
	if !slices.Contains(lines, `sidecast_auth_requests_total{result="anonymous"} 1`) || !slices.Contains(lines, "sidecast_auth_seconds_count 1") {
		t.Error("the question is not counted")
	}
}
