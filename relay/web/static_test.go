package web

import (
	"compress/gzip"
	"io"
	"io/fs"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
)

func TestServe(t *testing.T) {
	demo := Demo(Page{RedisAddr: "127.0.0.1:6379"})
	tests := []struct {
		name, method, path string
		status             int
		contentType        string
	}{
		{"the page", "GET", "/", 200, "text/html; charset=utf-8"},
		{"the page, without its body", "HEAD", "/", 200, "text/html; charset=utf-8"},
		{"the script", "GET", "/app.js", 200, "text/javascript; charset=utf-8"},
		{"its log module", "GET", "/log.js", 200, "text/javascript; charset=utf-8"},
		{"its examples module", "GET", "/lines.js", 200, "text/javascript; charset=utf-8"},
		{"the style", "GET", "/style.css", 200, "text/css; charset=utf-8"},
		{"the icon", "GET", "/icon.svg", 200, "image/svg+xml"},
		{"the template of the page", "GET", "/index.html", 404, "text/plain; charset=utf-8"},
		{"the folder", "GET", "/demo/", 404, "text/plain; charset=utf-8"},
		{"an unknown file", "GET", "/favicon.ico", 404, "text/plain; charset=utf-8"},
		{"another method", "POST", "/", 405, "text/plain; charset=utf-8"},
	}
	for _, tt := range tests {
		t.Run(tt.method+" "+tt.path, func(t *testing.T) {
			w := httptest.NewRecorder()
			demo.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), tt.method, "http://localhost:8080"+tt.path, nil))
			if w.Code != tt.status || w.Header().Get("Content-Type") != tt.contentType {
				t.Errorf("%s: %d %s, want %d %s", tt.name, w.Code, w.Header().Get("Content-Type"), tt.status, tt.contentType)
			}
			if w.Header().Get("X-Content-Type-Options") != "nosniff" {
				t.Error("the header X-Content-Type-Options: nosniff is missing")
			}
			if tt.method == "HEAD" && w.Body.Len() > 0 {
				t.Error("the response to HEAD has a body")
			}
			if w.Code != 200 {
				return
			}
			if got := w.Header().Get("Content-Security-Policy"); got != contentSecurityPolicy("localhost:8080") {
				t.Errorf("the policy is %q", got)
			}
			again := httptest.NewRequestWithContext(t.Context(), tt.method, "http://localhost:8080"+tt.path, nil)
			again.Header.Set("If-None-Match", w.Header().Get("Etag"))
			w = httptest.NewRecorder()
			if demo.ServeHTTP(w, again); w.Code != 304 {
				t.Errorf("a conditional request returned %d, want 304", w.Code)
			}
		})
	}
}

// Content is compressed for clients that accept it, and each form has a tag of
// its own.
func TestCompression(t *testing.T) {
	content := strings.Repeat("let x\n", 100)
	handler := static("text/javascript", []byte(content))
	get := func(accept, tag string) *httptest.ResponseRecorder {
		r := httptest.NewRequestWithContext(t.Context(), "GET", "/", nil)
		r.Header.Set("Accept-Encoding", accept)
		r.Header.Set("If-None-Match", tag)
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		return w
	}
	tags := make(map[bool]string)
	for accept, want := range map[string]bool{
		"gzip": true, "gzip, deflate, br, zstd": true, "br;q=1.0, GZIP ;q=0.8": true, "gzip;q=0.01": true,
		"": false, "identity": false, "gzip;q=0": false, "br, gzip; q=0.000": false, "x-gzip": false,
	} {
		w := get(accept, "")
		body := io.Reader(w.Body)
		if want {
			body, _ = gzip.NewReader(w.Body)
		}
		got, err := io.ReadAll(body)
		if compressed := w.Header().Get("Content-Encoding") == "gzip"; compressed != want || string(got) != content || err != nil {
			t.Errorf("%q: compressed %v, %d bytes, %v", accept, compressed, len(got), err)
		}
		if w.Header().Get("Vary") != "Accept-Encoding" {
			t.Errorf("%q: no Vary", accept)
		}
		tags[want] = w.Header().Get("Etag")
	}
	for compressed, accept := range map[bool]string{true: "gzip", false: "identity"} {
		if same, other := get(accept, tags[compressed]).Code, get(accept, tags[!compressed]).Code; same != 304 || other != 200 {
			t.Errorf("%s: %d with its own tag, %d with the other one", accept, same, other)
		}
	}
}

// The policy contains the Host only if it is a plain host name with an optional
// port.
func TestPolicy(t *testing.T) {
	tests := []struct{ host, connect string }{
		{"localhost:8080", "'self' ws://localhost:8080 wss://localhost:8080"},
		{"push.example.com", "'self' ws://push.example.com wss://push.example.com"},
		{"[::1]:8080", "'self'"},
		{"", "'self'"},
		{"x; script-src *", "'self'"},
		{"x *", "'self'"},
		{"*", "'self'"},
		{"x:80\r\nx", "'self'"},
	}
	for _, tt := range tests {
		if got := contentSecurityPolicy(tt.host); !strings.Contains(got, "; connect-src "+tt.connect+"; base-uri") {
			t.Errorf("for %q: %s", tt.host, got)
		}
	}
}

// The markup contains complete examples even before the script runs, and also
// if no Redis address is known.
func TestExamplesInMarkup(t *testing.T) {
	tests := []struct {
		redis string
		want  []string
	}{
		{"127.0.0.1:41234", []string{">redis-cli -p 41234 publish chat hello<", ">go run . publish chat hello<",
			"$redis-&gt;connect(&#39;127.0.0.1&#39;, 41234);\n$redis-&gt;publish(&#39;chat&#39;, &#39;hello&#39;);<"}},
		{"[::1]:6379", []string{">redis-cli -p 6379 -h ::1 publish chat hello<", "connect(&#39;::1&#39;, 6379)"}},
		{"", []string{">redis-cli publish chat hello<", ">sidecast publish chat hello<", "connect(&#39;127.0.0.1&#39;, 6379)"}},
	}
	for _, tt := range tests {
		got := string(renderIndex(Page{RedisAddr: tt.redis}))
		for _, want := range tt.want {
			if !strings.Contains(got, want) {
				t.Errorf("for a Redis at %q, the page does not contain %s:\n%s", tt.redis, want, got)
			}
		}
	}
}

// The page loads nothing from other hosts and uses no absolute paths.
func TestSelfContained(t *testing.T) {
	problems := map[string]*regexp.Regexp{
		"names another host":     regexp.MustCompile(`(?i)https?://|["'(]//`),
		"names an absolute path": regexp.MustCompile(`(?i)(href|src|from|url\()\s*=?\s*["'(]?/`),
		"has an inline style":    regexp.MustCompile(`(?i)\sstyle=|<style`),
		"has an inline script":   regexp.MustCompile(`(?i)\son[a-z]+="|<script(?:[^>]*[^>c]>|>)[^<]`),
		"turns text into markup": regexp.MustCompile(`innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b`),
	}
	err := fs.WalkDir(files, "demo", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := fs.ReadFile(files, path)
		if err != nil {
			return err
		}
		text := strings.ReplaceAll(string(content), `xmlns="http://www.w3.org/2000/svg"`, "")
		for problem, pattern := range problems {
			if found := pattern.FindString(text); found != "" {
				t.Errorf("%s %s: %s", path, problem, found)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
