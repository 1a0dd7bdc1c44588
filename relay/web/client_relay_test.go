package web_test

import (
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"sidecast/relay/relaytest"
	"sidecast/relay/relaytest/browser"
	"sidecast/relay/relaytest/redistest"
)

// startProcess runs a relay with a Redis. The channels chat and chat:* are live,
// order:* are durable, and everybody may use all of them.
func startProcess(t *testing.T, more map[string]string) (*relaytest.Process, *redistest.Server) {
	t.Helper()
	redis := redistest.Start(t)
	env := map[string]string{
		"SIDECAST_REDIS_URL": redis.URL(), "SIDECAST_CHANNELS": "chat,chat:*", "SIDECAST_DURABLE_CHANNELS": "order:*",
		"SIDECAST_PUBLIC_CHANNELS": "chat,chat:*,order:*", "SIDECAST_PUBLISH_CHANNELS": "chat,chat:*",
	}
	maps.Copy(env, more)
	relay := relaytest.Start(t, env)
	relay.AwaitReady()
	return relay, redis
}

// readmeSnippet returns the first snippet of the package's README that is in a
// language and contains a text.
func readmeSnippet(t *testing.T, language, contains string) string {
	t.Helper()
	text, err := os.ReadFile("client/README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, snippet := range strings.Split(string(text), "```"+language+"\n")[1:] {
		if snippet, _, _ = strings.Cut(snippet, "```"); strings.Contains(snippet, contains) {
			return snippet
		}
	}
	t.Fatalf("no snippet in %s contains %q", language, contains)
	return ""
}

const emit = "const emit = (kind, value) => console.log(JSON.stringify({ kind, value }))\n"

// The snippets of the README work in Node, with the package that npm installs.
func TestClientReadme(t *testing.T) {
	relay, redis := startProcess(t, nil)
	dir := npmInstall(t, "ws@8")
	url := strings.Replace(relay.URL(), "127.0.0.1", "localhost", 1)
	first := strings.Replace(readmeSnippet(t, "js", "connect('wss:"), "connect('wss://push.example.com/ws')", "connect('"+url+"', { WebSocket })", 1)
	first = strings.Replace(first, "console.log(m.data)", "emit('message', m.data)", 1)
	script := node(t, dir, "import { WebSocket } from 'ws'\n"+emit+first+`
const show = (state) => emit('state', state.total)
const apply = (change) => emit('change', change.total)
const fetch = async (path) => ({ json: async () => ({ total: path }) })
`+readmeSnippet(t, "js", "load:"))
	if got := script.await("message", 0); got != "hello" {
		t.Errorf("the message is %q", got)
	}
	if got := script.await("state", 0); got != "/orders/7" {
		t.Errorf("the state is %q", got)
	}
	redis.CLI("XADD", "order:7", "*", "data", `{"total":12}`)
	redis.CLI("PUBLISH", "order:7", "")
	if got := script.await("change", 0); got != "12" {
		t.Errorf("the change is %q", got)
	}
}

// A page of another origin loads the module and the script from the relay, and
// both work. The module is loaded below the base path.
func TestClientInBrowser(t *testing.T) {
	page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprint(w, "<!doctype html><p>page")
	}))
	defer page.Close()
	relay, redis := startProcess(t, map[string]string{"SIDECAST_BASE_PATH": "/push", "SIDECAST_ALLOWED_ORIGINS": page.URL})
	base := "http://" + relay.Addr() + "/push"
	ctx := browser.Start(t)
	for name, load := range map[string]string{
		"module": `import("` + base + `/sidecast.mjs")`,
		"script": `new Promise((resolve) => document.head.append(Object.assign(document.createElement("script"),
			{ src: "` + base + `/sidecast.js", onload: () => resolve(window.sidecast) })))`,
	} {
		t.Run(name, func(t *testing.T) {
			browser.Do(ctx, t, chromedp.Navigate(page.URL))
			browser.Eval[chromedp.Void](ctx, t, `void `+load+`.then(({ connect }) => {
				window.relay = connect("`+base+`/ws")
				window.seen = []
				window.chat = relay.channel("chat")
				chat.on("message", (m) => seen.push(m.data))
				chat.publish({ text: "hello" }).then(() => (window.published = true))
			})`)
			browser.Await(ctx, t, `published && seen.length === 1`)
			redis.CLI("PUBLISH", "chat", "from Redis")
			browser.Await(ctx, t, `seen.length === 2`)
			if got := browser.Eval[string](ctx, t, `seen.join()`); got != `{"text":"hello"},from Redis` {
				t.Errorf("the page has received %s", got)
			}
		})
	}
	wantNoProblems(ctx, t)
}

