package relay_test

import (
	"bytes"
	"context"
	"testing"
	"time"

	"sidecast/relay/outbox"
	"sidecast/relay/outbox/outboxtest"
	"sidecast/relay/protocol"
)

// returningSlow has the benchmarks of clients that read slowly, and of what one
// burst costs afterwards.
var returningSlow = []returning{
	{"relieve/10000", relieve(10_000)},
	{"relieve/20000", relieve(20_000)},
	{"relieve/50000", relieve(50_000)},
	{"big-message/600", bigMessage(600)},
	{"replays-evict-live/300", replaysEvictLive(300)},
	{"slow-line-loops", slowLineLoops},
	{"scratch", scratch},
}

// relieve measures the fan-out of a message of 1 KiB to n clients that are
// 4 KiB behind: without a bound on all outboxes, and with one that it exceeds.
func relieve(n int) func(b *testing.B) {
	return func(b *testing.B) {
		took, _, _ := fanoutToSlow(b, n, unbounded)
		b.ReportMetric(float64(took), "unbounded-ns")
		took, relieved, evicted := fanoutToSlow(b, n, n*5000)
		b.ReportMetric(float64(took), "bounded-ns")
		b.ReportMetric(float64(relieved), "relieved-ns")
		b.ReportMetric(float64(evicted), "evicted")
	}
}

// fanoutToSlow returns how long the fan-out took, when the outboxes were within
// their bound again, and how many clients were evicted.
func fanoutToSlow(b *testing.B, n, total int) (took, relieved time.Duration, evicted int) {
	h := newReturningHub(b, outbox.NewBudget(2<<20, total, time.Hour, nil), nil, oneShard)
	c := h.crowd(n, "nothing", connectOptions{protocol: protocol.Raw{}, channels: []string{"a"}})
	defer c.leave()
	last, _ := h.join("last") // what the shard delivers after it to another client
	wait := func() (at time.Time) {
		seen := last.socket.Await("last message")
		h.Publish([]byte("last"), []byte("last message"))
		h.Flush()
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		at, ok := arrival(ctx, seen)
		if !ok {
			b.Fatal("the fan-out does not end")
		}
		return at
	}
	message := bytes.Repeat([]byte("x"), 1024)
	for range 4 {
		h.Publish([]byte("a"), message)
		h.Flush()
		wait()
	}
	began := time.Now()
	h.Publish([]byte("a"), message)
	h.Flush()
	took = wait().Sub(began)
	for h.budget.Used() > int64(total) && time.Since(began) < patience {
		time.Sleep(100 * time.Microsecond)
	}
	return took, time.Since(began), c.evicted()
}

const (
	// lineBuffer is how many bytes the kernel accepts for a client at once.
	lineBuffer = 256 << 10
	// lineTurn is how often a client reads.
	lineTurn = 20 * time.Millisecond
)

// bigMessage sends a message of a million bytes to n clients that read 3 MB/s
// each, with the default bound of 256 MiB on all outboxes.
func bigMessage(n int) func(b *testing.B) {
	return func(b *testing.B) {
		var evicted, unserved int
		var took time.Duration
		bubble(b, func(t *testing.T) {
			h := newReturningHub(t, outbox.NewBudget(2<<20, 256<<20, 10*time.Second, nil), nil)
			o := connectOptions{protocol: protocol.Raw{}, channels: []string{"a"}, room: lineBuffer}
			c := h.crowd(n, "the end", o)
			c.began = time.Now()
			h.Publish([]byte("a"), append(bytes.Repeat([]byte("x"), 1_000_000), "the end"...))
			h.Flush()
			for range 10 * time.Second / lineTurn {
				time.Sleep(lineTurn)
				for _, one := range c.clients {
					one.socket.Give(60_000)
				}
			}
			evicted = c.evicted()
			took, unserved = c.wait()
		})
		b.ReportMetric(float64(took), "served-ns")
		b.ReportMetric(float64(unserved), "unserved")
		b.ReportMetric(float64(evicted), "evicted")
	}
}

// replaysEvictLive lets clients that do not read resume while a client of a
// live channel is 200 kB behind, with a small bound on all outboxes.
func replaysEvictLive(n int) func(b *testing.B) {
	return func(b *testing.B) {
		h := newReturningHub(b, outbox.NewBudget(2<<20, 8<<20, time.Hour, nil), nil)
		after := h.cursorNow("busy")
		h.publishSized("busy", 1, 2000, 800)
		live := h.crowd(1, "nothing", connectOptions{channels: []string{"live"}})
		h.publishSized("live", 1, 1, 200_000)
		settle(h.budget.Used)
		c := h.crowd(n, "nothing", connectOptions{})
		c.send(subscribe(request("busy", after)))
		settle(h.budget.Used)
		b.ReportMetric(float64(live.evicted()), "live-evicted")
		b.ReportMetric(float64(c.evicted()), "evicted")
	}
}

// slowLineLoops lets a client on a line of 400 kbit/s resume on a durable
// channel where it missed an entry of a million bytes. It connects again
// whenever it is evicted, at most five times. The time is that of a bubble.
func slowLineLoops(b *testing.B) {
	var took time.Duration
	var sent int64
	evicted, unserved := 0, 1
	bubble(b, func(t *testing.T) {
		s := &storeConn{store: newPlainStore()}
		s.fill("s:1", 1, 1, 0)
		h := newReturningHub(t, outbox.NewBudget(2<<20, 256<<20, 10*time.Second, nil), s)
		after := h.cursorNow("s:1")
		s.fill("s:1", 2, 2, 1_000_000)
		s.fill("s:1", 3, 3, 0)
		began := time.Now()
		for more := true; more && evicted < 5; {
			c := h.crowd(1, "#3:", connectOptions{room: lineBuffer})
			c.send(subscribe(request("s:1", after)))
			more = !readSlowly(c)
			n, _ := c.clients[0].outbox.Sent()
			sent += n
			evicted += c.evicted()
			unserved -= len(c.seen[0])
		}
		took = time.Since(began)
	})
	b.ReportMetric(float64(took), "served-ns")
	b.ReportMetric(float64(unserved), "unserved")
	b.ReportMetric(float64(evicted), "evicted")
	b.ReportMetric(float64(sent), "sent-B")
}

// readSlowly makes one client read until it is served or evicted. It reports
// whether it is not evicted.
func readSlowly(c *crowd) bool {
	for began := time.Now(); time.Since(began) < patience; {
		time.Sleep(lineTurn)
		c.clients[0].socket.Give(1000)
		if c.evicted() > 0 {
			return false
		}
		if len(c.seen[0]) > 0 {
			return true
		}
	}
	return true
}

// scratch measures what two messages cost a client before and after it receives
// 90,000 at once.
func scratch(b *testing.B) {
	h := newReturningHub(b, looseBudget(), nil, oneShard)
	c := h.crowd(1, "#90000:", connectOptions{room: outboxtest.Unlimited, channels: []string{"a"}})
	pair := func() time.Duration {
		best := time.Hour
		for range 20 {
			began := time.Now()
			for range 200 {
				h.publishSized("a", 1, 2, 0)
			}
			best = min(best, time.Since(began)/200)
		}
		return best
	}
	before, used := pair(), memory()
	c.began = time.Now()
	h.publishSized("a", 1, 90_000, 0)
	c.report(b)
	settle(func() int64 { return int64(c.clients[0].pending()) })
	b.ReportMetric(float64(before), "before-ns")
	b.ReportMetric(float64(pair()), "after-ns")
	b.ReportMetric(float64(memory()-used), "kept-B")
}
