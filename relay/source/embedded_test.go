package source_test

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"sidecast/relay/embedded"
	"sidecast/relay/source"
)

// startEmbedded starts the in-memory server of the embedded mode. The port 0 of
// addr means any free port.
func startEmbedded(t testing.TB, addr string) *embedded.Server {
	t.Helper()
	server, err := embedded.Start(addr, nil)
	if err != nil || server.Addr() != addr && !strings.HasSuffix(addr, ":0") {
		t.Fatalf("starting it on %s: %v", addr, err)
	}
	t.Cleanup(server.Close)
	return server
}

// embeddedMode tells the link that its server is the in-memory one.
func embeddedMode(c *source.Config) { c.Embedded = true }

// TestEmbeddedOverlap checks that no message is dropped as a copy: the
// in-memory server sends only one copy of a message, for any of the patterns
// that match.
func TestEmbeddedOverlap(t *testing.T) {
	server := startEmbedded(t, "127.0.0.1:0")
	l := startLive(t, server.Addr(), []string{"chat*", "chat:1*", "*"}, embeddedMode)
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

// TestEmbedded uses the in-memory server of the embedded mode, which supports
// neither ROLE nor CLIENT SETNAME.
func TestEmbedded(t *testing.T) {
	t.Parallel()
	eachProtocol(t, func(t *testing.T, useProtocol func(*source.Config)) {
		// Nothing else connects from this address, so the port stays free for
		// the second server.
		address := "127.0.0.1:0"
		if runtime.GOOS == "linux" {
			address = fmt.Sprintf("127.%d.%d.%d:0", 1+rand.IntN(254), rand.IntN(256), 1+rand.IntN(254))
		}
		server := startEmbedded(t, address)
		l := startLive(t, server.Addr(), []string{"*"}, useProtocol, embeddedMode)
		if n, err := l.Link.Publish(t.Context(), "chat", []byte("hello")); n != 1 || err != nil {
			t.Fatalf("Publish returned %d, %v", n, err)
		}
		l.awaitEvent(t, "chat=hello", 1)
		l.await(t, "a marker", hasMarker)
		l.expectNoWarnings(t)
		server.Close()
		l.awaitEvent(t, "offline", 1)
		startEmbedded(t, server.Addr())
		l.awaitEvent(t, "online", 2)
		if strings.Contains(l.log.String(), "role") {
			t.Errorf("there is a warning about the in-memory server")
		}
	})
}
