// Package web contains the files that the relay serves to browsers: the demo
// page, and the JavaScript client (client/README.md).
//
// The demo page is a tour of the JavaScript client, on one channel. It
// shows messages, names and errors as text, never as markup. It loads nothing
// from other hosts. All its URLs are relative, so it works below any base path.
// Its content security policy allows only the page's own scripts, and
// connections to the relay only.
package web

import (
	"embed"
	"net/http"
)

//go:embed demo
var files embed.FS

// Page configures the demo page.
type Page struct {
	// RedisAddr is the host:port of the relay's in-memory Redis, for the
	// examples that publish. If it is empty, the examples use Redis's default
	// address.
	RedisAddr string
	// Names invents users for the visitors. If it is nil, they are anonymous.
	Names *Names
}

// Demo returns a handler that serves the demo page at / and its files below.
// The relay's WebSocket endpoint must be at ws relative to the page, and the
// files of [Client] next to the page; if the page has a base path, the caller
// must strip it. The handler is safe for concurrent use.
func Demo(p Page) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/{$}", static("text/html; charset=utf-8", renderIndex(p)))
	for name, contentType := range map[string]string{
		"app.js":    "text/javascript; charset=utf-8",
		"lines.js":  "text/javascript; charset=utf-8",
		"link.js":   "text/javascript; charset=utf-8",
		"log.js":    "text/javascript; charset=utf-8",
		"tour.js":   "text/javascript; charset=utf-8",
		"style.css": "text/css; charset=utf-8",
		"icon.svg":  "image/svg+xml",
	} {
		mux.Handle("/"+name, static(contentType, mustRead(name)))
	}
	if p.Names != nil {
		mux.Handle("GET /demo/name", p.Names)
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "no page at this path; the demo page is at the base path, and clients connect to /ws or /sse below it",
			http.StatusNotFound)
	})
	return mux
}

// mustRead returns an embedded file. It panics if the build lacks the file.
func mustRead(name string) []byte {
	content, err := files.ReadFile("demo/" + name)
	if err != nil {
		panic(err)
	}
	return content
}