// A channel begins with the newest messages, or after an entry that the
// application has read. In that case, load does not run, unless entries are
// missing.
func TestLastAndSince(t *testing.T) {
	relay, redis := startProcess(t, nil)
	dir := npmInstall(t, "ws@8")
	for i := range 5 {
		redis.CLI("PUBLISH", "chat", fmt.Sprint("live ", i))
	}
	ids := make([]string, 3)
	for i := range ids {
		ids[i] = redis.CLI("XADD", "order:7", "*", "data", fmt.Sprint("entry ", i))
	}
	redis.CLI("XADD", "order:8", "5-0", "data", "kept")
	script := node(t, dir, "import { WebSocket } from 'ws'\nimport { connect } from 'sidecast'\n"+emit+`
const [url, since] = process.argv.slice(2)
const relay = connect(url, { WebSocket })
const open = (name, options) => {
	const channel = relay.channel(name, { ...options, load: () => emit('load', name) })
	channel.on('message', (m) => emit('message', name + ' ' + m.data))
	channel.on('gap', (gap) => emit('gap', name + ' ' + gap.reason))
}
open('chat', { last: 3 })
open('order:7', { since })
open('order:8', { since: '3-0' })`, relay.URL(), ids[0])
	got := script.awaitAll("message", 6)
	slices.SortStableFunc(got, func(a, b string) int { return strings.Compare(a[:7], b[:7]) })
	want := []string{"chat live 2", "chat live 3", "chat live 4", "order:7 entry 1", "order:7 entry 2", "order:8 kept"}
	if !slices.Equal(got, want) {
		t.Errorf("the messages are %q, want %q", got, want)
	}
	if gap := script.await("gap", 0); gap != "order:8 trimmed" {
		t.Errorf("the gap is %q", gap)
	}
	loads := script.awaitAll("load", 2)
	if slices.Contains(loads, "order:7") || !slices.Contains(loads, "chat") || !slices.Contains(loads, "order:8") {
		t.Errorf("the state was loaded for %q", loads)
	}
}

// Event streams take over in a network whose proxy blocks WebSocket, also for a
// page that loads the script from another origin.
func TestBlockedWebSocket(t *testing.T) {
	relay, redis := startProcess(t, map[string]string{"SIDECAST_ALLOWED_ORIGINS": "*"})
	target := &url.URL{Scheme: "http", Host: relay.Addr()}
	forward := &httputil.ReverseProxy{FlushInterval: -1, Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) }}
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Header.Get("Upgrade") != "":
			http.Error(w, "not allowed in this network", http.StatusForbidden)
		case r.URL.Path == "/":
			w.Header().Set("Content-Type", "text/html")
			fmt.Fprint(w, "<!doctype html><p>page")
		default:
			forward.ServeHTTP(w, r)
		}
	}))
	defer proxy.Close()
	ctx := browser.Start(t)
	for name, origin := range map[string]string{
		"same origin": proxy.URL, "another origin": strings.Replace(proxy.URL, "127.0.0.1", "localhost", 1),
	} {
		t.Run(name, func(t *testing.T) {
			browser.Do(ctx, t, chromedp.Navigate(origin))
			browser.Eval[chromedp.Void](ctx, t, `
				window.seen = []
				void document.head.append(Object.assign(document.createElement("script"), {
					src: "`+proxy.URL+`/sidecast.js", crossOrigin: "anonymous", onload() {
						const relay = sidecast.connect("`+proxy.URL+`/ws", { sse: true })
						let loads = 0
						const load = () => (window.ready = ++loads === 3)
						for (const name of ["chat", "chat:2", "order:7"]) {
							relay.channel(name, { load }).on("message", (m) => seen.push(name + " " + m.data))
						}
						window.relay = relay
					} }))`)
			browser.Await(ctx, t, `ready && relay.state === "open"`)
			redis.CLI("PUBLISH", "chat", "one\ntwo")
			browser.Await(ctx, t, `seen.length === 1`)
			redis.CLI("XADD", "order:7", "*", "data", "paid")
			redis.CLI("PUBLISH", "order:7", "")
			browser.Await(ctx, t, `seen.length === 2`)
			if got := browser.Eval[string](ctx, t, `seen.join("; ")`); got != "chat one\ntwo; order:7 paid" {
				t.Errorf("the page has received %q", got)
			}
			browser.Eval[chromedp.Void](ctx, t, `relay.close()`)
		})
	}
}
