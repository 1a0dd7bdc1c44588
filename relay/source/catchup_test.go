package source_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"sidecast/relay/relaytest/redistest"
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
