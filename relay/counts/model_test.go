package counts

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
)

var modelSeed = flag.Uint64("model.seed", 0, "seed of the first random history; 0: a different one each time")

// Random histories of relays that start, stop, are killed and lose Redis, and of
// a Redis that loses data. When it has been quiet for a while, all numbers are
// right, and nothing else is left in Redis.
func TestModel(t *testing.T) {
	seed := *modelSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("go test -run TestModel -model.seed %d ./relay/counts", seed)
	for i := range uint64(20) {
		w := newWorld(t, seed+i)
		w.start("first")
		for range 6 {
			for range 30 {
				w.act()
				w.pass(time.Duration(w.rand.Int64N(int64(2 * time.Second))))
			}
			w.calm()
			w.pass(30 * time.Second)
			w.want()
			w.wantKeys()
			if t.Failed() {
				t.Fatalf("with seed %d", seed+i)
			}
		}
	}
}

// act does something at random.
func (w *world) act() {
	if len(w.relays) == 0 {
		w.start(fmt.Sprint("r", w.now))
		return
	}
	r := w.relays[w.rand.IntN(len(w.relays))]
	switch n := w.rand.IntN(100); {
	case n < 3 && len(w.relays) < 5:
		w.start(fmt.Sprint("r", w.now))
	case n < 5:
		w.kill(r)
	case n < 7:
		w.stop(r)
	case n < 14:
		r.link(!r.linked)
	case n < 15:
		w.wipe()
	case n < 17:
		w.restart()
	case n < 18:
		w.client.ZRem(context.Background(), r.list, r.relay)
	default:
		for range w.rand.IntN(20) {
			w.visit(r)
		}
	}
}

// restart restarts Redis, perhaps with a loss of data.
func (w *world) restart() {
	for _, r := range w.relays {
		r.link(false)
	}
	if w.rand.IntN(2) == 0 {
		w.wipe()
	}
	w.pass(time.Duration(w.rand.Int64N(int64(3 * time.Second))))
	for _, r := range w.relays {
		r.link(true)
		w.step(time.Duration(w.rand.Int64N(int64(300 * time.Millisecond))))
	}
}

// visit makes a client join a channel, or leave one.
func (w *world) visit(r *relay) {
	channel, told := name(w.rand.IntN(4)), w.rand.IntN(2) == 0
	others := r.all[channel] - r.watching[channel]
	switch {
	case w.rand.IntN(2) == 0:
		r.join(channel, told)
	case told && r.watching[channel] > 0, !told && others > 0:
		r.leave(channel, told)
	}
}

// calm connects all relays. One runs, because the list is not removed with the
// last one.
func (w *world) calm() {
	if len(w.relays) == 0 {
		w.start(fmt.Sprint("r", w.now))
	}
	for _, r := range w.relays {
		r.link(true)
	}
}

// Two relays run, and their hubs and links report all the time.
func TestRun(t *testing.T) {
	db := miniredis.RunT(t)
	var running, receiving sync.WaitGroup
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(receiving.Wait) // after the subscriptions are closed
	defer running.Wait()
	defer cancel()
	var mu sync.Mutex
	told := map[string][]int{}
	var relays []*Counts
	for _, id := range []string{"a", "b"} {
		client := redis.NewClient(&redis.Options{Addr: db.Addr(), Protocol: 2, DisableIdentity: true})
		t.Cleanup(func() { _ = client.Close() })
		c := New(Config{Names: testNames, Link: func() Link { return directLink{client} }, Notify: func(_ string, n int) {
			mu.Lock()
			defer mu.Unlock()
			told[id] = append(told[id], n)
		}})
		sub := client.Subscribe(ctx, c.Topic())
		if _, err := sub.Receive(ctx); err != nil {
			t.Fatal(err)
		}
		receiving.Go(func() {
			for m := range sub.Channel() {
				c.Receive([]byte(m.Payload))
			}
		})
		t.Cleanup(func() { _ = sub.Close() })
		c.Online(true)
		running.Go(func() { _ = c.Run(ctx) })
		relays = append(relays, c)
	}
	const clients = largeCount / 2
	for n := range clients {
		for _, c := range relays {
			c.Changed("chat", n+1, n+1, 1)
		}
	}
	deadline := time.Now().Add(time.Minute)
	for {
		mu.Lock()
		done := slices.Contains(told["a"], 2*clients) && slices.Contains(told["b"], 2*clients)
		mu.Unlock()
		if done {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the clients were told %v", told)
		}
		time.Sleep(10 * time.Millisecond)
	}
}
