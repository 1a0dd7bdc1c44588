package pusher

import (
	"context"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"sidecast/relay/access"
	"sidecast/relay/protocol"
	"sidecast/relay/stats"
)

// testApp has the credentials in the examples of Pusher's documentation.
var testApp = access.NewApp("3", "278d425bdf160c739803", "7ad3773142a6692b25b8")

// now is the time in the examples.
var now = time.Unix(1353088179, 0)

const testMaxPayload = 1000

// A backend is what an API uses. It records what is published.
type backend struct {
	mu         sync.Mutex
	published  []string // channel=payload; guarded by mu
	terminated []string // users; guarded by mu
	failAt     int      // the number of the message that fails, from 1; guarded by mu
	down       bool     // Redis does not answer; guarded by mu

	stats stats.Stats
	log   strings.Builder // written by the API's logger, which takes a lock
}

var errDown = errors.New("redis is unavailable")

func (b *backend) available() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.down {
		return errDown
	}
	return nil
}

func (b *backend) publish(_ context.Context, channel string, payload []byte) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.down || len(b.published)+1 == b.failAt {
		return errDown
	}
	b.published = append(b.published, channel+"="+string(payload))
	return nil
}

func (b *backend) terminate(_ context.Context, user string) error {
	err := b.available()
	if err == nil {
		b.terminated = append(b.terminated, user)
	}
	return err
}

// subscriptions are the channels of the backend.
var subscriptions = map[string]int{"chat": 2, "presence-room": 5, "presence-hall": 1, "private-a b&c": 1}

func (b *backend) Channels(_ context.Context, prefix string) (map[string]int, error) {
	found := map[string]int{}
	for channel, n := range subscriptions {
		if strings.HasPrefix(channel, prefix) {
			found[channel] = n
		}
	}
	return found, b.available()
}

func (b *backend) Subscriptions(_ context.Context, channel string) (int, error) {
	return subscriptions[channel], b.available()
}

func (b *backend) members(_ context.Context, channel string) ([]string, error) {
	if channel == "presence-room" {
		return []string{"1", "<b>", "ä"}, b.available()
	}
	return nil, b.available()
}

// config returns the configuration of an API that uses b and has everything.
func (b *backend) config() APIConfig {
	return APIConfig{
		App: testApp, MaxPayload: testMaxPayload, Publish: b.publish, Counts: b, Members: b.members, Terminate: b.terminate,
		Connections: func(context.Context) (int, error) { return 7, b.available() },
		Now:         func() time.Time { return now }, Stats: &b.stats, Logger: slog.New(slog.NewTextHandler(&b.log, nil)),
		Relayed: func(channel string) protocol.Code {
			switch {
			case !access.ValidChannel(channel), strings.HasPrefix(channel, "sidecast:"):
				return protocol.CodeBadChannel
			case strings.HasPrefix(channel, "other"):
				return protocol.CodeForbidden
			}
			return protocol.CodeOK
		},
	}
}

// A call is a request to an API.
type call struct {
	method string
	path   string // as in a URL
	query  url.Values
	body   string
	header http.Header
}

// signed returns a request that the application has signed, as Pusher's
// libraries do. query is what it asks, such as "info=user_count".
func signed(method, path, query, body string) *call {
	values, err := url.ParseQuery(query)
	if err != nil {
		panic(err)
	}
	c := &call{method: method, path: path, query: values, body: body, header: http.Header{}}
	c.query.Set("auth_key", testApp.Key)
	c.query.Set("auth_timestamp", strconv.FormatInt(now.Unix(), 10))
	c.query.Set("auth_version", "1.0")
	if body != "" {
		c.query.Set("body_md5", digest(body))
	}
	c.sign(testApp)
	return c
}

func digest(body string) string {
	sum := md5.Sum([]byte(body))
	return hex.EncodeToString(sum[:])
}

// sign signs the request as it is now. Libraries sign the path and the query
// without escapes.
func (c *call) sign(app *access.App) {
	var parameters []string
	for name, values := range c.query {
		if name != "auth_signature" {
			parameters = append(parameters, strings.ToLower(name)+"="+strings.Join(values, ","))
		}
	}
	slices.Sort(parameters)
	path, err := url.PathUnescape(c.path)
	if err != nil {
		panic(err)
	}
	c.query.Set("auth_signature", app.Sign(c.method+"\n"+path+"\n"+strings.Join(parameters, "&")))
}

// target returns the URL without the host.
func (c *call) target() string { return c.path + "?" + c.query.Encode() }

// send sends the request to an API.
func (c *call) send(h http.Handler) *httptest.ResponseRecorder {
	return send(h, c.method, c.target(), c.body, c.header)
}

func send(h http.Handler, method, target, body string, header http.Header) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, "http://relay"+target, strings.NewReader(body))
	maps.Copy(r.Header, header)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// wantRefused checks that a request was refused with a text, and that nothing
// happened.
func (b *backend) wantRefused(t *testing.T, w *httptest.ResponseRecorder, status int, text string) {
	t.Helper()
	body := w.Body.String()
	if w.Code != status || !strings.HasPrefix(body, `{"error":"`) || !strings.Contains(body, text) {
		t.Errorf("%d %s, want %d and %q", w.Code, body, status, text)
	}
	if len(b.published)+len(b.terminated) > 0 {
		t.Errorf("published %q, terminated %q", b.published, b.terminated)
	}
	if w.Header().Get("Access-Control-Allow-Origin") != "" || w.Header().Get("Content-Type") != "application/json" ||
		w.Header().Get("X-Content-Type-Options") != "nosniff" || (w.Header().Get("Allow") != "") != (status == 405) {
		t.Errorf("the headers are %v", w.Header())
	}
	if strings.Contains(body, "7ad3773142a6692b25b8") {
		t.Errorf("the answer contains the secret: %s", body)
	}
}

// counted checks that exactly one request was counted, with this result.
func (b *backend) counted(t *testing.T, result stats.APIResult) {
	t.Helper()
	for i := range b.stats.APIRequests {
		want := uint64(0)
		if i == int(result) {
			want = 1
		}
		if n := b.stats.APIRequests[i].Load(); n != want {
			t.Errorf("%s is counted %d times, want %d", stats.APIResults[i], n, want)
		}
	}
}

// discard is a logger for tests that do not look at the log.
var discard = slog.New(slog.NewTextHandler(io.Discard, nil))
