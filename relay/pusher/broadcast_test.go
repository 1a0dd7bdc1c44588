package pusher

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"sidecast/relay/accept"
	"sidecast/relay/access"
	"sidecast/relay/auth"
	"sidecast/relay/protocol"
	"sidecast/relay/stats"
)

// A fixture is a handler with an application that answers all questions alike.
type fixture struct {
	handler *BroadcastAuth
	stats   stats.Stats
	log     bytes.Buffer
	asked   int
	member  string // channel_data of presence channels
	code    protocol.Code
}

func newFixture() *fixture {
	f := &fixture{member: `{"user_id":42,"user_info":{"name":"<Ann> \u00fc \"x\" \/"}}`}
	f.handler = NewBroadcastAuth(BroadcastConfig{
		App: testApp,
		Relayed: (&access.Rules{
			Names:    access.NewNames("", "sidecast:"),
			Channels: access.Patterns{access.MustPattern("private-*"), access.MustPattern("presence-a*"), access.MustPattern("news")},
		}).Relayed,
		Authorize: func(_ context.Context, _ *http.Request, _, channel string) (string, protocol.Code) {
			f.asked++
			if f.code != protocol.CodeOK {
				return "", f.code
			}
			if access.KindOf(channel).Presence {
				return f.member, protocol.CodeOK
			}
			return "", protocol.CodeOK
		},
		Refusals: accept.NewRefusals(&f.stats, slog.New(slog.NewTextHandler(&f.log, nil)), nil),
		Remote:   func(*http.Request) string { return "203.0.113.9" },
	})
	return f
}

// send sends a request with headers, which are pairs of a name and a value.
func (f *fixture) send(method, target, body string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	f.handler.ServeHTTP(w, r)
	return w
}

const formType, jsonType = "application/x-www-form-urlencoded", "application/json; charset=utf-8"

var socket = testApp.SocketID(4711)

