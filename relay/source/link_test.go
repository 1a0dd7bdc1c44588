package source_test

import (
	"errors"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"sidecast/relay/relaytest/faultproxy"
	"sidecast/relay/relaytest/redistest"
	"sidecast/relay/source"
	"sidecast/relay/stats"
)

func TestMessagesArriveInOrder(t *testing.T) {
	eachServer(t, func(t *testing.T, server *redistest.Server, useProtocol func(*source.Config)) {
		l := startLive(t, server.Addr, []string{"chat:*"}, useProtocol)
		for _, payload := range []string{"one", "", "two\r\nthree"} {
			if got := server.CLI("PUBLISH", "chat:42", payload); got != "1" {
				t.Fatalf("PUBLISH reached %s subscribers", got)
			}
		}
		server.CLI("PUBLISH", "other", "not ours")
		server.CLI("PUBLISH", "chat:end", "end")
		l.awaitEvent(t, "chat:end=end", 1)
		want := []string{"online", "chat:42=one", "chat:42=", "chat:42=two\r\nthree"}
		if got := l.recorder.deliveries(); !slices.Equal(got[:4], want) {
			t.Fatalf("got %q, want %q", got, want)
		}
		if !l.Up() || !l.Ready() || !l.stats.RedisUp.Load() {
			t.Fatal("the link does not report that it is up")
		}
		l.stop()
		if got := l.recorder.deliveries(); got[len(got)-1] != "offline" {
			t.Fatalf("the epoch did not end with Run: %q", got)
		}
		if l.Up() || !l.Ready() || l.stats.RedisUp.Load() {
			t.Fatal("after the end Ready must stay true and Up must be false")
		}
		if n := l.stats.RedisEpochs[stats.CauseShutdown].Load(); n != 1 {
			t.Fatalf("%d epochs ended by shutdown", n)
		}
	})
}

func TestPublishReachesSubscribers(t *testing.T) {
	eachServer(t, func(t *testing.T, server *redistest.Server, useProtocol func(*source.Config)) {
		l := startLive(t, server.Addr, []string{"*"}, useProtocol, useNames("app:", ""))
		n, err := l.Link.Publish(t.Context(), "chat", []byte("hello"))
		if n != 1 || err != nil {
			t.Fatalf("Publish returned %d, %v", n, err)
		}
		l.awaitEvent(t, "chat=hello", 1)
		if _, err := l.Link.Publish(t.Context(), "sidecast:mark", nil); !errors.Is(err, source.ErrReserved) {
			t.Fatalf("publishing to a reserved name returned %v", err)
		}
		server.Kill()
		l.awaitEvent(t, "offline", 1)
		if _, err := l.Link.Publish(t.Context(), "chat", nil); !errors.Is(err, source.ErrUnavailable) {
			t.Fatalf("publishing without Redis returned %v", err)
		}
	})
}

// TestRedisRestarts uses a link over TCP and one over a Unix socket.
func TestRedisRestarts(t *testing.T) {
	t.Parallel()
	eachProtocol(t, func(t *testing.T, useProtocol func(*source.Config)) {
		socket := filepath.Join(t.TempDir(), "redis.sock")
		server := redistest.Start(t, "--unixsocket", socket)
		tcp := startLive(t, server.Addr, []string{"chat:*", "news"}, useProtocol)
		unix := startLive(t, socket, []string{"chat:*", "news"}, useProtocol)
		server.Restart()
		tcp.awaitEvent(t, "online", 2)
		unix.awaitEvent(t, "online", 2)
		server.CLI("PUBLISH", "chat:1", "again")
		server.CLI("PUBLISH", "news", "too")
		for _, l := range []*runningLink{tcp, unix} {
			l.awaitEvent(t, "news=too", 1)
			l.expectEvents(t, "online", "offline", "online", "chat:1=again", "news=too")
		}
	})
}

func TestRedisIsAbsentAtTheStart(t *testing.T) {
	eachServer(t, func(t *testing.T, server *redistest.Server, useProtocol func(*source.Config)) {
		server.Kill()
		l := startLink(t, server.Addr, []string{"*"}, useProtocol)
		l.awaitEvent(t, "offline", 1)
		if l.Ready() {
			t.Fatal("ready without Redis")
		}
		server.Restart()
		l.awaitEvent(t, "online", 1)
		l.expectEvents(t, "offline", "online")
	})
}

// TestDialsAreFewWhileRedisIsDown counts dials.
func TestDialsAreFewWhileRedisIsDown(t *testing.T) {
	t.Parallel()
	eachProtocol(t, func(t *testing.T, useProtocol func(*source.Config)) {
		server := redistest.Start(t, "--requirepass", "x") // every attempt reaches the server, which refuses it
		proxy := faultproxy.Start(t, server.Addr)
		l := startLink(t, proxy.Addr, []string{"*"}, useProtocol)
		l.awaitEvent(t, "offline", 1)
		began, before := time.Now(), proxy.Opened()
		eventually(t, "some attempts", func() bool { return proxy.Opened() >= before+8 })
		if took := time.Since(began); took < time.Second {
			t.Errorf("8 attempts in %v", took)
		}
		if n := strings.Count(l.log.String(), "level=ERROR"); n != 1 {
			t.Errorf("the same problem was logged %d times", n)
		}
		l.expectEvents(t, "offline")
	})
}

// TestStopLeavesNoGoroutine stops links in every state and counts goroutines.
// It must not run in parallel with other tests.
func TestStopLeavesNoGoroutine(t *testing.T) {
	server := redistest.Start(t)
	closed := redistest.FreeAddr(t)
	silent, ca := redistest.StartTLS(t)
	proxy := faultproxy.Start(t, silent.Addr)
	proxy.Hold(faultproxy.Both...)
	warm := startLive(t, server.Addr, []string{"*"})
	warm.stop()
	before := runtime.NumGoroutine()
	for range 5 {
		l := startLive(t, server.Addr, []string{"*"})
		l.stop()
		l = startLink(t, closed, []string{"*"})
		l.awaitEvent(t, "offline", 1)
		l.stop()
		dials := proxy.Opened()
		l = startLink(t, proxy.Addr, []string{"*"}, useTLS(t, proxy.Addr, ca))
		eventually(t, "a dial", func() bool { return proxy.Opened() > dials })
		began := time.Now()
		l.stop()
		if took := time.Since(began); took > 2*time.Second {
			t.Errorf("stopping a link in its TLS handshake took %v", took)
		}
	}
	proxy.Reset()
	eventually(t, "the proxy to be idle", func() bool { return proxy.Open() == 0 })
	eventually(t, "the goroutines to end", func() bool { return runtime.NumGoroutine() <= before })
}

func TestRunTwiceIsRejected(t *testing.T) {
	server := redistest.Start(t)
	l := startLive(t, server.Addr, []string{"*"})
	if err := l.Run(t.Context()); err == nil {
		t.Error("a second Run was accepted")
	}
}

// TestMinimalConfig uses only the settings that are required.
func TestMinimalConfig(t *testing.T) {
	server := redistest.Start(t)
	l := startLive(t, server.Addr, []string{"*"}, func(c *source.Config) {
		*c = source.Config{Server: c.Server, Patterns: c.Patterns}
	})
	l.expectDelivery(t, server, "chat")
}
