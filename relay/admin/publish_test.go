package admin

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"

	"sidecast/relay/protocol"
	"sidecast/relay/stats"
)

const (
	publishToken = "a token to publish"
	maxPayload   = 1000
)

// A backend records what is published.
type backend struct {
	mu        sync.Mutex
	published []string // channel and payload; guarded by mu
	failAt    int      // the number of the message that fails, from 1; guarded by mu
}

func (b *backend) publish(_ context.Context, channel string, payload []byte) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.published)+1 == b.failAt {
		return errors.New("redis is unavailable")
	}
	b.published = append(b.published, channel+"="+string(payload))
	return nil
}

// publishing returns a [Handler] that publishes to b, with two tokens: the
// admin's and that for publishing.
func publishing(b *backend, counters *stats.Stats, log io.Writer, loopback bool) http.Handler {
	return Handler(Config{
		Registry: registry(counters), Ready: http.NotFoundHandler(), Live: http.NotFoundHandler(), Token: token, Loopback: loopback,
		Publisher: Publisher{
			Token: publishToken, MaxPayload: maxPayload, Publish: b.publish, Stats: counters,
			Logger: slog.New(slog.NewTextHandler(log, nil)),
			Relayed: func(channel string) protocol.Code {
				switch {
				case strings.HasPrefix(channel, "sidecast:"), channel == "":
					return protocol.CodeBadChannel
				case strings.HasPrefix(channel, "other"):
					return protocol.CodeForbidden
				}
				return protocol.CodeOK
			},
		},
	})
}

