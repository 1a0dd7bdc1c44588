package console_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"sidecast/relay/admin"
	"sidecast/relay/console"
	"sidecast/relay/relaytest/browser"
	"sidecast/relay/stats"
)

// serveRemote serves the console as on a listener that is not loopback, where
// what it shows needs the token.
func serveRemote(t *testing.T, feed http.Handler, requests func(*http.Request)) string {
	t.Helper()
	return serveWithToken(t, adminToken, feed, requests)
}

func serveWithToken(t *testing.T, token string, feed http.Handler, requests func(*http.Request)) string {
	t.Helper()
	ok := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	c := admin.Config{
		Registry: admin.NewRegistry(new(stats.Stats), admin.Gauges{}, "", ""), Ready: ok, Live: ok, Token: token,
		Console: admin.Console{Page: console.New(console.Config{Stats: new(stats.Stats)}).Page(), Feed: feed},
	}
	handler := admin.Handler(c)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if requests != nil {
			requests(r)
		}
		handler.ServeHTTP(w, r)
	}))
	t.Cleanup(func() { server.CloseClientConnections(); server.Close() })
	return server.URL
}

// The page asks for the token, keeps it for the tab and not in a cookie, and can
// forget it.
func TestToken(t *testing.T) {
	var mu sync.Mutex
	var leaked []string // guarded by mu
	url := serveRemote(t, script(hello(), samples(time.Now(), 3)...), func(r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if r.Header.Get("Cookie") != "" || r.URL.RawQuery != "" || r.Header.Get("Referer") != "" {
			leaked = append(leaked, fmt.Sprint(r.URL, r.Header))
		}
	})
	ctx := browser.Start(t)
	const asks = `document.getElementById("state-text").textContent === "No access" && document.activeElement === document.getElementById("token")`
	browser.Do(ctx, t, chromedp.Navigate(url+"/console"))
	browser.Await(ctx, t, asks)
	if text := browser.Eval[string](ctx, t, `document.getElementById("access-text").textContent`); text != "this request needs the token in SIDECAST_ADMIN_TOKEN: send it as Authorization: Bearer TOKEN" {
		t.Errorf("the page says %q", text)
	}
	browser.Do(ctx, t, chromedp.SendKeys(chromedp.ID("token"), "wrong"+kb.Enter))
	browser.Await(ctx, t, asks+` && sessionStorage.length === 1 && !document.getElementById("forget").hidden`)
	browser.Do(ctx, t, chromedp.SendKeys(chromedp.ID("token"), adminToken+kb.Enter))
	browser.Await(ctx, t, live+` && document.getElementById("access").hidden`)
	browser.Do(ctx, t, chromedp.Reload())
	browser.Await(ctx, t, live)
	if stored := browser.Eval[string](ctx, t, `document.cookie + "|" + localStorage.length + "|" + sessionStorage.length`); stored != "|0|1" {
		t.Errorf("cookies, local storage and session storage: %s", stored)
	}
	browser.Do(ctx, t, chromedp.Click(chromedp.ID("show-access")), chromedp.Click(chromedp.ID("forget")))
	browser.Await(ctx, t, `sessionStorage.length === 0 && document.getElementById("state-text").textContent === "No access"`)
	mu.Lock()
	defer mu.Unlock()
	if len(leaked) > 0 {
		t.Errorf("requests with a cookie, a query or a referrer: %q", leaked)
	}
}

// A token may contain any text, and a wrong one too.
func TestTokenOfAnyText(t *testing.T) {
	const token = "пароль из слов, é"
	url := serveWithToken(t, token, script(hello(), samples(time.Now(), 3)...), nil)
	ctx := browser.Start(t)
	browser.Do(ctx, t, chromedp.Navigate(url+"/console"))
	for _, wrong := range []string{"неверный", "é"} {
		browser.Await(ctx, t, `document.getElementById("state-text").textContent === "No access" && document.activeElement === document.getElementById("token")`)
		browser.Do(ctx, t, chromedp.SendKeys(chromedp.ID("token"), wrong+kb.Enter))
		browser.Await(ctx, t, `sessionStorage.getItem("sidecast-admin-token") === "`+wrong+`"`)
	}
	browser.Await(ctx, t, `!document.getElementById("access").hidden`)
	browser.Do(ctx, t, chromedp.SendKeys(chromedp.ID("token"), token+kb.Enter))
	browser.Await(ctx, t, live)
}