// TestBroadcastAuth sends each kind of request. Only the questions that a client
// of this relay may ask reach the application.
func TestBroadcastAuth(t *testing.T) {
	form := func(socket, channel string) string { return "socket_id=" + socket + "&channel_name=" + channel }
	stranger := access.NewApp("1", testApp.Key, "another secret of 20 b").SocketID(4711)
	for _, tt := range []struct {
		comment, method, target, body string
		headers                       []string
		code                          protocol.Code // what the application answers
		status                        int
		want                          string // part of the answer; for 200 the channel
		asked, logged                 bool
	}{
		{comment: "a form, as pusher-js sends it", body: form(socket, "private-a"), status: 200, want: "private-a", asked: true},
		{comment: "a presence channel", body: form(socket, "presence-a"), status: 200, want: "presence-a", asked: true},
		{comment: "JSON, as axios sends it", body: `{"socket_id":"` + socket + `","channel_name":"private-a","x":1}`,
			headers: []string{"Content-Type", jsonType}, status: 200, want: "private-a", asked: true},
		{comment: "a query, as Laravel allows it", method: "GET", target: "/auth?" + form(socket, "private-a"), status: 200, want: "private-a", asked: true},
		{comment: "other fields", body: form(socket, "private-a") + "&token=x&channel_name=private-b", status: 200, want: "private-a", asked: true},
		{comment: "a name with other characters", body: form(socket, "private-%C3%BC%20%26"), status: 200, want: "private-\u00fc &", asked: true},

		{comment: "the application refuses", body: form(socket, "private-a"), code: protocol.CodeForbidden, status: 403, want: "does not allow", asked: true},
		{comment: "the application gives no answer", body: form(socket, "private-a"), code: protocol.CodeUnavailable, status: 503, want: "try again", asked: true},

		{comment: "a loop", body: form(socket, "private-a"), headers: []string{auth.ForwardedHeader, "1"}, status: 508, want: "SIDECAST_BROADCAST_AUTH_URL", logged: true},
		{comment: "a query with POST", target: "/auth?" + form(socket, "private-a"), status: 400, want: "missing", logged: true},
		{comment: "no fields", status: 400, want: "missing", logged: true},
		{comment: "no channel", body: "socket_id=" + socket, status: 400, want: "missing", logged: true},
		{comment: "a form that cannot be read", body: "socket_id=%zz", status: 400, want: "cannot be read", logged: true},
		{comment: "JSON that cannot be read", body: "{", headers: []string{"Content-Type", jsonType}, status: 400, want: "cannot be read", logged: true},
		{comment: "JSON with numbers", body: `{"socket_id":1.1,"channel_name":"private-a"}`, headers: []string{"Content-Type", jsonType}, status: 400, want: "cannot be read", logged: true},
		{comment: "another type", body: "x", headers: []string{"Content-Type", "text/plain"}, status: 400, want: "missing", logged: true},
		{comment: "a large form", body: form(socket, "private-a") + "&x=" + strings.Repeat("x", maxQuestionBytes), status: 400, want: "cannot be read", logged: true},
		{comment: "large JSON", body: `{"x":"` + strings.Repeat("x", maxQuestionBytes) + `"}`, headers: []string{"Content-Type", jsonType}, status: 400, want: "cannot be read", logged: true},
		{comment: "more after JSON", body: `{"socket_id":"` + socket + `","channel_name":"private-a"} x`, headers: []string{"Content-Type", jsonType}, status: 400, want: "cannot be read", logged: true},
		{comment: "large white space after JSON", body: `{"socket_id":"` + socket + `","channel_name":"private-a"}` + strings.Repeat(" ", maxQuestionBytes), headers: []string{"Content-Type", jsonType}, status: 400, want: "cannot be read", logged: true},
		{comment: "a query and a body with GET", method: "GET", target: "/auth?" + form(socket, "private-a"), body: "x", status: 400, want: "cannot be read", logged: true},
		{comment: "PUT", method: "PUT", body: form(socket, "private-a"), status: 405, want: "POST", logged: true},
		{comment: "HEAD", method: "HEAD", target: "/auth?" + form(socket, "private-a"), status: 405, want: "POST", logged: true},

		{comment: "a socket id of another server", body: form(stranger, "private-a"), status: 403, want: "socket id", logged: true},
		{comment: "a socket id that was made up", body: form("1234.1234", "private-a"), status: 403, want: "socket id", logged: true},
		{comment: "a socket id with a suffix", body: form(socket+":private-b", "private-a"), status: 403, want: "socket id", logged: true},
		{comment: "a public channel", body: form(socket, "news"), status: 403, want: "not private", logged: true},
		{comment: "the channel of a user", body: form(socket, "%23server-to-user-1"), status: 403, want: "not private", logged: true},
		{comment: "another case", body: form(socket, "Private-a"), status: 403, want: "not private", logged: true},
		{comment: "an encrypted channel", body: form(socket, "private-encrypted-a"), status: 403, want: "encrypted", logged: true},
		{comment: "an encrypted cache channel", body: form(socket, "private-encrypted-cache-a"), status: 403, want: "encrypted", logged: true},
		{comment: "a channel that is not relayed", body: form(socket, "presence-b"), status: 403, want: "SIDECAST_CHANNELS", logged: true},
		{comment: "a name with a line break", body: form(socket, "private-a%0Ab"), status: 403, want: "not valid", logged: true},
		{comment: "a name that looks like another one with channel_data", body: form(socket, "private-a:%7B%22user_id%22:1%7D"), status: 403, want: "not valid", logged: true},
		{comment: "a long name", body: form(socket, "private-"+strings.Repeat("x", 1000)), status: 403, want: "not valid", logged: true},
	} {
		t.Run(tt.comment, func(t *testing.T) {
			f := newFixture()
			f.code = tt.code
			if tt.method == "" {
				tt.method = http.MethodPost
			}
			if tt.target == "" {
				tt.target = "/auth"
			}
			headers := append([]string{"Content-Type", formType, "Origin", "https://app.example.com", "Cookie", "s=canary"}, tt.headers...)
			w := f.send(tt.method, tt.target, tt.body, headers...)
			body := w.Body.String()
			if w.Code != tt.status || (f.asked > 0) != tt.asked {
				t.Fatalf("%d %s, asked: %d; want %d, %v", w.Code, body, f.asked, tt.status, tt.asked)
			}
			if tt.status == http.StatusOK {
				f.wantSigned(t, w.Body.Bytes(), tt.want)
			} else if !strings.Contains(body, tt.want) || !json.Valid([]byte(body)) || strings.Contains(body, "auth\"") {
				t.Errorf("the answer is %s, want %q", body, tt.want)
			}
			if log := f.log.String(); (log != "") != tt.logged || strings.Contains(log, "canary") || strings.Contains(log, "private-a") {
				t.Errorf("the log is %q", log)
			}
			for name, want := range map[string]string{
				"Access-Control-Allow-Origin": "https://app.example.com", "Access-Control-Allow-Credentials": "true", "Vary": "Origin",
				"Cache-Control": "no-store", "Content-Type": "application/json", "X-Content-Type-Options": "nosniff",
				"Retry-After": map[bool]string{true: "5"}[tt.status == 503], "Allow": map[bool]string{true: "GET, OPTIONS, POST"}[tt.status == 405],
			} {
				if got := w.Header().Get(name); got != want {
					t.Errorf("%s: %q, want %q", name, got, want)
				}
			}
		})
	}
}

