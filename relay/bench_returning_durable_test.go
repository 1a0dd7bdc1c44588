package relay_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"sidecast/relay"
	"sidecast/relay/outbox/outboxtest"
)

// returningDurable has the benchmarks of clients that return to durable
// channels.
var returningDurable = []returning{
	{"durable-beside-replays/0", durableBesideReplays(0)},
	{"durable-beside-replays/100", durableBesideReplays(100)},
	{"durable-beside-replays/1000", durableBesideReplays(1000)},
	{"durable-beside-replays/5000", durableBesideReplays(5000)},
	{"stampede-pages/700-missed/50-clients", stampedePages(700, 50)},
	{"stampede-pages/700-missed/100-clients", stampedePages(700, 100)},
	{"stampede-pages/700-missed/200-clients", stampedePages(700, 200)},
	{"stampede-pages/2000-missed/50-clients", stampedePages(2000, 50)},
	{"stampede-pages/2000-missed/100-clients", stampedePages(2000, 100)},
	{"stampede-pages/2000-missed/200-clients", stampedePages(2000, 200)},
	{"ring-hog/alone/1000-clients", ringHog(0, 1000)},
	{"ring-hog/alone/12000-clients", ringHog(0, 12_000)},
	{"ring-hog/10-hogs/1000-clients", ringHog(10, 1000)},
	{"ring-hog/10-hogs/12000-clients", ringHog(10, 12_000)},
	{"outage/127-channels", outageSequential(127)},
	{"replay-memory/durable-60-channels", durableReplayMemory(20, 60)},
}

// storeDelay is how long a read of a store takes.
const storeDelay = 500 * time.Microsecond

// countedStore returns a store and the number of reads.
func countedStore() (s *storeConn, reads *atomic.Int64) {
	reads = new(atomic.Int64)
	return &storeConn{store: newPlainStore(), pass: func(_ context.Context, op, _ string) error {
		if op == "read" {
			reads.Add(1)
			time.Sleep(storeDelay)
		}
		return nil
	}}, reads
}

// keep adds entries n to m to a stream and waits until a subscriber of the
// channel has received them: the relay keeps them if it has room.
func (h *testHub) keep(s *storeConn, c *testClient, channel string, n, m, size int) {
	seen := c.socket.Await(fmt.Sprintf("#%d:", m))
	s.fill(channel, n, m, size)
	h.Nudge([]byte(channel), false)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if _, ok := arrival(ctx, seen); !ok {
		h.t.Fatalf("a subscriber of %s receives nothing", channel)
	}
}

// reportReads reports the reads of a store.
func reportReads(b *testing.B, reads *atomic.Int64, clients int) {
	b.ReportMetric(float64(reads.Load()), "reads")
	b.ReportMetric(float64(reads.Load())/float64(max(clients, 1)), "reads/client")
}

// durableBesideReplays measures the delay on a live channel while n clients
// resume on a durable channel, where they missed 235 KB that the relay keeps.
func durableBesideReplays(n int) func(b *testing.B) {
	return func(b *testing.B) {
		s, reads := countedStore()
		s.fill("s:1", 1, 1, 1024)
		h := newReturningHub(b, looseBudget(), s)
		keeper, after := h.join("s:1")
		h.keep(s, keeper, "s:1", 2, 231, 1024)
		reads.Store(0)
		c := h.crowd(n, "#231:", connectOptions{room: outboxtest.Unlimited})
		h.whileServed(b, c, subscribe(request("s:1", after)), h.listen())
		reportReads(b, reads, n)
	}
}

// stampedePages lets clients resume with the same cursor on a durable channel
// of which the relay keeps nothing. They missed so many KiB.
func stampedePages(missed, clients int) func(b *testing.B) {
	return func(b *testing.B) {
		s, reads := countedStore()
		s.fill("s:1", 1, 1, 1024)
		h := newReturningHub(b, looseBudget(), s)
		after := h.cursorNow("s:1")
		s.fill("s:1", 2, missed+1, 1024)
		reads.Store(0)
		c := h.crowd(clients, fmt.Sprintf("#%d:", missed+1), connectOptions{room: outboxtest.Unlimited})
		c.send(subscribe(request("s:1", after)))
		c.report(b)
		reportReads(b, reads, clients)
	}
}

// ringHog lets clients resume that missed five short entries of a durable
// channel, while so many idle channels fill all the memory for entries: 8 MiB
// here, so that few idle channels suffice.
func ringHog(hogs, clients int) func(b *testing.B) {
	return func(b *testing.B) {
		s, reads := countedStore()
		h := newReturningHub(b, looseBudget(), s, func(cfg *relay.HubConfig) { cfg.PageCacheBytes = 8 << 20 })
		for i := range hogs {
			name := fmt.Sprint("s:hog", i)
			s.fill(name, 1, 1, 1024)
			hog, _ := h.join(name)
			h.keep(s, hog, name, 2, 1001, 1024)
		}
		s.fill("s:1", 1, 1, 100)
		keeper, after := h.join("s:1")
		h.keep(s, keeper, "s:1", 2, 6, 100)
		reads.Store(0)
		c := h.crowd(clients, "#6:", connectOptions{room: outboxtest.Unlimited})
		c.send(subscribe(request("s:1", after)))
		c.report(b)
		reportReads(b, reads, clients)
	}
}

// outageSequential measures how long a command with so many durable channels
// and a live one blocks its client while there is no link to Redis, and when
// the live channel is answered. The time is that of a bubble.
func outageSequential(channels int) func(b *testing.B) {
	return func(b *testing.B) {
		var handled, answered time.Duration
		bubble(b, func(t *testing.T) {
			s := &storeConn{store: newPlainStore()}
			s.fill("s:0", 1, 1, 0)
			h := newReturningHub(t, looseBudget(), s)
			after := h.cursorNow("s:0")
			h.Offline()
			var requests []string
			for i := range channels {
				requests = append(requests, request(fmt.Sprint("s:", i), after))
			}
			c := h.client(outboxtest.Unlimited)
			seen := c.socket.Await(`"live"`)
			began := time.Now()
			c.handle("%s", subscribe(append(requests, request("live", ""))...))
			handled, answered = time.Since(began), time.Hour // unless it is answered within an hour
			select {
			case at := <-seen:
				answered = at.Sub(began)
			case <-time.After(time.Hour):
			}
		})
		b.ReportMetric(float64(handled), "handled-ns")
		b.ReportMetric(float64(answered), "live-answered-ns")
	}
}

// durableReplayMemory measures the memory of clients that resume on durable
// channels and do not read, without what their outboxes are charged for and
// what the relay keeps of the streams. They have different cursors.
func durableReplayMemory(clients, channels int) func(b *testing.B) {
	return func(b *testing.B) {
		s, _ := countedStore()
		h := newReturningHub(b, looseBudget(), s)
		after := make([][]string, clients)
		for n := range clients {
			for i := range channels {
				name := fmt.Sprint("s:", i)
				s.fill(name, n+1, n+1, 32<<10)
				after[n] = append(after[n], request(name, h.cursorNow(name)))
			}
		}
		for i := range channels {
			s.fill(fmt.Sprint("s:", i), clients+1, clients+100, 32<<10)
		}
		h.replayMemory(b, clients, func(i int) string { return subscribe(after[i]...) })
	}
}
