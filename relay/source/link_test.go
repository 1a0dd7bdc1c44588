package source_test

import (
	"errors"
	"slices"
	"testing"

	"sidecast/relay/access"
	"sidecast/relay/relaytest/redistest"
	"sidecast/relay/source"
	"sidecast/relay/stats"
)

func TestMessagesArriveInOrder(t *testing.T) {
	eachProtocol(t, func(t *testing.T, speak func(*source.Config)) {
		server := redistest.Start(t)
		l := goLive(t, server.Addr, []string{"chat:*"}, speak)
		for _, payload := range []string{"one", "", "two\r\nthree"} {
			if got := server.CLI("PUBLISH", "chat:42", payload); got != "1" {
				t.Fatalf("PUBLISH reached %s subscribers", got)
			}
		}
		server.CLI("PUBLISH", "other", "not ours")
		server.CLI("PUBLISH", "chat:end", "end")
		l.awaitEvent(t, "chat:end=end", 1)
		want := []string{"online", "chat:42=one", "chat:42=", "chat:42=two\r\nthree"}
		if got := l.recorder.log(); !slices.Equal(got[:4], want) {
			t.Fatalf("got %q, want %q", got, want)
		}
		if !l.Up() || !l.Ready() || !l.stats.RedisUp.Load() {
			t.Fatal("the link does not say that it is up")
		}
		l.stop()
		if got := l.recorder.log(); got[len(got)-1] != "offline" {
			t.Fatalf("the epoch did not end with Run: %q", got)
		}
		if l.Up() || !l.Ready() || l.stats.RedisUp.Load() {
			t.Fatal("after the end Ready must stay true, and Up not")
		}
		if n := l.stats.RedisEpochs[stats.CauseShutdown].Load(); n != 1 {
			t.Fatalf("%d epochs ended by shutdown", n)
		}
	})
}

func TestPublishReachesSubscribers(t *testing.T) {
	t.Parallel()
	eachProtocol(t, func(t *testing.T, speak func(*source.Config)) {
		server := redistest.Start(t)
		l := goLive(t, server.Addr, []string{"*"}, speak, func(c *source.Config) { c.Names = access.NewNames("app:", "") })
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

func TestRedisRestarts(t *testing.T) {
	eachProtocol(t, func(t *testing.T, speak func(*source.Config)) {
		server := redistest.Start(t)
		l := goLive(t, server.Addr, []string{"chat:*", "news"}, speak)
		server.Restart()
		l.awaitEvent(t, "online", 2)
		server.CLI("PUBLISH", "chat:1", "again")
		server.CLI("PUBLISH", "news", "too")
		l.awaitEvent(t, "news=too", 1)
		want := []string{"online", "offline", "online", "chat:1=again", "news=too"}
		if got := l.recorder.log(); !slices.Equal(got, want) {
			t.Fatalf("got %q, want %q", got, want)
		}
	})
}

func TestRedisIsAbsentAtTheStart(t *testing.T) {
	t.Parallel()
	eachProtocol(t, func(t *testing.T, speak func(*source.Config)) {
		server := redistest.Start(t)
		server.Kill()
		l := run(t, server.Addr, []string{"*"}, speak)
		l.awaitEvent(t, "offline", 1)
		if l.Ready() {
			t.Fatal("ready without Redis")
		}
		server.Restart()
		l.awaitEvent(t, "online", 1)
		if got := l.recorder.log(); !slices.Equal(got, []string{"offline", "online"}) {
			t.Fatalf("got %q", got)
		}
	})
}
