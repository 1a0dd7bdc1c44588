package e2e_test

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sidecast/relay/relaytest/browser"
	"sidecast/relay/relaytest/redistest"
)

// recipes are the recipes of the cookbook by their headings. Each test runs all
// snippets under its heading.
var recipes = []struct {
	heading string
	run     func(t *testing.T, r *recipe)
}{
	{"A message to one user", tellsOneUser},
	{"An e-mail if the user is away", sendsMail},
	{"A chat room", chats},
	{"Everyone but me", sparesTheSender},
	{"Who is typing", showsWhoTypes},
	{"Logged out everywhere", logsOut},
	{"The progress of a long job", showsProgress},
	{"A live counter", counts},
	{"The answer of a language model", streamsAnswer},
	{"Without an extension", publishesWithoutExtension},
}

// setUp is the heading of the snippets that all recipes need.
const setUp = "Before you start"

// TestCookbook: each recipe works as its text says.
func TestCookbook(t *testing.T) {
	t.Parallel()
	redistest.Require(t, "sh", "dash")
	ctx := browser.Start(t)
	tested := map[string]bool{setUp: true}
	for _, test := range recipes {
		tested[test.heading] = true
		t.Run(test.heading, func(t *testing.T) {
			r := newRecipe(ctx, t, test.heading)
			test.run(t, r)
			for _, f := range r.unused {
				t.Errorf("the test does not run this snippet (%s):\n%s", f.language, f.text)
			}
		})
	}
	for _, f := range fences(t) {
		if f.document == cookbook && !tested[f.heading] {
			t.Errorf("no test runs the recipe %q", f.heading)
		}
	}
}

// A recipe runs the snippets under one heading of the cookbook on an
// application in PHP, whose web server forwards to the relay as the cookbook
// says.
type recipe struct {
	*phpSite
	ctx    context.Context // of the browser
	port   string          // of the web server
	unused []fence         // the snippets that have not run yet
}

// The browser has a cookie for each host, so that each of them is another user.
const (
	ada = "localhost" // user 42, whose name is Ada
	bob = "127.0.0.1" // user 43, whose name is Bob
)

// newRecipe returns a recipe whose application and relay run. If the recipe has
// settings, they are its first snippet.
func newRecipe(ctx context.Context, t testing.TB, heading string) *recipe {
	t.Helper()
	requirePHP(t)
	r := &recipe{ctx: ctx, phpSite: &phpSite{t: t, dir: t.TempDir(), redis: redistest.Start(t)}}
	for _, f := range fences(t) {
		if f.document == cookbook && f.heading == setUp {
			r.unused = append(r.unused, f)
		}
	}
	settings, login, prelude := r.next("sh"), r.next("php"), r.next("php")
	r.prelude = r.onRedis(prelude)
	r.addr = servePHP(t, r.dir)
	r.write("live-auth.php", login)
	r.write("login.php", `<?php session_start(); session_regenerate_id(true); $_SESSION = $_GET;`)

	for _, f := range fences(t) {
		if f.document == cookbook && f.heading == heading {
			r.unused = append(r.unused, f)
		}
	}
	settings = onPort(t, settings, "redis://127.0.0.1:6379", r.redis.Addr)
	settings = onPort(t, settings, "http://127.0.0.1:8000", r.addr)
	if r.unused[0].language == "sh" {
		settings += r.next("sh")
	} else {
		settings += "SIDECAST_CHANNELS='*'\n"
	}
	r.settings = with(variables(t, settings), "SIDECAST_LISTEN", redistest.FreeAddr(t))
	r.settings["SIDECAST_LOG_FORMAT"] = "json"
	r.relay = start(t, r.settings)
	r.port = r.serve()
	return r
}

// variables returns the settings that a snippet for a shell sets.
func variables(t testing.TB, text string) map[string]string {
	t.Helper()
	settings := make(map[string]string)
	for line := range strings.Lines(newShell(t, nil).run("set -a\n" + text + "\nenv")) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		if strings.HasPrefix(name, "SIDECAST_") && !strings.HasSuffix(name, "LISTEN") {
			settings[name] = value
		}
	}
	return settings
}

// serve runs the web server of the application and returns its port.
func (r *recipe) serve() (port string) {
	proxy := &httputil.ReverseProxy{Rewrite: func(request *httputil.ProxyRequest) {
		backend := url.URL{Scheme: "http", Host: r.addr}
		if path := request.In.URL.Path; path == "/ws" || strings.HasPrefix(path, "/sidecast") {
			backend.Host = r.settings["SIDECAST_LISTEN"]
		}
		request.SetURL(&backend)
		request.Out.Host = request.In.Host
	}, ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) {
		w.WriteHeader(http.StatusBadGateway) // the relay restarts
	}}
	server := httptest.NewServer(proxy)
	r.t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	_, port, _ = net.SplitHostPort(server.Listener.Addr().String())
	return port
}

// onRedis returns the code with the port of the recipe's Redis.
func (r *recipe) onRedis(code string) string {
	r.t.Helper()
	if strings.Count(code, "'127.0.0.1', 6379, 1)") != 1 {
		r.t.Fatalf("the code does not connect to Redis once:\n%s", code)
	}
	return strings.Replace(code, "6379", r.redis.Port(), 1)
}

// next returns the next snippet, which must have this language.
func (r *recipe) next(language string) string {
	r.t.Helper()
	if len(r.unused) == 0 || r.unused[0].language != language {
		r.t.Fatalf("the next snippet is not %s: %q", language, r.unused)
	}
	text := r.unused[0].text
	r.unused = r.unused[1:]
	return text
}

// write writes a file of the application that does not begin with the prelude.
func (r *recipe) write(name, text string) {
	r.t.Helper()
	if err := os.WriteFile(filepath.Join(r.dir, name), []byte(text), 0o600); err != nil {
		r.t.Fatal(err)
	}
}

// page makes a page of the next snippet.
func (r *recipe) page() {
	r.t.Helper()
	r.add("page.php", "?>"+r.next("html"))
}

// login logs in the users of these hosts: the browser has a cookie for each then.
func (r *recipe) login(hosts ...string) {
	r.t.Helper()
	for _, host := range hosts {
		user := map[string]string{ada: "user_id=42&name=Ada", bob: "user_id=43&name=Bob"}[host]
		open(r.ctx, r.t, r.url(host, "login.php?"+user))
	}
}

// open opens the page in a new tab.
func (r *recipe) open(host string) context.Context {
	r.t.Helper()
	return open(r.ctx, r.t, r.url(host, "page.php"))
}

func (r *recipe) url(host, path string) string {
	return "http://" + net.JoinHostPort(host, r.port) + "/" + path
}

// awaitSubscriptions waits until the relay has exactly n subscriptions.
func (r *recipe) awaitSubscriptions(n float64) {
	r.t.Helper()
	awaitMetric(r.t, r.relay, "sidecast_subscriptions", func(value float64) bool { return value == n })
}

// restartRelay kills the relay, runs during, and starts another one at the same
// address.
func (r *recipe) restartRelay(during func()) {
	r.t.Helper()
	r.relay.Kill()
	during()
	r.relay = start(r.t, r.settings)
}
