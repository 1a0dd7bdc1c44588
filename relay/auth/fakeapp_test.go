package auth

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sidecast/relay/stats"
)

// A testApp is an Application together with the HTTP server that it asks.
type testApp struct {
	*Application
	server   *httptest.Server
	stats    *stats.Stats
	log      *syncBuffer
	requests atomic.Int64
}

// newTestApp starts a server that answers all requests with answer: questions
// about users at /, and questions about channels at /channel.
func newTestApp(t *testing.T, answer http.HandlerFunc, options ...func(*ApplicationConfig)) *testApp {
	t.Helper()
	a := &testApp{stats: new(stats.Stats), log: new(syncBuffer)}
	a.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.requests.Add(1)
		answer(w, r)
	}))
	c := ApplicationConfig{
		LoginURL: a.server.URL + "/", ChannelURL: a.server.URL + "/channel",
		Timeout: 2 * time.Second, Cache: 10 * time.Second,
		Concurrency: 32, Grants: Grants{UserChannels: []string{"user:{user}"}}, Stats: a.stats,
		Logger: slog.New(slog.NewTextHandler(a.log, nil)),
	}
	for _, option := range options {
		option(&c)
	}
	a.Application = NewApplication(c)
	t.Cleanup(func() { a.server.CloseClientConnections(); a.server.Close() })
	run(t, a.Application)
	return a
}

// run runs a until the test ends.
func run(t *testing.T, a *Application) {
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = a.Run(ctx) })
	t.Cleanup(func() { cancel(); running.Wait() })
}

// respond returns a handler that always sends the same answer.
func respond(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status); fmt.Fprint(w, body) }
}

// newStubApp returns an Application that calls answer instead of using the
// network, for tests in a synctest bubble.
func newStubApp(t *testing.T, answer func(*http.Request) (status int, body string), options ...func(*ApplicationConfig)) *Application {
	t.Helper()
	c := ApplicationConfig{
		LoginURL: "http://app/", ChannelURL: "http://app/channel", Timeout: 2 * time.Second, Cache: 10 * time.Second,
		Concurrency: 32, Stats: new(stats.Stats), Logger: slog.New(slog.DiscardHandler),
	}
	for _, option := range options {
		option(&c)
	}
	a := NewApplication(c)
	a.pool.client.Transport = roundTripFunc(func(r *http.Request) (*http.Response, error) {
		recorder := httptest.NewRecorder()
		status, body := answer(r)
		if err := r.Context().Err(); err != nil {
			return nil, err
		}
		recorder.WriteHeader(status)
		recorder.WriteString(body)
		return recorder.Result(), nil
	})
	run(t, a)
	return a
}

type roundTripFunc func(*http.Request) (*http.Response, error)

func (f roundTripFunc) RoundTrip(r *http.Request) (*http.Response, error) {
	response, err := f(r)
	if response != nil {
		response.Request = r
	}
	return response, err
}

// request returns a request with the given headers, which are pairs of a name
// and a value.
func request(headers ...string) *http.Request {
	r := httptest.NewRequest(http.MethodGet, "/ws", nil)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	return r
}

// from returns a request from a peer with the given headers.
func from(peer string, headers ...string) *http.Request {
	r := request(headers...)
	r.RemoteAddr = peer
	return r
}

// publicPeer returns the i-th of many public addresses, with a port.
func publicPeer(i int) string { return fmt.Sprintf("198.%d.%d.%d:1", 18+i>>16, i>>8&255, i&255) }

// sleep lets time pass in a synctest bubble.
func sleep(d time.Duration) { <-time.After(d) }

// A syncBuffer is a buffer for log lines. It is safe for concurrent use.
type syncBuffer struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *syncBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *syncBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}
