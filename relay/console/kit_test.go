package console_test

import (
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"sidecast/relay/admin"
	"sidecast/relay/console"
	"sidecast/relay/stats"
)

const adminToken = "correct-horse-battery"

// serve serves the console on a loopback listener, and returns the URL of its
// host. The handlers of c that are nil have contents that never change.
func serve(t *testing.T, c admin.Console) string {
	t.Helper()
	if c.Page == nil {
		c.Page = console.New(console.Config{Stats: new(stats.Stats)}).Page()
	}
	if c.Feed == nil {
		c.Feed = script(hello(), samples(time.Now(), 1)...)
	}
	ok := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	server := httptest.NewServer(admin.Handler(admin.Config{
		Registry: admin.NewRegistry(new(stats.Stats), admin.Gauges{}, "", ""), Ready: ok, Live: ok, Token: adminToken, Loopback: true, Console: c,
	}))
	t.Cleanup(func() { server.CloseClientConnections(); server.Close() })
	return server.URL
}

// An event is one of the feed's.
type event struct {
	name string
	data any
}

// script returns a feed that sends these events at once, and then nothing.
func script(first event, more ...event) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for _, e := range append([]event{first}, more...) {
			text, err := json.Marshal(e.data)
			if err != nil {
				panic(err)
			}
			fmt.Fprintf(w, "event: %s\ndata: %s\n\n", e.name, text)
		}
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})
}

func hello() event {
	return event{"hello", map[string]any{
		"version": "1.2.3", "interval": 1000, "records": true, "settings": []console.Setting{
			{Name: "SIDECAST_CHANNELS", Value: "chat,chat:*,order:*", FromEnv: true},
			{Name: "SIDECAST_REDIS_URL", Value: "redis://:xxxxx@redis.internal:6379/0", FromEnv: true},
			{Name: "SIDECAST_MAX_CONNECTIONS", Value: "20000"},
		},
	}}
}

// samples returns n samples of a busy relay, one for each second until now. Redis
// is lost for a while.
func samples(now time.Time, n int) (list []event) {
	for i := range n {
		x := float64(i)
		up := i < n/2 || i > n/2+8
		messages := 900 + 300*math.Sin(x/20) + 80*math.Sin(x)
		if !up {
			messages = 0
		}
		list = append(list, event{"sample", map[string]any{
			"ms": now.Add(time.Duration(i-n+1) * time.Second).UnixMilli(), "up": up, "draining": false,
			"connections": 10_000 + math.Round(400*math.Sin(x/40)), "messages": messages, "deliveries": 31 * messages,
			"lag50": 0.0006 + 0.0002*math.Sin(x/7), "lag99": 0.004 + 0.003*math.Sin(x/5), "trip": 0.0012,
			"outbox": math.Max(0, 4e6*math.Sin(x/15)), "gaps": map[bool]float64{true: 0, false: 25}[up],
			"memory": 180e6 + 1e5*x, "heap": 90e6 + 3e7*math.Mod(x/20, 1),
			"causes": []map[string]any{
				{"kind": "closed", "cause": "1000", "total": 812 + i, "rate": 3 + 2*math.Sin(x/9)},
				{"kind": "closed", "cause": "1001", "total": 97 + i, "rate": 1 + math.Sin(x/4)},
				{"kind": "closed", "cause": "4408", "total": 7, "rate": 0},
				{"kind": "gap", "cause": "source_lost", "total": 12_345, "rate": 0},
				{"kind": "evicted", "cause": "bytes", "total": 7, "rate": 0},
				{"kind": "redis", "cause": "silence", "total": 1, "rate": 0},
			},
			"busiest": []map[string]any{
				{"channel": "chat:lobby", "messages": 412.5, "surplus": 0, "bytes": 91_000, "subscribers": 4821},
				{"channel": "order:1234:with-a-name-that-is-rather-long-and-has-no-blank:0123456789abcdef", "messages": 31.25, "surplus": 0, "bytes": 4200, "subscribers": 2},
				{"channel": "räume/✓ 1", "messages": 0.2, "surplus": 0.1, "bytes": 10, "subscribers": 0},
			},
		}})
	}
	return list
}

// incidents returns an event with incidents of each kind.
func incidents(now time.Time) event {
	at := func(seconds int) time.Time { return now.Add(-time.Duration(seconds) * time.Second) }
	return event{"incidents", []map[string]any{
		{"at": at(150), "kind": "gap", "channel": "chat:lobby", "session": "GE3TQNZVGY4DQMJQGA3Q", "user": "42", "reason": "source_lost"},
		{"at": at(90), "kind": "refused", "channel": "order:9", "session": "GE3TQNZVGY4DQMJQGA3Q", "code": "forbidden", "reason": "subscribe"},
		{"at": at(12), "kind": "evicted", "session": "GE3TQNZVGY4DQMJQGA3Q", "user": "a-user-with-a-long-id-0123456789", "code": "4408 too slow"},
	}}
}