func TestPublish(t *testing.T) {
	const bearer = "Authorization: Bearer " + publishToken
	hundred := strings.TrimSuffix(strings.Repeat("channel=c%d&", 100), "&")
	numbers := make([]any, 100)
	for i := range numbers {
		numbers[i] = i
	}
	hundred = fmt.Sprintf(hundred, numbers...)
	tests := []struct {
		name   string
		method string
		query  string
		header string // lines
		body   string
		status int
		want   string              // what is published; for an error, a part of the answer
		result stats.PublishResult // that is counted
	}{
		{"one channel", "POST", "channel=chat", bearer, "hello", 200, "chat=hello", stats.PublishAccepted},
		{"two channels, in their order", "POST", "channel=b&channel=a", bearer, "x", 200, "b=x a=x", stats.PublishAccepted},
		{"a channel twice counts once", "POST", "channel=a&channel=b&channel=a", bearer, "x", 200, "a=x b=x", stats.PublishAccepted},
		{"an empty message", "POST", "channel=chat", bearer, "", 200, "chat=", stats.PublishAccepted},
		{"the largest message", "POST", "channel=chat", bearer, strings.Repeat("x", maxPayload), 200, "chat=" + strings.Repeat("x", maxPayload), stats.PublishAccepted},
		{"a body that looks like a form is not parsed", "POST", "channel=chat", bearer + "\nContent-Type: application/x-www-form-urlencoded", "channel=other&a=%00", 200, "chat=channel=other&a=%00", stats.PublishAccepted},
		{"a name that needs encoding", "POST", "channel=" + url.QueryEscape("ä +&=%"), bearer, "x", 200, "ä +&=%=x", stats.PublishAccepted},
		{"other parameters are ignored", "POST", "channel=chat&x=1", bearer, "x", 200, "chat=x", stats.PublishAccepted},

		{"no token", "POST", "channel=chat", "", "x", 401, "SIDECAST_PUBLISH_TOKEN", stats.PublishUnauthorized},
		{"another token", "POST", "channel=chat", "Authorization: Bearer wrong", "x", 401, "SIDECAST_PUBLISH_TOKEN", stats.PublishUnauthorized},
		{"the admin's token", "POST", "channel=chat", "Authorization: Bearer " + token, "x", 401, "SIDECAST_PUBLISH_TOKEN", stats.PublishUnauthorized},
		{"an empty token", "POST", "channel=chat", "Authorization: Bearer ", "x", 401, "SIDECAST_PUBLISH_TOKEN", stats.PublishUnauthorized},
		{"the beginning of the token", "POST", "channel=chat", "Authorization: Bearer a token", "x", 401, "SIDECAST_PUBLISH_TOKEN", stats.PublishUnauthorized},
		{"another scheme", "POST", "channel=chat", "Authorization: Basic " + publishToken, "x", 401, "SIDECAST_PUBLISH_TOKEN", stats.PublishUnauthorized},
		{"the token in the query", "POST", "channel=chat&token=" + url.QueryEscape(publishToken), "", "x", 401, "SIDECAST_PUBLISH_TOKEN", stats.PublishUnauthorized},
		{"without a token, nobody learns which channels exist", "POST", "channel=other", "", "x", 401, "SIDECAST_PUBLISH_TOKEN", stats.PublishUnauthorized},

		{"a page of another host", "POST", "channel=chat", bearer + "\nOrigin: https://evil.example", "x", 403, "web pages", stats.PublishOrigin},
		{"a page without an origin of its own", "POST", "channel=chat", bearer + "\nOrigin: null", "x", 403, "web pages", stats.PublishOrigin},
		{"an empty origin", "POST", "channel=chat", bearer + "\nOrigin: ", "x", 403, "web pages", stats.PublishOrigin},
		{"a page of the relay itself", "POST", "channel=chat", bearer + "\nOrigin: http://10.1.2.3:9190", "x", 403, "web pages", stats.PublishOrigin},
		{"a preflight", "OPTIONS", "channel=chat", "Origin: http://10.1.2.3:9190", "", 403, "web pages", stats.PublishOrigin},

		{"another method", "GET", "channel=chat", bearer, "", 405, "only POST", stats.PublishInvalid},
		{"a method that seems to fit", "PUT", "channel=chat", bearer, "x", 405, "only POST", stats.PublishInvalid},
		{"no channel", "POST", "", bearer, "x", 400, "name the channel in the URL", stats.PublishInvalid},
		{"the channel in the body", "POST", "", bearer, "channel=chat", 400, "name the channel in the URL", stats.PublishInvalid},
		{"an empty channel", "POST", "channel=", bearer, "x", 400, "reserved", stats.PublishInvalid},
		{"a reserved name", "POST", "channel=sidecast:control", bearer, "x", 400, "reserved", stats.PublishInvalid},
		{"a reserved name after a good one: nothing is published", "POST", "channel=chat&channel=sidecast:x", bearer, "x", 400, "reserved", stats.PublishInvalid},
		{"a query that cannot be read", "POST", "channel=%zz&channel=chat", bearer, "x", 400, "percent-encode", stats.PublishInvalid},
		{"a semicolon, which many programs read as &", "POST", "channel=a;channel=b", bearer, "x", 400, "percent-encode", stats.PublishInvalid},
		{"a channel that nobody receives", "POST", "channel=chat&channel=other", bearer, "x", 422, "matches no pattern", stats.PublishInvalid},
		{"101 channels", "POST", hundred + "&channel=d", bearer, "x", 400, "101 channels", stats.PublishInvalid},
		{"a message that is too large", "POST", "channel=chat", bearer, strings.Repeat("x", maxPayload+1), 413, "larger than 1000 bytes", stats.PublishTooLarge},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, chunked := range []bool{false, true} {
				var published backend
				counters := new(stats.Stats)
				r := httptest.NewRequestWithContext(t.Context(), tt.method, "http://10.1.2.3:9190/publish?"+tt.query, strings.NewReader(tt.body))
				if chunked {
					r.ContentLength = -1
				}
				for line := range strings.SplitSeq(tt.header, "\n") {
					if name, value, ok := strings.Cut(line, ": "); ok {
						r.Header.Add(name, value)
					}
				}
				w := httptest.NewRecorder()
				publishing(&published, counters, io.Discard, false).ServeHTTP(w, r)
				wantAnswer(t, w, &published, tt.status, tt.want)
				if n := counters.HTTPPublishes[tt.result].Load(); n != 1 {
					t.Errorf("%s is counted %d times, want once", stats.PublishResults[tt.result], n)
				}
			}
		})
	}
	var published backend
	r := httptest.NewRequestWithContext(t.Context(), "POST", "http://10.1.2.3:9190/publish?"+hundred, strings.NewReader("x"))
	r.Header.Set("Authorization", "Bearer "+publishToken)
	w := httptest.NewRecorder()
	publishing(&published, new(stats.Stats), io.Discard, false).ServeHTTP(w, r)
	if w.Body.String() != "{\"published\":100}\n" || len(published.published) != 100 {
		t.Errorf("100 channels: %d %s, %d messages", w.Code, w.Body, len(published.published))
	}
}

// wantAnswer checks the answer to one request.
func wantAnswer(t *testing.T, w *httptest.ResponseRecorder, b *backend, status int, want string) {
	t.Helper()
	all := strings.Join(b.published, " ")
	if status == http.StatusOK {
		body := fmt.Sprintf("{\"published\":%d}\n", len(b.published))
		if w.Code != status || all != want || w.Body.String() != body || w.Header().Get("Content-Type") != "application/json" {
			t.Errorf("%d %s, published %.50q, want %.50q", w.Code, w.Body, all, want)
		}
	} else if w.Code != status || !strings.Contains(w.Body.String(), want) || all != "" {
		t.Errorf("%d %s, want %d and %q; published %.50q, want nothing", w.Code, w.Body, status, want, all)
	}
	if (w.Header().Get("WWW-Authenticate") != "") != (status == 401) || (w.Header().Get("Allow") != "") != (status == 405) {
		t.Errorf("%d with the headers %v", status, w.Header())
	}
	if w.Header().Get("X-Content-Type-Options") != "nosniff" || w.Header().Get("Access-Control-Allow-Origin") != "" ||
		strings.Contains(w.Body.String(), publishToken) {
		t.Errorf("answered %s with the headers %v", w.Body, w.Header())
	}
}

