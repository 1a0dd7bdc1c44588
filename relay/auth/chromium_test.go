package auth_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"sidecast/relay/relaytest"
	"sidecast/relay/relaytest/browser"
)

// TestRejectionsInChromium checks the close code that a page gets for each kind
// of rejection.
func TestRejectionsInChromium(t *testing.T) {
	b := newBrowserPage(t, "JWT_SECRET="+testSecret, "MAX_CHANNELS_PER_SESSION=2", "DEFAULT_CHANNELS=public:1")
	others := map[string]*relaytest.Process{"app": b.relay}
	for name, settings := range map[string][]string{
		"403":        {"AUTH_URL=http://" + b.startApp(403, "")},
		"500":        {"AUTH_URL=http://" + b.startApp(500, "")},
		"login page": {"AUTH_URL=http://" + b.startApp(200, "<form>")},
		"redirects":  {"AUTH_URL=http://" + b.startApp(302, "")},
		"expires":    {"AUTH_URL=http://" + b.startApp(200, `{"user":"42","expires_in":10}`)},
		"down":       {"AUTH_URL=http://127.0.0.1:1/"},
		"full":       {"MAX_CONNECTIONS=1"},
		"other host": {"ALLOWED_ORIGINS=https://app.example.com"},
		"limited":    {"TRUSTED_PROXIES=127.0.0.0/8,::1", "MAX_CONNECTIONS_PER_IP=1"},
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
		{"a token that expires", v1("app", "sidecast.v1", "sidecast.token."+short), 4401},
		{"a token without a protocol", v1("app", "sidecast.token."+token), 1006},
		{"an unknown subprotocol", v1("app", "graphql-ws"), 1006},
		{"403 from the application", raw("403", "?channel=public:1"), 4403},
		{"500 from the application", raw("500", "?channel=public:1"), 1013},
		{"a login page from the application", raw("login page", "?channel=public:1"), 1013},
		{"an application that is down", raw("down", "?channel=public:1"), 1013},
		{"a redirect, and a channel that is not public", raw("redirects", "?channel=chat:1"), 4401},
		{"expires_in", raw("expires", "?channel=public:1"), 4401},
		{"a page of another origin", raw("other host", "?channel=public:1"), 1006},
	}
	for _, tt := range cases {
		b.run(strings.Replace(tt.script, "NAME", fmt.Sprintf("%q", tt.name), 1))
	}
	for _, name := range []string{"full", "limited"} { // the second connection exceeds the limit
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
	// Other clients are still accepted.
	b.run(fmt.Sprintf("connect('good', %q, ['sidecast.v1', 'sidecast.token.%s'])", b.url(b.relay, ""), token))
	browser.Await(b.ctx, t, "seen.good.protocol === 'sidecast.v1' && has('good', 'subscribed', 'user:42')")
	b.run(strings.Replace(raw("redirects", "?channel=public:1"), "NAME", "'anonymous'", 1))
	browser.Await(b.ctx, t, "seen.anonymous.protocol === ''")
}

// A browserPage is a page of the PHP application in Chromium, with a relay that
// asks this application.
type browserPage struct {
	*setup
	ctx context.Context
	app string // host:port of the application; the host is the one that has the cookies
	dir string // of the application's sessions
}

func newBrowserPage(t *testing.T, settings ...string) *browserPage {
	t.Helper()
	dir := t.TempDir()
	addr := startPHP(t, dir)
	s := newSetup(t, append([]string{
		"AUTH_URL=http://" + addr + "/live-auth", "CHANNEL_AUTH_URL=http://" + addr + "/may-receive",
	}, settings...)...)
	return &browserPage{setup: s, ctx: browser.Start(t), app: "localhost:" + port(t, addr), dir: dir}
}

func (b *browserPage) visit(path string) {
	b.t.Helper()
	browser.Do(b.ctx, b.t, chromedp.Navigate("http://"+b.app+path))
}

// url returns the URL of a relay. Its host is that of the page, so that the
// browser sends the cookies.
func (b *browserPage) url(p *relaytest.Process, query string) string {
	return "ws://localhost:" + port(b.t, p.Addr()) + "/ws" + query
}

func (b *browserPage) run(script string) {
	b.t.Helper()
	browser.Eval[any](b.ctx, b.t, script+"; null")
}

// connect opens a sidecast.v1 connection with this name and waits for its
// welcome.
func (b *browserPage) connect(name string) {
	b.t.Helper()
	b.run(fmt.Sprintf("connect(%q, %q, ['sidecast.v1'])", name, b.url(b.relay, "")))
	browser.Await(b.ctx, b.t, fmt.Sprintf("has(%q, 'welcome')", name))
}

func (b *browserPage) user(name string) string {
	b.t.Helper()
	return browser.Eval[string](b.ctx, b.t, fmt.Sprintf("seen[%q].messages[0].user ?? ''", name))
}

// subscribe returns the answer: subscribed, or the code of an error.
func (b *browserPage) subscribe(name, channel string) string {
	b.t.Helper()
	b.run(fmt.Sprintf("seen[%q].socket.send(JSON.stringify({type: 'subscribe', channels: [{channel: %q}]}))", name, channel))
	answer := fmt.Sprintf("seen[%q].messages.findLast((m) => m.channel === %q)", name, channel)
	browser.Await(b.ctx, b.t, answer)
	return browser.Eval[string](b.ctx, b.t, fmt.Sprintf("((m) => m.code ?? m.type)(%s)", answer))
}

// startApp starts an application that always sends the same answer, and returns
// its host:port.
func (b *browserPage) startApp(status int, body string) string {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Location", "/login")
		w.WriteHeader(status)
		fmt.Fprint(w, body)
	}))
	b.t.Cleanup(server.Close)
	return server.Listener.Addr().String()
}

// proxy starts a reverse proxy that forwards all clients with the same public
// address, and returns its host:port.
func (b *browserPage) proxy(relay string) string {
	server := httptest.NewServer(&httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(&url.URL{Scheme: "http", Host: relay})
		r.Out.Host = r.In.Host
		r.Out.Header.Set("X-Forwarded-For", "198.51.100.7")
	}})
	b.t.Cleanup(func() { server.CloseClientConnections(); server.Close() })
	return server.Listener.Addr().String()
}
