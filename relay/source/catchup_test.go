package source_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"sidecast/relay/relaytest/faultproxy"
	"sidecast/relay/relaytest/redistest"
	"sidecast/relay/source"
)

// TestCatchUp publishes from several goroutines. Each calls CatchUp after Redis
// has answered, and then the sink must have its messages. The sink is slower
// than Redis, so messages are always on their way.
func TestCatchUp(t *testing.T) {
	eachLink(t, func(t *testing.T, server *redistest.Server, l *runningLink) {
		var mu sync.Mutex
		have := make(map[string]bool)
		l.setHook(func(_, payload []byte) {
			spin(20 * time.Microsecond)
			mu.Lock()
			defer mu.Unlock()
			have[string(payload)] = true
		})
		client := redis.NewClient(&redis.Options{Addr: server.Addr})
		defer client.Close()
		var publishers sync.WaitGroup
		for p := range 8 {
			publishers.Go(func() {
				for round := range 50 {
					pipe := client.Pipeline()
					payload := ""
					for i := range 20 {
						payload = fmt.Sprint(p, " ", round, " ", i)
						pipe.Publish(t.Context(), "chat", payload)
					}
					if _, err := pipe.Exec(t.Context()); err != nil {
						t.Error(err)
						return
					}
					if err := l.CatchUp(t.Context()); err != nil {
						t.Error(err)
						return
					}
					mu.Lock()
					caught := have[payload]
					mu.Unlock()
					if !caught {
						t.Errorf("%q was published before CatchUp and was not delivered when it returned", payload)
						return
					}
				}
			})
		}
		publishers.Wait()
	})
}

// spin waits for a time that is too short to sleep.
func spin(d time.Duration) {
	for began := time.Now(); time.Since(began) < d; {
	}
}

// TestCatchUpEnds ends the wait in each way: by ctx, by the end of the epoch,
// and by the end of the link.
func TestCatchUpEnds(t *testing.T) {
	eachServer(t, func(t *testing.T, server *redistest.Server, useProtocol func(*source.Config)) {
		proxy := faultproxy.Start(t, server.Addr)
		l := startLive(t, proxy.Addr, []string{"*"}, useProtocol)
		proxy.Hold(faultproxy.ToClient)
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		if err := l.CatchUp(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("with a ctx that ended CatchUp returned %v", err)
		}
		if err := l.CatchUp(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("with a ctx that had ended CatchUp returned %v", err)
		}
		result := make(chan error, 1)
		go func() { result <- l.CatchUp(t.Context()) }()
		proxy.Reset()
		if err := <-result; !errors.Is(err, source.ErrUnavailable) {
			t.Errorf("when the epoch ended CatchUp returned %v", err)
		}
		if got := l.recorder.deliveries(); !slices.Contains(got, "offline") {
			t.Errorf("the sink was not notified before: %q", got)
		}
		proxy.Release(faultproxy.ToClient)
		l.awaitEvent(t, "online", 2)
		if err := l.CatchUp(t.Context()); err != nil {
			t.Errorf("in the next epoch CatchUp returned %v", err)
		}
		l.stop()
		if err := l.CatchUp(t.Context()); !errors.Is(err, source.ErrUnavailable) {
			t.Errorf("after the link stopped CatchUp returned %v", err)
		}
	})
}
