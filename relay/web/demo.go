// Package web holds what the relay serves to browsers: the demo page.
//
// The page listens to a channel over a bare WebSocket and shows what comes as text, never as markup. It loads nothing
// from anywhere else, its addresses are relative, so that it works below any path, and its policy lets it run no script
// but its own and connect to nobody but the relay.
package web

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"html"
	"net"
	"net/http"
	"regexp"
	"strings"
	"time"
)

//go:embed demo
var files embed.FS

// Page is what the demo page shows.
type Page struct {
	// RedisAddr is the host:port of the Redis that one publishes to, where the relay brings its own. Empty: one that the
	// reader knows.
	RedisAddr string
}

// Demo serves the demo page at /, and what it loads beside it. It wants to be mounted where /ws beside it is the relay's
// WebSocket; a base path is to be stripped. Safe for concurrent use.
func Demo(p Page) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/{$}", static("text/html; charset=utf-8", index(p)))
	for name, contentType := range map[string]string{
		"app.js":    "text/javascript; charset=utf-8",
		"lines.js":  "text/javascript; charset=utf-8",
		"log.js":    "text/javascript; charset=utf-8",
		"style.css": "text/css; charset=utf-8",
		"icon.svg":  "image/svg+xml",
	} {
		mux.Handle("/"+name, static(contentType, read(name)))
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "nothing is here; the demo page is above, and WebSocket clients connect to ws beside it", http.StatusNotFound)
	})
	return mux
}

// read returns an embedded file. That it is there was known when the program was built.
func read(name string) []byte {
	content, err := files.ReadFile("demo/" + name)
	if err != nil {
		panic(err)
	}
	return content
}

// A line is something to copy that publishes to the channel that stands between Before and After.
type line struct {
	ID, Caption   string
	Before, After string
	Quote         string // how the script quotes the name: shell or php
	Channel       string // the first one, quoted
}

// index returns the page. Its script puts other channels into the lines; without script they name the first.
func index(p Page) []byte {
	host, port, err := net.SplitHostPort(p.RedisAddr)
	program, redisCLI := "go run .", "redis-cli -p "+port
	if err != nil {
		host, port = "127.0.0.1", "6379"
		program, redisCLI = "sidecast", "redis-cli"
	}
	if host != "127.0.0.1" {
		redisCLI += " -h " + host
	}
	lines := []line{
		{"redis-cli", "redis-cli", redisCLI + " publish ", " hello", "shell", "chat"},
		{"command", "Sidecast’s own command", program + " publish ", " hello", "shell", "chat"},
		{"php", "PHP", "$redis = new Redis();\n$redis->connect('" + host + "', " + port + ");\n$redis->publish(", ", 'hello');", "php", "'chat'"},
	}
	socket := line{
		ID: "javascript", Quote: "socket",
		Before: "const socket = new WebSocket(\n  ", After: ");\nsocket.onmessage = (event) =>\n  console.log(event.data);",
		Channel: "'ws://…/ws?channel=chat'", // the script knows the address
	}
	var figures strings.Builder
	for _, l := range lines {
		fmt.Fprintf(&figures, figure, l.ID, html.EscapeString(l.Caption), l.ID, l.code())
	}
	// html/template would keep the linker from leaving out methods that nobody calls, of the whole program: 8 MB.
	return []byte(strings.NewReplacer("<!-- lines -->", figures.String(), "<!-- socket -->", socket.code()).Replace(string(read("index.html"))))
}

// figure is a line with a button that copies it.
const figure = `
    <figure>
      <figcaption id="%s-caption">%s</figcaption>
      <button type="button" class="copy" aria-describedby="%s-caption" hidden>Copy</button>
      %s
    </figure>`

// code is the line itself, and what the script needs to put another channel into it.
func (l line) code() string {
	escape := html.EscapeString
	return fmt.Sprintf(`<code id="%s" data-before="%s" data-after="%s" data-quote="%s">%s</code>`,
		l.ID, escape(l.Before), escape(l.After), l.Quote, escape(l.Before+l.Channel+l.After))
}

// static serves content that stays the same as long as the program runs.
func static(contentType string, content []byte) http.Handler {
	sum := sha256.Sum256(content)
	tag := `"` + hex.EncodeToString(sum[:12]) + `"`
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "this can only be read", http.StatusMethodNotAllowed)
			return
		}
		h := w.Header()
		h.Set("Content-Type", contentType)
		h.Set("Content-Security-Policy", policy(r.Host))
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cache-Control", "no-cache") // kept, and asked for each time
		h.Set("Etag", tag)
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
	})
}

// plainHost is a Host that a policy can name; an IPv6 address is none.
var plainHost = regexp.MustCompile(`^[A-Za-z0-9.-]+(:[0-9]+)?$`)

// policy lets the page load what lies beside it, and connect to where it came from. Older browsers do not count a
// WebSocket as 'self'. No script can make markup of text.
func policy(host string) string {
	connect := "'self'"
	if plainHost.MatchString(host) {
		connect += " ws://" + host + " wss://" + host
	}
	return "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src " + connect +
		"; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
}
