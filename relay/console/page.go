package console

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"net/http"
	"time"
)

//go:embed page
var files embed.FS

// pageFiles are the files of the page with their types. The first one is the
// page itself.
var pageFiles = []struct{ name, contentType string }{
	{"index.html", "text/html; charset=utf-8"},
	{"console.css", "text/css; charset=utf-8"},
	{"boxes.js", "text/javascript; charset=utf-8"},
	{"console.js", "text/javascript; charset=utf-8"},
	{"feed.js", "text/javascript; charset=utf-8"},
	{"format.js", "text/javascript; charset=utf-8"},
	{"plots.js", "text/javascript; charset=utf-8"},
	{"tables.js", "text/javascript; charset=utf-8"},
	{"uPlot.iife.min.js", "text/javascript; charset=utf-8"},
	{"uPlot.min.css", "text/css; charset=utf-8"},
	{"icon.svg", "image/svg+xml"},
}

// policy lets the page load its own files and connect to its own host, and
// nothing else. No script or style is in the page itself, no text can become
// markup, and no page can frame it.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; " +
	"form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"

// newPage returns the handler of the page.
func newPage() http.Handler {
	mux := http.NewServeMux()
	for i, file := range pageFiles {
		path := "/console/" + file.name
		if i == 0 {
			path = "/console"
		}
		content, err := files.ReadFile("page/" + file.name)
		if err != nil {
			panic(err) // the build lacks the file
		}
		mux.Handle(path, static(file.contentType, content))
	}
	// The address may be below that of a proxy.
	mux.HandleFunc("/console/{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Location", "../console")
		w.WriteHeader(http.StatusPermanentRedirect)
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "no file of this name; the console is at /console", http.StatusNotFound)
	})
	return mux
}

// static returns a handler that serves constant content.
func static(contentType string, content []byte) http.Handler {
	sum := sha256.Sum256(content)
	tag := `"` + hex.EncodeToString(sum[:12]) + `"`
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "only GET and HEAD are allowed here", http.StatusMethodNotAllowed)
			return
		}
		h := w.Header()
		h.Set("Content-Type", contentType)
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Frame-Options", "DENY") // for browsers that do not know the policy
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cache-Control", "no-cache") // browsers may store it, but must revalidate it before each use
		h.Set("Etag", tag)
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
	})
}
