package events_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/redis/go-redis/v9"

	"sidecast/relay/access"
	"sidecast/relay/embedded"
	"sidecast/relay/events"
	"sidecast/relay/protocol"
)

// startEmbedded returns a client of an embedded Redis, and a configuration for
// it.
func startEmbedded(t *testing.T) (*redis.Client, events.Config) {
	t.Helper()
	db, err := embedded.Start("127.0.0.1:0", slog.New(slog.NewTextHandler(t.Output(), nil)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	client := redis.NewClient(&redis.Options{Addr: db.Addr(), Protocol: 2, MaxRetries: -1})
	t.Cleanup(func() { _ = client.Close() })
	return client, events.Config{
		Stream: "sidecast:events",
		Redis: func(ctx context.Context, f func(context.Context, redis.UniversalClient) error) error {
			return f(ctx, client)
		},
	}
}

// A writer and webhooks work with the embedded Redis.
func TestEmbedded(t *testing.T) {
	client, config := startEmbedded(t)
	bodies := make(chan string)
	var answers atomic.Int32
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if answers.Add(1) == 1 {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		bodies <- string(body)
	}))
	t.Cleanup(app.Close)
	writer := events.NewWriter(config, []protocol.ReportKind{protocol.ReportConnected})
	webhooks := events.NewWebhooks(events.WebhookConfig{Config: config, URL: app.URL, Secret: strings.Repeat("s", 32)})
	writer.OnWritten(webhooks.Wake)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- webhooks.Run(ctx) }()
	go func() { ended <- writer.Run(ctx) }()
	for client.Exists(t.Context(), "sidecast:events").Val() == 0 { // until the group exists
		if t.Context().Err() != nil {
			t.Fatal("there is no group")
		}
	}
	writer.Write(protocol.Report{Kind: protocol.ReportConnected, User: "42"})
	for range 2 {
		if body := <-bodies; !strings.Contains(body, `"kind":"connected"`) || !strings.Contains(body, `"user":"42"`) {
			t.Errorf("the body is %s", body)
		}
	}
	cancel()
	for range 2 {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	if n := client.XPending(t.Context(), "sidecast:events", "sidecast:webhooks").Val().Count; n != 0 {
		t.Errorf("%d events are pending", n)
	}
}

// Messages without a listener are found with the embedded Redis.
func TestEmbeddedUnheard(t *testing.T) {
	client, config := startEmbedded(t)
	unheard := events.NewUnheard(events.UnheardConfig{
		Config: config, Names: access.NewNames("", ""), Patterns: access.Patterns{access.MustPattern("user:*")},
	})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- unheard.Run(ctx) }()
	unheard.Listen("user:online")
	for client.Exists(t.Context(), "sidecast:listeners:user:online").Val() == 0 {
		if t.Context().Err() != nil {
			t.Fatal("there is no lease")
		}
	}
	if err := client.XAdd(t.Context(), &redis.XAddArgs{Stream: "user:durable", Values: []any{"data", "x"}}).Err(); err != nil {
		t.Fatal(err)
	}
	unheard.Message([]byte("user:online"), []byte("x"), nil)
	unheard.Message([]byte("user:offline"), []byte("x"), nil)
	unheard.Message([]byte("user:offline"), []byte("x"), nil) // equal
	unheard.Nudge([]byte("user:durable"))
	var found []string
	for len(found) < 2 {
		found = nil
		for _, entry := range client.XRange(t.Context(), "sidecast:events", "-", "+").Val() {
			found = append(found, fmt.Sprint(entry.Values["kind"], " ", entry.Values["channel"]))
		}
		if t.Context().Err() != nil {
			t.Fatalf("events %q", found)
		}
	}
	if want := []string{"unheard user:offline", "unheard user:durable"}; !slices.Equal(found, want) {
		t.Errorf("events %q, want %q", found, want)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
