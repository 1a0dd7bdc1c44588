package relay_test

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sidecast/relay"
	"sidecast/relay/outbox"
	"sidecast/relay/outbox/outboxtest"
	"sidecast/relay/stream"
)

// BenchmarkReturning measures how much clients that resume, or that read
// slowly, cost the hub and its other clients. Each benchmark prints its own
// figures, once:
//
//	go test -run '^$' -bench Returning -benchtime 1x -timeout 30m ./relay
//
// A client is served when its socket has sent the last message that it missed.
// Clients that are not served within a minute count as unserved.
func BenchmarkReturning(b *testing.B) {
	for _, r := range slices.Concat(returningLive, returningDurable, returningSlow) {
		b.Run(r.name, func(b *testing.B) {
			r.run(b)
			b.ReportMetric(0, "ns/op")
		})
	}
}

// A returning is one benchmark of [BenchmarkReturning].
type returning struct {
	name string
	run  func(b *testing.B)
}

// patience is how long clients may wait until they count as unserved.
const patience = time.Minute

// unbounded is a limit in bytes that no benchmark reaches.
const unbounded = 1 << 40

// newReturningHub returns a running hub that is online. It is not in a bubble,
// unless t is. s may be nil.
func newReturningHub(t testing.TB, budget *outbox.Budget, s *storeConn, change ...func(*relay.HubConfig)) *testHub {
	cfg := relay.HubConfig{
		Shards: 2, Budget: budget, PingInterval: time.Hour, HistoryBytes: 64 << 20, HistoryAge: time.Hour,
	}
	if s != nil {
		cfg.Access, cfg.Streams = mixedRules(), func() stream.Store { return s }
	}
	for _, f := range change {
		f(&cfg)
	}
	h := newTestHub(t, cfg)
	t.Cleanup(h.start())
	h.Online(1)
	h.mark()
	return h
}

// looseBudget evicts no client.
func looseBudget() *outbox.Budget { return outbox.NewBudget(unbounded, unbounded, time.Hour, nil) }

// oneShard is a change for newReturningHub.
func oneShard(cfg *relay.HubConfig) { cfg.Shards = 1 }

// subscribe returns the command for several requests.
func subscribe(requests ...string) string {
	return `{"type":"subscribe","channels":[` + strings.Join(requests, ",") + `]}`
}

// request asks for a channel from a cursor on. It may be empty.
func request(channel, after string) string {
	return fmt.Sprintf(`{"channel":%q,"after":%q}`, channel, after)
}

// join connects a client to a channel. It returns the cursor that the client
// receives.
func (h *testHub) join(channel string) (c *testClient, cursor string) {
	c = h.client(outboxtest.Unlimited)
	c.handle("%s", subscribe(request(channel, "")))
	for deadline := time.Now().Add(patience); cursor == ""; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			h.t.Fatalf("no cursor on %s", channel)
		}
		c.receive()
		cursor = c.cursors(nil)[channel].after
	}
	return c, cursor
}

// cursorNow returns the cursor of a client that is up to date on a channel.
func (h *testHub) cursorNow(channel string) string {
	c, cursor := h.join(channel)
	c.leave()
	return cursor
}

// A crowd is a set of clients that do the same.
type crowd struct {
	clients []*testClient
	seen    []<-chan time.Time // for each: when it was served
	began   time.Time
	running sync.WaitGroup
}

// crowd connects n clients whose sockets take room bytes at once. A client is
// served when its socket has sent last.
func (h *testHub) crowd(n int, last string, o connectOptions) *crowd {
	c := new(crowd)
	o.room += len(handshake)
	for range n {
		one := h.connect(o)
		c.clients = append(c.clients, one)
		c.seen = append(c.seen, one.socket.Await(last))
	}
	h.t.Cleanup(c.leave)
	return c
}

// send makes the goroutine of each client handle a command, and does not wait.
func (c *crowd) send(command string) {
	c.began = time.Now()
	for _, one := range c.clients {
		c.running.Go(func() { one.handle("%s", command) })
	}
}

// wait waits until all clients are served. It returns the time that this took
// after send, and how many are not served.
func (c *crowd) wait() (took time.Duration, unserved int) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for _, seen := range c.seen {
		if at, ok := arrival(ctx, seen); ok {
			took = max(took, at.Sub(c.began))
		} else {
			took, unserved = patience, unserved+1
		}
	}
	return took, unserved
}

// arrival waits for a time.
func arrival(ctx context.Context, seen <-chan time.Time) (at time.Time, ok bool) {
	select {
	case at = <-seen:
		return at, true
	case <-ctx.Done():
	}
	select {
	case at = <-seen: // a client that was served long ago must not depend on which case is chosen
		return at, true
	default:
		return at, false
	}
}

