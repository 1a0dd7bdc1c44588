package events_test

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/redis/go-redis/v9"

	"sidecast/relay/embedded"
	"sidecast/relay/events"
	"sidecast/relay/protocol"
)

// A writer and webhooks work with the embedded Redis.
func TestEmbedded(t *testing.T) {
	db, err := embedded.Start("127.0.0.1:0", slog.New(slog.NewTextHandler(t.Output(), nil)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	client := redis.NewClient(&redis.Options{Addr: db.Addr(), Protocol: 2, MaxRetries: -1})
	t.Cleanup(func() { _ = client.Close() })
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
	config := events.Config{
		Stream: "sidecast:events",
		Redis: func(ctx context.Context, f func(context.Context, redis.UniversalClient) error) error {
			return f(ctx, client)
		},
	}
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