// If Redis does not accept the message on one of the channels, the answer says
// so, and the others are not tried. The reason is in the log, not in the answer:
// the text of an error names servers and keys.
func TestPublishFails(t *testing.T) {
	published, counters := backend{failAt: 2}, new(stats.Stats)
	r := httptest.NewRequestWithContext(t.Context(), "POST", "http://10.1.2.3:9190/publish?channel=a&channel=b&channel=c", strings.NewReader("x"))
	r.Header.Set("Authorization", "Bearer "+publishToken)
	w := httptest.NewRecorder()
	var log strings.Builder
	publishing(&published, counters, &log, false).ServeHTTP(w, r)
	want := "published to 1 of 3 channels: Redis has not confirmed the message on \"b\", which may have been delivered; " +
		"the relay's log says why\n"
	if w.Code != http.StatusServiceUnavailable || w.Body.String() != want || len(published.published) != 1 {
		t.Errorf("%d %s, published %q", w.Code, w.Body, published.published)
	}
	if !strings.Contains(log.String(), "redis is unavailable") {
		t.Errorf("logged %s", log.String())
	}
	if n := counters.HTTPPublishes[stats.PublishUnavailable].Load(); n != 1 {
		t.Errorf("counted %d times", n)
	}
}

// Without a token in the settings, the path does not exist, whatever the
// request has.
func TestPublishIsOff(t *testing.T) {
	for _, authorization := range []string{"", "Bearer ", "Bearer " + token} {
		r := httptest.NewRequestWithContext(t.Context(), "POST", "http://127.0.0.1:9190/publish?channel=chat", strings.NewReader("x"))
		r.Header.Set("Authorization", authorization)
		w := httptest.NewRecorder()
		handler(token, true).ServeHTTP(w, r)
		if w.Code != http.StatusNotFound || !strings.Contains(w.Body.String(), "SIDECAST_PUBLISH_TOKEN") {
			t.Errorf("with %q: %d %s", authorization, w.Code, w.Body)
		}
	}
}

// The token to publish opens nothing else, and a listener that is loopback is
// not open without it.
func TestPublishTokenOpensNothingElse(t *testing.T) {
	for _, loopback := range []bool{false, true} {
		h := publishing(new(backend), new(stats.Stats), io.Discard, loopback)
		for _, request := range []struct {
			method, path, token string
			status              int
		}{
			{"POST", "/debug/pprof/symbol", publishToken, 401},
			{"POST", "/publish/", publishToken, 401},
			{"POST", "/publish?channel=chat", "", 401},
		} {
			r := httptest.NewRequestWithContext(t.Context(), request.method, "http://127.0.0.1:9190"+request.path, nil)
			r.Header.Set("Authorization", "Bearer "+request.token)
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			if w.Code != request.status {
				t.Errorf("%s %s, loopback %v: %d %s", request.method, request.path, loopback, w.Code, w.Body)
			}
		}
	}
}

// A message of which only a part arrives is not published.
func TestPublishHalfMessage(t *testing.T) {
	for name, head := range map[string]string{
		"shorter than announced": "Content-Length: 100\r\n\r\nhalf",
		"chunks without an end":  "Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
		"a broken chunk":         "Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\nzz\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			published, counters := new(backend), new(stats.Stats)
			server := httptest.NewServer(publishing(published, counters, io.Discard, true))
			defer server.Close()
			conn, err := net.Dial("tcp", server.Listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			fmt.Fprintf(conn, "POST /publish?channel=chat HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\n%s", publishToken, head)
			_ = conn.(*net.TCPConn).CloseWrite()
			answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil {
				t.Fatal(err)
			}
			answer.Body.Close()
			server.Close()
			if answer.StatusCode != http.StatusBadRequest || len(published.published) > 0 {
				t.Errorf("%s, published %q", answer.Status, published.published)
			}
			if n := counters.HTTPPublishes[stats.PublishInvalid].Load(); n != 1 {
				t.Errorf("counted %d times", n)
			}
		})
	}
}

// Rejected requests are logged without what they contain, and cannot fill the
// disk.
func TestPublishLog(t *testing.T) {
	var log strings.Builder
	h := publishing(new(backend), new(stats.Stats), &log, false)
	for range 1000 {
		r := httptest.NewRequestWithContext(t.Context(), "POST", "http://10.1.2.3:9190/publish?channel=secretchannel", strings.NewReader("secretbody"))
		r.Header.Set("Authorization", "Bearer secrettoken")
		h.ServeHTTP(httptest.NewRecorder(), r)
	}
	if n := strings.Count(log.String(), "\n"); n == 0 || n > 30 {
		t.Errorf("1000 requests caused %d lines", n)
	}
	if strings.Contains(log.String(), "secret") || !strings.Contains(log.String(), "result=unauthorized") {
		t.Errorf("logged %.300s", log.String())
	}
}