// report waits until all clients are served and reports it.
func (c *crowd) report(b *testing.B) {
	took, unserved := c.wait()
	b.ReportMetric(float64(took), "served-ns")
	b.ReportMetric(float64(unserved), "unserved")
}

// evicted returns how many clients were evicted.
func (c *crowd) evicted() (n int) {
	for _, one := range c.clients {
		if _, evicted := one.outbox.Evicted(); evicted {
			n++
		}
	}
	return n
}

// leave disconnects the clients.
func (c *crowd) leave() {
	ended := waitFor(&c.running)
	for _, one := range c.clients {
		one.left = one.left || !ended // a session belongs to the goroutine that still handles a command
		one.leave()
	}
}

// waitFor waits for goroutines, and reports whether they ended.
func waitFor(running *sync.WaitGroup) bool {
	ended := make(chan struct{})
	go func() { running.Wait(); close(ended) }()
	select {
	case <-ended:
		return true
	case <-time.After(patience):
		return false
	}
}

// delays are how long something took, each time.
type delays []time.Duration

func (d delays) report(b *testing.B) {
	slices.Sort(d)
	b.ReportMetric(d.quantile(0.5), "p50-ns")
	b.ReportMetric(d.quantile(0.99), "p99-ns")
	b.ReportMetric(d.quantile(1), "max-ns")
	b.ReportMetric(float64(len(d)), "samples")
}

// quantile returns the delay that the share q of all delays does not exceed.
func (d delays) quantile(q float64) float64 { return float64(d[int(q*float64(len(d)-1)+0.5)]) }

// asScheduled returns the delays that messages would have if one were due every
// millisecond, even while earlier ones are delayed.
func (d delays) asScheduled() (all delays) {
	for _, took := range d {
		for ; took > 0; took -= time.Millisecond {
			all = append(all, took)
		}
	}
	slices.Sort(all)
	return all
}

// reportEachMillisecond measures a millisecond after each measurement until
// done is closed, at least once, and reports the delays. `scheduled` are those
// of a source that does not wait for a delivery, and that may wait for a
// processor as all goroutines do.
func reportEachMillisecond(b *testing.B, done <-chan struct{}, measure func() time.Duration) {
	var d, late delays
	for due, more := time.Now(), true; more; due = time.Now().Add(time.Millisecond) {
		time.Sleep(time.Until(due))
		d = append(d, measure())
		late = append(late, time.Since(due))
		select {
		case <-done:
			more = false
		default:
		}
	}
	d.report(b)
	scheduled := late.asScheduled()
	b.ReportMetric(scheduled.quantile(0.5), "scheduled-p50-ns")
	b.ReportMetric(scheduled.quantile(0.99), "scheduled-p99-ns")
}

// listen returns a function that publishes a message to one listener on a live
// channel and returns the time until its socket has sent it. The next message
// is published later, so one long delay counts once.
func (h *testHub) listen() func() time.Duration {
	c, _ := h.join("listener")
	n := 0
	return func() time.Duration {
		n++
		text := numbered(n, 5)
		seen := c.socket.Await(string(text))
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		began := time.Now()
		h.Publish([]byte("listener"), text)
		h.Flush()
		if at, ok := arrival(ctx, seen); ok {
			return at.Sub(began)
		}
		return patience
	}
}

// whileServed measures the delay of messages to another client until a crowd is
// served, and reports both. An empty crowd is measured for two seconds.
func (h *testHub) whileServed(b *testing.B, c *crowd, command string, measure func() time.Duration) {
	done := make(chan struct{})
	c.send(command)
	go func() {
		defer close(done)
		c.report(b)
		if len(c.clients) == 0 {
			time.Sleep(2 * time.Second)
		}
	}()
	reportEachMillisecond(b, done, measure)
}

// settle waits until a number has not changed for half a second.
func settle(number func() int64) {
	last, quiet := number(), 0
	for began := time.Now(); quiet < 50 && time.Since(began) < patience; time.Sleep(10 * time.Millisecond) {
		now := number()
		if quiet++; now != last {
			last, quiet = now, 0
		}
	}
}

// memory returns how many bytes the process uses after a garbage collection.
func memory() int {
	runtime.GC()
	runtime.GC() // the first one only empties pools
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc + m.StackInuse)
}

// bubble runs f in a bubble, which [synctest.Test] offers to tests only.
func bubble(b *testing.B, f func(t *testing.T)) {
	b.Helper()
	every := func(string, string) (bool, error) { return true, nil } // whatever -run says
	test := testing.InternalTest{Name: b.Name(), F: func(t *testing.T) { synctest.Test(t, f) }}
	if !testing.RunTests(every, []testing.InternalTest{test}) {
		b.Fatal("the test in the bubble failed")
	}
}
