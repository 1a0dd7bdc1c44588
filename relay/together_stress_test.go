package relay_test

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
	"time"

	"sidecast/relay"
	"sidecast/relay/outbox/outboxtest"
)

// Clients return to channels that share a cursor, and leave, while messages
// arrive and the history drops them. A client that is recovered misses no
// message, and none is repeated or in another order.
func TestMergedResumesWhileMessagesArrive(t *testing.T) {
	h := newTestHub(t, relay.HubConfig{Shards: 2, HistoryBytes: 60_000, HistoryAge: time.Hour})
	t.Cleanup(h.start())
	h.Online(1)
	h.mark()
	names := make([]string, 20)
	for i := range names {
		names[i] = fmt.Sprint("channel", i)
	}
	seed, done := newSeed(t), make(chan struct{})
	var running sync.WaitGroup
	for i := range 4 {
		running.Go(func() { h.comeAndGo(names, rand.New(rand.NewPCG(seed, uint64(i))), done) })
	}
	random := rand.New(rand.NewPCG(seed, 4))
	for n := 1; n <= 20_000; n++ {
		if random.IntN(50) == 0 {
			h.mark()
		}
		h.publishSized(names[random.IntN(len(names))], n, n, random.IntN(300))
		if n%100 == 0 {
			runtime.Gosched()
		}
	}
	close(done)
	running.Wait()
}

// comeAndGo is a client that connects again and again until done is closed, each
// time from its last place. All messages of the hub are for it.
func (h *testHub) comeAndGo(channels []string, random *rand.Rand, done <-chan struct{}) {
	at, last := place{}, 0
	for {
		select {
		case <-done:
			return
		default:
		}
		c := h.connect(connectOptions{protocol: listingV1{}, room: outboxtest.Unlimited, channels: channels, place: &at})
		for range random.IntN(200) {
			runtime.Gosched()
		}
		c.leave()
		c.receive()
		if err := c.checkContiguous(&last); err != nil {
			h.t.Errorf("a client that connected at %v: %v", at, err)
			return
		}
		at = c.place(at)
	}
}

// checkContiguous checks that the messages that a client received follow number
// last, one after the other. After a gap, which makes last negative, some may be
// missing.
func (c *testClient) checkContiguous(last *int) error {
	for _, e := range c.events {
		switch {
		case e.kind == "subscribed" && !e.recovered, e.kind == "gap":
			*last = min(*last, -*last)
		case e.kind != "message":
		case *last > 0 && e.number != *last+1, e.number <= -*last:
			return fmt.Errorf("message %d follows message %d", e.number, *last)
		default:
			*last = e.number
		}
	}
	return c.fault
}