// The browser enforces the content security policy, on which the tests with
// hostile text depend.
func TestPolicyIsEnforced(t *testing.T) {
	url := serve(t, admin.Console{})
	ctx := browser.Start(t)
	for name, attack := range map[string]string{
		"markup":          `document.body.innerHTML = "<img src=x>"`,
		"inline script":   `document.body.append(Object.assign(document.createElement("script"), {text: "pwned = true"}))`,
		"inline style":    `document.body.append(Object.assign(document.createElement("style"), {textContent: "p {}"}))`,
		"foreign image":   `document.body.append(Object.assign(new Image, {src: "http://127.0.0.2:9/x.png"}))`,
		"foreign request": `void fetch("http://127.0.0.2:9/").catch(() => {})`,
		"frame":           `document.body.append(Object.assign(document.createElement("iframe"), {src: "/metrics"}))`,
	} {
		browser.Do(ctx, t, chromedp.Navigate(url+"/console"))
		browser.Await(ctx, t, live)
		browser.Forget(ctx)
		// The policy does not apply to the debugger, but to a timer of the page.
		browser.Eval[chromedp.Void](ctx, t, `setTimeout(() => { `+attack+` })`)
		browser.AwaitProblem(ctx, t, "Content Security Policy", "Trusted")
		if browser.Eval[bool](ctx, t, `globalThis.pwned === true`) {
			t.Errorf("%s: an inline script ran", name)
		}
	}
}

// A page of another origin reads nothing, takes no place of a console, publishes
// nothing, and cannot show the console in a frame, even if it knows the token.
func TestOtherPages(t *testing.T) {
	var mu sync.Mutex
	opened := 0 // guarded by mu
	feed := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		opened++
	})
	local := serve(t, admin.Console{Feed: feed, Watch: feed})
	remote := serveRemote(t, feed, nil)
	evil := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprint(w, `<!doctype html><title>evil</title><p>evil</p><iframe name="sink"></iframe>`)
	}))
	defer evil.Close()
	ctx := browser.Start(t)
	for _, url := range []string{local, remote} {
		for name, attack := range map[string]string{
			"reads the feed":             `fetch(url + "/console/feed").then((r) => r.text())`,
			"reads it with the token":    `fetch(url + "/console/feed", {headers: {Authorization: "Bearer ` + adminToken + `"}}).then((r) => r.text())`,
			"sends without reading":      `fetch(url + "/console/feed", {mode: "no-cors"}).then((r) => r.text()).then((text) => text || Promise.reject())`,
			"watches with the token":     `fetch(url + "/console/watch?channel=chat", {headers: {Authorization: "Bearer ` + adminToken + `"}}).then((r) => r.text())`,
			"publishes":                  `fetch(url + "/console/publish?channel=chat", {method: "POST", body: "x", mode: "no-cors"}).then((r) => r.text()).then((text) => text || Promise.reject())`,
			"publishes with the token":   `fetch(url + "/console/publish?channel=chat", {method: "POST", body: "x", headers: {Authorization: "Bearer ` + adminToken + `"}}).then((r) => r.text())`,
			"reads with an event source": `new Promise((resolve, reject) => { const s = new EventSource(url + "/console/feed"); s.onopen = resolve; s.onerror = () => { s.close(); reject() } })`,
			"loads it as a script":       `new Promise((resolve, reject) => document.body.append(Object.assign(document.createElement("script"), {src: url + "/console/console.js", type: "text/javascript", onload: resolve, onerror: reject})))`,
			"reads a frame of it":        `new Promise((resolve, reject) => { const f = document.createElement("iframe"); f.onload = () => { try { f.contentDocument.title.includes("console") ? resolve() : reject() } catch { reject() } }; f.src = url + "/console"; document.body.append(f) })`,
		} {
			browser.Do(ctx, t, chromedp.Navigate(evil.URL))
			browser.Eval[chromedp.Void](ctx, t, `globalThis.result = ""; const url = "`+url+`"; `+attack+`.then(() => { result = "succeeded" }, () => { result = "failed" })`)
			browser.Await(ctx, t, `result !== ""`)
			if result := browser.Eval[string](ctx, t, `result`); result != "failed" {
				t.Errorf("%s: a page of another origin that %s %s", url, name, result)
			}
		}
		// A frame shows an error page instead of the console.
		browser.Do(ctx, t, chromedp.Navigate(evil.URL))
		browser.Forget(ctx)
		browser.Eval[chromedp.Void](ctx, t, `document.body.append(Object.assign(document.createElement("iframe"), {src: "`+url+`/console"}))`)
		browser.AwaitProblem(ctx, t, "frame-ancestors", "X-Frame-Options", "Framing")
	}
	mu.Lock()
	defer mu.Unlock()
	if opened > 0 {
		t.Errorf("the feed was opened %d times", opened)
	}
}
