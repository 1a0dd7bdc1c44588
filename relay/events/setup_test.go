package events

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"sidecast/relay/protocol"
	"sidecast/relay/relaytest/redistest"
	"sidecast/relay/stats"
)

// patience bounds every wait of these tests.
const patience = 60 * time.Second

const testStream = "sidecast:events"

const testSecret = "0123456789abcdef0123456789abcdef"

func init() { redis.SetLogger(quiet{}) }

// quiet is a logger.
type quiet struct{}

func (quiet) Printf(context.Context, string, ...any) {}

// A server is a Redis server and a link to it that can be cut.
type server struct {
	t      testing.TB
	redis  *redistest.Server
	client *redis.Client
	down   atomic.Bool
}

func newServer(t testing.TB, args ...string) *server {
	t.Helper()
	s := &server{t: t, redis: redistest.Start(t, args...)}
	s.client = redis.NewClient(&redis.Options{Addr: s.redis.Addr, Protocol: 2, MaxRetries: -1, ContextTimeoutEnabled: true})
	t.Cleanup(func() { _ = s.client.Close() })
	return s
}

// do is a [Redis].
func (s *server) do(ctx context.Context, f func(context.Context, redis.UniversalClient) error) error {
	if s.down.Load() {
		return errors.New("the link is down")
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	return f(ctx, s.client)
}

func (s *server) config() Config {
	return Config{Redis: s.do, Stream: testStream, Stats: new(stats.Stats)}
}

// entries returns the entries of the stream.
func (s *server) entries() []Event {
	s.t.Helper()
	messages, err := s.client.XRange(s.t.Context(), testStream, "-", "+").Result()
	if err != nil {
		s.t.Fatal(err)
	}
	return parse(messages)
}

// add adds events to the stream as a relay does.
func (s *server) add(users ...string) {
	s.t.Helper()
	for _, user := range users {
		r := protocol.Report{Kind: protocol.ReportJoined, User: user, Channel: "chat", At: time.Now()}
		if err := s.client.XAdd(s.t.Context(), &redis.XAddArgs{Stream: testStream, MaxLen: Length, Approx: true, Values: values(r)}).Err(); err != nil {
			s.t.Fatal(err)
		}
	}
}

// pending returns how many events the group has given out that are not
// acknowledged.
func (s *server) pending() int64 {
	s.t.Helper()
	summary, err := s.client.XPending(s.t.Context(), testStream, groupName).Result()
	if err != nil {
		s.t.Fatal(err)
	}
	return summary.Count
}

// run calls f until the test ends, or until the function that it returns is
// called, which waits for its end.
func run(t testing.TB, f func(context.Context) error) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- f(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return stop
}

// eventually waits until f returns "", which says what is missing.
func eventually(t testing.TB, f func() string) {
	t.Helper()
	limit := time.Now().Add(patience)
	for {
		missing := f()
		if missing == "" {
			return
		}
		if time.Now().After(limit) {
			t.Fatal(missing)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// A receiver is an application that receives webhooks.
type receiver struct {
	*httptest.Server
	status atomic.Int32 // of its answers

	mu       sync.Mutex
	requests []request
}

type request struct {
	at     time.Time
	header http.Header
	body   string
}

func newReceiver(t testing.TB) *receiver {
	r := new(receiver)
	r.status.Store(http.StatusNoContent)
	r.Server = httptest.NewServer(http.HandlerFunc(r.answer))
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) answer(w http.ResponseWriter, in *http.Request) {
	body, _ := io.ReadAll(in.Body)
	status := int(r.status.Load())
	if status < 300 {
		r.mu.Lock()
		r.requests = append(r.requests, request{time.Now(), in.Header, string(body)})
		r.mu.Unlock()
	}
	w.WriteHeader(status)
}

// accepted returns the requests that were accepted.
func (r *receiver) accepted() []request {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.requests[:len(r.requests):len(r.requests)]
}

// bodies returns the accepted requests in one text.
func (r *receiver) bodies() string {
	var b strings.Builder
	for _, request := range r.accepted() {
		b.WriteString(request.body + "\n")
	}
	return b.String()
}

func (s *server) webhooks(url string) *Webhooks {
	return NewWebhooks(WebhookConfig{Config: s.config(), URL: url, Secret: testSecret})
}

// logTo returns a configuration that logs to out, which is read after all
// goroutines have ended.
func (s *server) logTo(out io.Writer) Config {
	c := s.config()
	c.Logger = slog.New(slog.NewTextHandler(out, nil))
	return c
}

// refuse is a dialer.
func refuse(context.Context, string, string) (net.Conn, error) { return nil, errRefused }
