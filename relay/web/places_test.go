package web_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"sidecast/relay/relaytest/browser"
)

// The client works on pages with a strict Content-Security-Policy, in workers
// and in files, with the files that it loads on demand: WebSockets fail here,
// so event streams take over.
func TestClientInPlaces(t *testing.T) {
	const use = `
		class Blocked { constructor() { setTimeout(() => this.onclose({ code: 1006 })) } close() {} }
		const relay = connect("$relay/ws", { WebSocket: Blocked, sse: true })
		relay.channel("chat", { last: 1 }).on("message", (m) => show(m.data))`
	files := map[string]string{
		"/script.html":   `<!doctype html><script crossorigin src="$relay/sidecast.js"></script><script src="script.js"></script>`,
		"/script.js":     `const { connect } = sidecast, show = (data) => (window.got = data)` + use,
		"/module.html":   `<!doctype html><script type="module" src="module.js"></script>`,
		"/module.js":     `import { connect } from "$relay/sidecast.mjs"; const show = (data) => (window.got = data)` + use,
		"/worker.html":   `<!doctype html><script src="start.js"></script>`,
		"/start.js":      `new Worker("worker.js").onmessage = (e) => (window.got = e.data)`,
		"/worker.js":     `importScripts("/sidecast.js"); const { connect } = sidecast, show = postMessage` + use,
		"/worker-m.html": `<!doctype html><script src="start-m.js"></script>`,
		"/start-m.js":    `new Worker("worker-m.js", { type: "module" }).onmessage = (e) => (window.got = e.data)`,
		"/worker-m.js":   `import { connect } from "$relay/sidecast.mjs"; const show = postMessage` + use,
	}
	relay, redis := startProcess(t, map[string]string{"SIDECAST_ALLOWED_ORIGINS": "*"})
	redis.CLI("PUBLISH", "chat", "hello")
	base := &url.URL{Scheme: "http", Host: relay.Addr()}
	for name, text := range files {
		files[name] = strings.ReplaceAll(text, "$relay", base.String())
	}

	forward := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(base) }}
	page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		file, found := files[r.URL.Path]
		if !found {
			forward.ServeHTTP(w, r)
			return
		}
		w.Header().Set("Content-Type", map[string]string{".html": "text/html", ".js": "text/javascript"}[filepath.Ext(r.URL.Path)])
		sources := "script-src 'self' $; worker-src 'self' $; connect-src $"
		w.Header().Set("Content-Security-Policy", "default-src 'none'; "+strings.ReplaceAll(sources, "$", base.String()))
		fmt.Fprint(w, file)
	}))
	defer page.Close()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "script.html"), files["/script.html"])
	write(t, filepath.Join(dir, "script.js"), files["/script.js"])

	ctx := browser.Start(t)
	for name, address := range map[string]string{
		"script": page.URL + "/script.html", "module": page.URL + "/module.html", "file": "file://" + dir + "/script.html",
		"worker": page.URL + "/worker.html", "module worker": page.URL + "/worker-m.html",
	} {
		t.Run(name, func(t *testing.T) {
			browser.Do(ctx, t, chromedp.Navigate(address))
			browser.Await(ctx, t, `window.got === "hello"`)
		})
	}
}