// wantSigned checks that the answer opens the channel to the socket, and that a
// page gets the text that was signed.
func (f *fixture) wantSigned(t *testing.T, body []byte, channel string) {
	t.Helper()
	var answer map[string]string // channel_data is a string
	if err := json.Unmarshal(body, &answer); err != nil {
		t.Fatal(err)
	}
	data, hasData := answer["channel_data"]
	presence := access.KindOf(channel).Presence
	if want := testApp.SignChannel(socket, channel, data); answer["auth"] != want || hasData != presence || presence && data != f.member {
		t.Errorf("%s, want auth %s and channel_data %v %s", body, want, presence, f.member)
	}
}

// TestBroadcastPreflight checks that a page of another origin may send the
// headers of Laravel Echo.
func TestBroadcastPreflight(t *testing.T) {
	f := newFixture()
	w := f.send(http.MethodOptions, "/auth", "", "Origin", "https://app.example.com", "Access-Control-Request-Method", "POST",
		"Access-Control-Request-Headers", "authorization,content-type,x-csrf-token,x-socket-id,x-xsrf-token")
	if w.Code != http.StatusNoContent || f.asked != 0 {
		t.Errorf("%d, asked: %d", w.Code, f.asked)
	}
	for name, want := range map[string]string{
		"Access-Control-Allow-Origin": "https://app.example.com", "Access-Control-Allow-Credentials": "true",
		"Access-Control-Allow-Methods": "GET, POST",
		"Access-Control-Allow-Headers": "Authorization, Content-Type, X-CSRF-TOKEN, X-Requested-With, X-Socket-ID, X-XSRF-TOKEN",
	} {
		if got := w.Header().Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if w := f.send(http.MethodPost, "/auth", ""); w.Header().Get("Access-Control-Allow-Origin") != "" {
		t.Error("a request without an origin gets CORS headers")
	}
}

// deadlineWriter records the deadline that a handler sets.
type deadlineWriter struct {
	*httptest.ResponseRecorder
	deadline time.Time
}

func (w *deadlineWriter) SetWriteDeadline(deadline time.Time) error {
	w.deadline = deadline
	return nil
}

// TestSlowBroadcastAnswer checks that a client gets an answer for which the
// application needs longer than the server allows: the handler sets a later
// deadline before it waits.
func TestSlowBroadcastAnswer(t *testing.T) {
	f := newFixture()
	w := &deadlineWriter{ResponseRecorder: httptest.NewRecorder()}
	var left time.Duration
	f.handler.cfg.Authorize = func(context.Context, *http.Request, string, string) (string, protocol.Code) {
		left = time.Until(w.deadline)
		return "", protocol.CodeOK
	}
	f.handler.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/?channel_name=private-a&socket_id="+socket, nil))
	if w.Code != http.StatusOK || left < 10*time.Second {
		t.Errorf("%d, with %v for the application and the answer", w.Code, left)
	}
}

// TestBroadcastLogIsLimited checks that hostile clients cannot fill the disk,
// and that their requests are counted.
func TestBroadcastLogIsLimited(t *testing.T) {
	f := newFixture()
	for range 1000 {
		f.send(http.MethodPost, "/auth", "socket_id=1.1&channel_name=private-a", "Content-Type", formType)
	}
	if lines := strings.Count(f.log.String(), "\n"); lines < 10 || lines > 20 {
		t.Errorf("1,000 requests cause %d log lines", lines)
	}
	if n := f.stats.Rejected[stats.RejectForbidden].Load(); n != 1000 {
		t.Errorf("%d requests are counted", n)
	}
}
