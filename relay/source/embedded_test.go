package source_test

import (
	"fmt"
	"testing"

	"github.com/redis/go-redis/v9"

	"sidecast/relay/embedded"
	"sidecast/relay/source"
)

// The Redis in memory sends one copy of a message, by any of the patterns that match: none may be taken for a copy too
// many.
func TestEmbeddedOverlap(t *testing.T) {
	server, err := embedded.Start("127.0.0.1:0", nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	l := goLive(t, server.Addr(), []string{"chat*", "chat:1*", "*"}, func(c *source.Config) { c.Embedded = true })
	client := redis.NewClient(&redis.Options{Addr: server.Addr()})
	t.Cleanup(func() { _ = client.Close() })
	const messages = 100
	for i := range messages {
		if err := client.Publish(t.Context(), "chat:1", fmt.Sprint("number ", i)).Err(); err != nil {
			t.Fatal(err)
		}
	}
	for i := range messages {
		l.awaitEvent(t, fmt.Sprintf("chat:1=number %d", i), 1)
	}
}
