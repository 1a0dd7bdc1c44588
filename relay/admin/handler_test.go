package admin

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"sidecast/relay/stats"
	"sidecast/relay/trace"
)

const token = "correct horse"

// handler returns a [Handler] whose /readyz answers 503, like that of a
// draining relay.
func handler(token string, loopback bool) http.Handler {
	answer := func(status int) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) })
	}
	return Handler(Config{
		Registry: registry(new(stats.Stats)), Token: token, Loopback: loopback,
		Why:   func(WhyQuestion, io.Writer) error { return nil },
		Ready: answer(http.StatusServiceUnavailable), Live: answer(http.StatusOK),
		Trace: func(string) *trace.Follower { return nil },
		Explain: func(_ context.Context, channel string) *trace.Explanation {
			return &trace.Explanation{Channel: channel}
		},
		Console:   Console{Page: answer(http.StatusOK), Feed: answer(http.StatusOK), Watch: answer(http.StatusOK)},
		Publisher: Publisher{Stats: new(stats.Stats), Logger: slog.New(slog.DiscardHandler)},
	})
}

func TestAccess(t *testing.T) {
	const (
		open       = "open"       // not loopback, with a token
		unset      = "unset"      // not loopback, without a token
		loopback   = "loopback"   // with a token
		unsetLocal = "unsetLocal" // loopback, without a token
	)
	handlers := map[string]http.Handler{
		open: handler(token, false), unset: handler("", false), loopback: handler(token, true), unsetLocal: handler("", true),
	}
	tests := []struct {
		name    string
		handler string
		method  string
		url     string
		header  string // lines
		status  int
	}{
		// Paths that require no token.
		{"metrics", open, "GET", "http://10.1.2.3:9190/metrics", "", 200},
		{"metrics without a body", open, "HEAD", "http://10.1.2.3:9190/metrics", "", 200},
		{"live", unset, "GET", "http://relay.example/livez", "", 200},
		{"ready, with the status of its handler", unset, "GET", "http://relay.example/readyz", "", 503},
		{"an unknown path", open, "GET", "http://10.1.2.3:9190/", "", 404},
		{"a path below a known one", open, "GET", "http://10.1.2.3:9190/metrics/x", "", 404},

		// What the relay knows about a channel.
		{"explain, no token", open, "GET", "http://10.1.2.3:9190/explain?channel=a", "", 401},
		{"explain, no token is set", unset, "GET", "http://10.1.2.3:9190/explain?channel=a", "", 403},
		{"explain, the token", open, "GET", "http://10.1.2.3:9190/explain?channel=a", "Authorization: Bearer correct horse", 200},
		{"explain, loopback", unsetLocal, "GET", "http://localhost:9190/explain?channel=a", "", 200},
		{"explain, another page", unsetLocal, "GET", "http://localhost:9190/explain?channel=a", "Origin: https://evil.example", 403},
		{"explain, DNS rebinding", unsetLocal, "GET", "http://evil.example:9190/explain?channel=a", "", 403},
		{"explain, a POST", loopback, "POST", "http://localhost:9190/explain?channel=a", "Authorization: Bearer correct horse", 405},
		{"explain, no channel", unsetLocal, "GET", "http://localhost:9190/explain", "", 400},
		{"explain, two channels", unsetLocal, "GET", "http://localhost:9190/explain?channel=a&channel=b", "", 400},
		{"explain, an invalid query", unsetLocal, "GET", "http://localhost:9190/explain?channel=%zz", "", 400},

		{"trace, no token", open, "GET", "http://10.1.2.3:9190/trace?channel=a", "", 401},
		{"trace, no token is set", unset, "GET", "http://10.1.2.3:9190/trace?channel=a", "", 403},
		{"trace, another page", unsetLocal, "GET", "http://localhost:9190/trace?channel=a", "Origin: https://evil.example", 403},
		{"trace, no channel", unsetLocal, "GET", "http://localhost:9190/trace", "", 400},
		{"trace, without records", unsetLocal, "GET", "http://localhost:9190/trace?channel=a", "", 409},

		// Profiles.
		{"profile, no token", open, "GET", "http://10.1.2.3:9190/debug/pprof/", "", 401},
		{"profile, the token", open, "GET", "http://10.1.2.3:9190/debug/pprof/", "Authorization: Bearer correct horse", 200},
		{"profile, the scheme in lower case", open, "GET", "http://10.1.2.3/debug/pprof/heap", "Authorization: bearer correct horse", 200},
		{"profile, another token", open, "GET", "http://10.1.2.3:9190/debug/pprof/", "Authorization: Bearer wrong", 401},
		{"profile, a prefix of the token", open, "GET", "http://10.1.2.3:9190/debug/pprof/", "Authorization: Bearer correct", 401},
		{"profile, another scheme", open, "GET", "http://10.1.2.3:9190/debug/pprof/", "Authorization: Basic correct horse", 401},
		{"profile, the token without a scheme", open, "GET", "http://10.1.2.3:9190/debug/pprof/", "Authorization: correct horse", 401},
		{"profile, the token in the query", open, "GET", "http://10.1.2.3:9190/debug/pprof/?token=correct+horse", "", 401},
		{"command line", open, "GET", "http://10.1.2.3:9190/debug/pprof/cmdline", "", 401},
		{"CPU profile", open, "GET", "http://10.1.2.3:9190/debug/pprof/profile?seconds=1", "", 401},
		{"trace", open, "GET", "http://10.1.2.3:9190/debug/pprof/trace?seconds=1", "", 401},
		{"symbol", open, "GET", "http://10.1.2.3:9190/debug/pprof/symbol", "", 401},
		{"heap", open, "GET", "http://10.1.2.3:9190/debug/pprof/heap", "", 401},
		{"profile, no token configured", unset, "GET", "http://10.1.2.3:9190/debug/pprof/", "", 403},
		{"profile, an empty token, no token configured", unset, "GET", "http://10.1.2.3:9190/debug/pprof/", "Authorization: Bearer ", 403},
		{"profile on loopback", loopback, "GET", "http://127.0.0.1:9190/debug/pprof/goroutine", "", 200},
		{"profile on loopback, no token configured", unsetLocal, "GET", "http://127.0.0.1:9190/debug/pprof/cmdline", "", 200},
		{"a profile that does not exist", loopback, "GET", "http://127.0.0.1:9190/debug/pprof/nonsense", "", 404},

		// Answers about channels and users.
		{"why, no token", open, "GET", "http://10.1.2.3:9190/why?channel=a&from=1&to=2", "", 401},
		{"why, another token", open, "GET", "http://10.1.2.3:9190/why?channel=a&from=1&to=2", "Authorization: Bearer wrong", 401},
		{"why, the token", open, "GET", "http://10.1.2.3:9190/why?channel=a&from=1&to=2", "Authorization: Bearer correct horse", 200},
		{"why, no token configured", unset, "GET", "http://10.1.2.3:9190/why?channel=a&from=1&to=2", "", 403},
		{"why on loopback", loopback, "GET", "http://127.0.0.1:9190/why?channel=a&from=1&to=2", "", 200},
		{"why on loopback, a page of another host", loopback, "GET", "http://127.0.0.1:9190/why?channel=a&from=1&to=2", "Origin: https://evil.example", 403},
		{"why by DNS rebinding", loopback, "GET", "http://evil.example:9190/why?channel=a&from=1&to=2", "", 403},
		{"post to why", loopback, "POST", "http://127.0.0.1:9190/why?channel=a&from=1&to=2", "Authorization: Bearer correct horse", 405},
		{"why without a question", loopback, "GET", "http://127.0.0.1:9190/why", "", 400},
		// The console: its page is for everyone, what it shows is not, and
		// payloads and publishing need the token everywhere.
		{"the page", unset, "GET", "http://10.1.2.3:9190/console", "", 200},
		{"its script", open, "GET", "http://10.1.2.3:9190/console/console.js", "", 200},
		{"post to the page", open, "POST", "http://10.1.2.3:9190/console", "Authorization: Bearer correct horse", 405},
		{"feed, no token", open, "GET", "http://10.1.2.3:9190/console/feed", "", 401},
		{"feed, the token", open, "GET", "http://10.1.2.3:9190/console/feed", "Authorization: Bearer correct horse", 200},
		{"feed, another token", open, "GET", "http://10.1.2.3:9190/console/feed", "Authorization: Bearer wrong", 401},
		{"feed, the token in the query", open, "GET", "http://10.1.2.3:9190/console/feed?token=correct+horse", "", 401},
		{"feed, the token in a cookie", open, "GET", "http://10.1.2.3:9190/console/feed", "Cookie: token=correct horse", 401},
		{"feed, no token configured", unset, "GET", "http://10.1.2.3:9190/console/feed", "", 403},
		{"feed on loopback", loopback, "GET", "http://127.0.0.1:9190/console/feed", "", 200},
		{"post to the feed", open, "POST", "http://10.1.2.3:9190/console/feed", "Authorization: Bearer correct horse", 405},
		{"watch, no token", open, "GET", "http://10.1.2.3:9190/console/watch?channel=chat", "", 401},
		{"watch, the token", open, "GET", "http://10.1.2.3:9190/console/watch?channel=chat", "Authorization: Bearer correct horse", 200},
		{"watch on loopback, no token", loopback, "GET", "http://127.0.0.1:9190/console/watch?channel=chat", "", 401},
		{"watch on loopback, no token configured", unsetLocal, "GET", "http://127.0.0.1:9190/console/watch?channel=chat", "", 403},
		{"watch on loopback, the token", loopback, "GET", "http://127.0.0.1:9190/console/watch?channel=chat", "Authorization: Bearer correct horse", 200},
		{"publish, no token", loopback, "POST", "http://127.0.0.1:9190/console/publish?channel=chat", "", 401},
		{"publish, no token configured", unsetLocal, "POST", "http://127.0.0.1:9190/console/publish?channel=chat", "", 403},
		{"publish, the token, no channel", loopback, "POST", "http://127.0.0.1:9190/console/publish", "Authorization: Bearer correct horse", 400},
		{"publish with GET", loopback, "GET", "http://127.0.0.1:9190/console/publish?channel=chat", "Authorization: Bearer correct horse", 405},
		{"publish with GET, no token", loopback, "GET", "http://127.0.0.1:9190/console/publish?channel=chat", "", 401},

		// Other pages, in whose name a browser sends requests (CSRF).
		{"publish by the page itself", open, "POST", "http://10.1.2.3:9190/console/publish", "Authorization: Bearer correct horse\nOrigin: http://10.1.2.3:9190", 400},
		{"publish by the page itself behind a proxy", open, "POST", "http://relay:9190/console/publish", "Authorization: Bearer correct horse\nOrigin: https://console.example\nSec-Fetch-Site: same-origin", 400},
		{"publish by another page, with the token", open, "POST", "http://10.1.2.3:9190/console/publish", "Authorization: Bearer correct horse\nOrigin: https://evil.example", 403},
		{"publish by another page on another port", open, "POST", "http://10.1.2.3:9190/console/publish", "Authorization: Bearer correct horse\nOrigin: http://10.1.2.3", 403},
		{"publish by a page without an origin", open, "POST", "http://10.1.2.3:9190/console/publish", "Authorization: Bearer correct horse\nOrigin: null", 403},
		{"publish by a form of another page", loopback, "POST", "http://127.0.0.1:9190/console/publish?channel=chat", "Origin: https://evil.example\nSec-Fetch-Site: cross-site\nContent-Type: text/plain", 403},
		{"preflight of another page", open, "OPTIONS", "http://10.1.2.3:9190/console/publish", "Origin: https://evil.example\nAccess-Control-Request-Headers: authorization", 401},
		{"feed for another page", open, "GET", "http://10.1.2.3:9190/console/feed", "Authorization: Bearer correct horse\nSec-Fetch-Site: cross-site", 403},
		{"feed for another page of this machine", loopback, "GET", "http://127.0.0.1:9190/console/feed", "Origin: http://localhost:3000", 403},
		{"feed as an image on another page of this machine", loopback, "GET", "http://localhost:9190/console/feed", "Sec-Fetch-Site: same-site", 403},
		{"feed, the address entered by hand", loopback, "GET", "http://localhost:9190/console/feed", "Sec-Fetch-Site: none", 200},
		{"watch for another page, with the token", open, "GET", "http://10.1.2.3:9190/console/watch?channel=chat", "Authorization: Bearer correct horse\nOrigin: https://evil.example", 403},
		{"the page, rebinding", loopback, "GET", "http://evil.example:9190/console", "", 403},
		{"feed, rebinding", loopback, "GET", "http://evil.example:9190/console/feed", "Sec-Fetch-Site: same-origin", 403},
		{"feed, rebinding, not loopback", open, "GET", "http://evil.example:9190/console/feed", "Sec-Fetch-Site: same-origin", 401},
		{"publish, rebinding", loopback, "POST", "http://evil.example:9190/console/publish", "Sec-Fetch-Site: same-origin\nAuthorization: Bearer correct horse", 403},
		{"why, a page of another port of this machine", loopback, "GET", "http://localhost:9190/why?channel=a&from=1&to=2", "Sec-Fetch-Site: same-site", 403},
		{"explain, a page of another port of this machine", loopback, "GET", "http://localhost:9190/explain?channel=a", "Sec-Fetch-Site: same-site", 403},
		{"trace, a page of another port of this machine", loopback, "GET", "http://localhost:9190/trace?channel=a", "Sec-Fetch-Site: same-site", 403},
		{"trace, the same in an old browser", loopback, "GET", "http://localhost:9190/trace?channel=a", "Origin: http://localhost:3000", 403},
		{"trace, the page of the console", loopback, "GET", "http://localhost:9190/trace?channel=a", "Sec-Fetch-Site: same-origin", 409},
		{"trace without a body, for which nothing would end the stream", loopback, "HEAD", "http://localhost:9190/trace?channel=a", "", 405},
		{"profile, a page of another port of this machine", loopback, "GET", "http://localhost:9190/debug/pprof/goroutine", "Sec-Fetch-Site: same-site", 403},
		{"profile, a link in the list of profiles", loopback, "GET", "http://localhost:9190/debug/pprof/goroutine", "Sec-Fetch-Site: same-origin", 200},

		// Methods other than GET and HEAD.
		{"post, no token", open, "POST", "http://10.1.2.3:9190/metrics", "", 401},
		{"post on loopback, no token", loopback, "POST", "http://127.0.0.1:9190/debug/pprof/symbol", "", 401},
		{"post on loopback, no token configured", unsetLocal, "POST", "http://127.0.0.1:9190/debug/pprof/symbol", "", 403},
		{"post on loopback, the token", loopback, "POST", "http://127.0.0.1:9190/debug/pprof/symbol", "Authorization: Bearer correct horse", 200},
		{"post to a read-only path", open, "POST", "http://10.1.2.3:9190/metrics", "Authorization: Bearer correct horse", 405},
		{"delete a probe", open, "DELETE", "http://10.1.2.3:9190/readyz", "Authorization: Bearer correct horse", 405},
		{"preflight", loopback, "OPTIONS", "http://127.0.0.1:9190/metrics", "Origin: http://localhost:3000", 401},
		{"an unknown method", unset, "BREW", "http://10.1.2.3:9190/metrics", "", 403},

		// Host names of this machine.
		{"by name", loopback, "GET", "http://localhost:9190/metrics", "", 200},
		{"by name, no port", loopback, "GET", "http://localhost/metrics", "", 200},
		{"by name, in capitals and with a trailing dot", loopback, "GET", "http://LOCALHOST.:9190/metrics", "", 200},
		{"by a subdomain of localhost", loopback, "GET", "http://relay.localhost:9190/metrics", "", 200},
		{"by another loopback address", loopback, "GET", "http://127.8.9.1:9190/metrics", "", 200},
		{"by IPv6", loopback, "GET", "http://[::1]:9190/metrics", "", 200},
		{"by IPv6, no port", loopback, "GET", "http://[::1]/metrics", "", 200},
		{"by IPv4 in IPv6", loopback, "GET", "http://[::ffff:127.0.0.1]:9190/metrics", "", 200},

		// Pages whose host name resolves to this machine (DNS rebinding), and
		// other pages.
		{"rebinding", loopback, "GET", "http://evil.example:9190/metrics", "", 403},
		{"rebinding, live", loopback, "GET", "http://evil.example:9190/livez", "", 403},
		{"rebinding, the token", loopback, "GET", "http://evil.example:9190/metrics", "Authorization: Bearer correct horse", 403},
		{"a name that begins with localhost", loopback, "GET", "http://localhost.evil.example/metrics", "", 403},
		{"a name that ends with localhost", loopback, "GET", "http://evillocalhost/metrics", "", 403},
		{"a name that begins with an address", loopback, "GET", "http://127.0.0.1.evil.example/metrics", "", 403},
		{"another address", loopback, "GET", "http://192.168.1.2:9190/metrics", "", 403},
		{"the unspecified address", loopback, "GET", "http://0.0.0.0:9190/metrics", "", 403},
		{"a page of this machine", loopback, "GET", "http://127.0.0.1:9190/metrics", "Origin: http://localhost:3000", 200},
		{"a page of another host", loopback, "GET", "http://127.0.0.1:9190/metrics", "Origin: https://evil.example", 403},
		{"a page of a host whose name begins with localhost", loopback, "GET", "http://127.0.0.1:9190/metrics", "Origin: https://localhost.evil.example", 403},
		{"a page with an opaque origin", loopback, "GET", "http://127.0.0.1:9190/metrics", "Origin: null", 403},
		{"two origins", loopback, "GET", "http://127.0.0.1:9190/metrics", "Origin: http://localhost\nOrigin: https://evil.example", 403},
		{"an image in a page of another site", loopback, "GET", "http://127.0.0.1:9190/debug/pprof/profile", "Sec-Fetch-Site: cross-site", 403},
		{"an address entered by hand", loopback, "GET", "http://127.0.0.1:9190/metrics", "Sec-Fetch-Site: none", 200},
		{"a page of another host, not loopback: metrics are not secret, and the page cannot read the response", open, "GET", "http://10.1.2.3:9190/metrics", "Origin: https://evil.example", 200},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := httptest.NewRequestWithContext(t.Context(), tt.method, tt.url, nil)
			for line := range strings.SplitSeq(tt.header, "\n") {
				if name, value, ok := strings.Cut(line, ": "); ok {
					r.Header.Add(name, value)
				}
			}
			w := httptest.NewRecorder()
			handlers[tt.handler].ServeHTTP(w, r)
			if w.Code != tt.status {
				t.Errorf("%s %s = %d %s, want %d", tt.method, tt.url, w.Code, w.Body, tt.status)
			}
			if w.Header().Get("X-Content-Type-Options") != "nosniff" {
				t.Error("the header X-Content-Type-Options: nosniff is missing")
			}
			if challenge := w.Header().Get("WWW-Authenticate"); (challenge != "") != (w.Code == 401) {
				t.Errorf("WWW-Authenticate: %q", challenge)
			}
			if strings.Contains(w.Body.String(), "correct horse") || w.Header().Get("Access-Control-Allow-Origin") != "" {
				t.Error("the response contains the token, or allows other origins to read it")
			}
		})
	}
}

// TestHandler sends requests over a real connection.
func TestHandler(t *testing.T) {
	server := httptest.NewServer(handler("", true))
	defer server.Close()
	for _, tt := range []struct{ path, contains string }{
		{"/metrics", "\nsidecast_redis_up 0\n"},
		{"/metrics", "# HELP sidecast_connections Clients that are connected now.\n"},
		{"/nothing", "not found; available: /console, /metrics, /livez, /readyz, /publish, /why, /explain, /trace and /debug/pprof/\n"},
		{"/debug/pprof/goroutine?debug=1", "goroutine profile: total"},
	} {
		response, err := http.Get(server.URL + tt.path)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(response.Body)
		if err != nil || !strings.Contains(string(body), tt.contains) {
			t.Errorf("%s = %v %s, want %q", tt.path, err, body, tt.contains)
		}
		_ = response.Body.Close()
	}
}
