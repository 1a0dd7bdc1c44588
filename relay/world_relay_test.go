package relay_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"sidecast/relay"
	"sidecast/relay/outbox"
	"sidecast/relay/stream"
)

// A failure is one of a relay's connection to the store.
type failure uint8

const (
	failureNone    failure = iota
	failureSlow            // everything takes a while
	failureTimeout         // there are no responses
	failureLoss            // responses are lost, now and then
	failureRefused         // the key is no stream
	numFailures
)

// A worldRelay is one relay and its connections to Redis. The goroutine of its
// source executes the queue.
type worldRelay struct {
	*testHub
	world *world
	stop  func()
	queue chan func()

	total, historyBytes, cacheBytes int // bounds of its memory

	published  []int // entries that the hub was given, by number. Owned by the source
	subscribed bool  // while down: Redis has its subscription, and its messages arrive later. Owned by the source

	mu       sync.Mutex
	up       bool
	failure  failure
	nudges   []string     // on their way
	begun    int          // entries that the relay has begun to receive, or missed
	received int          // entries that it has received or missed
	missed   map[int]bool // entries that it has missed, by number
	outages  []outage     // how the link broke and returned, in turn
	told     int          // outages of which the hub has been told
	waiting  []chan error // of those who wait for the link to catch up
}

// An outage is the end or the begin of a link, after so many entries.
type outage struct {
	online bool
	after  int
}

func (w *world) addRelay() {
	r := &worldRelay{world: w, queue: make(chan func(), 1000), missed: make(map[int]bool)}
	pick := func(choices ...int) int { return choices[w.random.IntN(len(choices))] }
	conn := &storeConn{store: w.store, pass: r.pass, between: w.betweenReads, maxlen: w.maxlen, newID: func(channel string) stream.ID {
		w.mu.Lock()
		defer w.mu.Unlock()
		return w.store.randomID(w.shared, channel)
	}}
	r.total = pick(1<<30, 1<<30, 400_000, 60_000)
	cfg := relay.HubConfig{
		Access: mixedRules(),
		Budget: outbox.NewBudget(pick(2000, 8000, 100_000, 1<<20), r.total, time.Duration(pick(8, 3600))*time.Second, nil),
		Shards: pick(1, 2, 3, 4), PingInterval: time.Duration(pick(2, 3, 3600)) * time.Second, CatchUp: r.catchUp,
		HistoryBytes: pick(0, 1500, 8000, 20_000, 1<<20), HistoryAge: time.Duration(pick(2, 3600)) * time.Second,
		Streams: func() stream.Store { return conn }, PageCacheBytes: pick(700, 5000, 20_000, 64<<20),
	}
	if w.complete {
		cfg.HistoryBytes, cfg.HistoryAge = 1<<22, time.Hour
	}
	r.historyBytes, r.cacheBytes = cfg.HistoryBytes, cfg.PageCacheBytes
	r.testHub = newTestHub(w.t, cfg)
	r.stop = r.start()
	w.relays = append(w.relays, r)
	go func() {
		for do := range r.queue {
			do()
		}
	}()
	if w.complete || w.random.IntN(4) > 0 {
		r.setLink(true)
	}
}

// memorySlack is more than what is added to a bounded memory before the bound is
// enforced: a page, or the frames of one step of each shard.
const memorySlack = 512 << 10

// checkMemory checks that the relay's memory is within its bounds.
func (r *worldRelay) checkMemory() {
	cached, _, _ := r.PageCache()
	for _, m := range []struct {
		what       string
		bytes, max int64
	}{
		{"outboxes", r.budget.Used(), int64(r.total)},
		{"replays", r.budget.ReplayBytes(), int64(r.total) / 4},
		{"pages", cached, int64(r.cacheBytes)},
		{"the history", r.HistoryBytes(), int64(r.historyBytes)},
	} {
		if m.bytes > m.max+memorySlack {
			r.t.Errorf("%d bytes in %s, of %d", m.bytes, m.what, m.max)
		}
	}
}

// receive makes the source receive up to n more entries, and the nudges that
// have arrived, or some of them.
func (r *worldRelay) receive(n int, lose bool) {
	r.queue <- func() {
		r.advance(min(r.received+n, r.world.entries()))
		if n > 1000 || r.world.draw(3) > 0 {
			r.Flush()
		}
		r.mu.Lock()
		nudges := r.nudges
		r.nudges = nil
		r.mu.Unlock()
		for _, channel := range nudges {
			switch {
			case lose && r.world.draw(2) == 0:
			case r.world.draw(5) == 0:
				r.Event([]byte(channel))
			default:
				r.Nudge([]byte(channel), r.world.draw(2) == 0)
			}
		}
	}
}

// advance receives the log up to there, or misses it. Only the source calls it,
// as what follows.
func (r *worldRelay) advance(upTo int) {
	flushEvery := []int{1, 16, 1000}[r.world.draw(3)] // the shards' own goroutines deliver large batches
	for n := r.received + 1; n <= upTo && (r.up || !r.subscribed); n++ {
		r.world.mu.Lock()
		e := r.world.log[n-1]
		r.world.mu.Unlock()
		r.mu.Lock()
		r.begun = n
		r.missed[n] = !r.up
		r.mu.Unlock()
		switch {
		case !r.up:
		case e.kind == entryMarker:
			r.Marker([]byte(e.payload))
		case e.kind == entryOversize:
			r.published = append(r.published, n)
			r.Oversize([]byte(e.channel))
		default:
			r.published = append(r.published, n)
			r.Publish([]byte(e.channel), []byte(e.payload))
		}
		r.mu.Lock()
		r.received = n
		r.mu.Unlock()
		if n%flushEvery == 0 {
			r.Flush()
		}
	}
}

// link connects the relay to Redis, or disconnects it: sooner in Redis than in
// the relay.
func (r *worldRelay) link(up bool) {
	r.queue <- func() {
		if up && !r.up && !r.subscribed && r.world.draw(2) == 0 {
			r.advance(r.world.entries())
			r.subscribed = true
			return
		}
		r.setLink(up)
	}
}

func (r *worldRelay) setLink(up bool) {
	if r.up == up {
		return
	}
	if up && !r.subscribed {
		r.advance(r.world.entries()) // misses it
	}
	r.mu.Lock()
	r.up, r.nudges, r.subscribed = up, nil, false
	r.outages = append(r.outages, outage{up, r.received})
	r.mu.Unlock()
	if up {
		r.Online(7)
	} else {
		r.Offline()
	}
	r.mu.Lock()
	r.told = len(r.outages)
	r.mu.Unlock()
	if !up {
		r.advance(r.world.entries()) // entries on their way are lost
	}
}

// catchUp waits until the relay has received all that was published before.
func (r *worldRelay) catchUp(ctx context.Context) error {
	done := make(chan error, 1)
	r.mu.Lock()
	r.waiting = append(r.waiting, done)
	r.mu.Unlock()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// pong is what those who call catchUp wait for, or the end of a link that was
// dead.
func (r *worldRelay) pong() {
	r.queue <- func() {
		r.mu.Lock()
		waiting := r.waiting
		r.waiting = nil
		r.mu.Unlock()
		if r.world.outages && r.world.draw(20) == 0 {
			r.setLink(false)
		}
		var err error
		if !r.up {
			err = errors.New("there is no link")
		}
		r.advance(r.world.entries())
		r.Flush()
		for _, done := range waiting {
			done <- err
		}
	}
}

// betweenReads lets the streams change, now and then, between the two parts of
// a read.
func (w *world) betweenReads(string) {
	if w.draw(4) == 0 {
		time.Sleep(time.Duration(w.draw(300)) * time.Millisecond)
	}
}

var errStore = errors.New("the store does not answer")

// pass is called for each request to the store and each response. An error is
// the one that the relay gets.
func (r *worldRelay) pass(ctx context.Context, _, _ string) error {
	r.mu.Lock()
	up, failure := r.up, r.failure
	r.mu.Unlock()
	wait := time.Duration(0)
	switch {
	case !up:
		return errStore
	case failure == failureSlow:
		wait = time.Duration(r.world.draw(600)) * time.Millisecond
	case failure == failureTimeout:
		wait = time.Second
	case failure == failureLoss && r.world.draw(2) == 0:
		return errStore
	case failure == failureRefused:
		return fmt.Errorf("%w: WRONGTYPE", stream.ErrNoStream)
	}
	if wait == 0 {
		return nil
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(wait):
	}
	if failure == failureTimeout {
		return errStore
	}
	return nil
}

func (r *worldRelay) fail(f failure) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failure = f
}

// loseNudges loses all nudges of a channel that are on their way.
func (r *worldRelay) loseNudges(channel string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.nudges = slices.DeleteFunc(r.nudges, func(name string) bool { return name == channel })
}

// outagesTold returns of how many outages the hub has been told.
func (r *worldRelay) outagesTold() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.told
}

// moment returns how often the streams were changed, and how many entries the
// relay has begun to receive.
func (r *worldRelay) moment() (moment int64, begun int) {
	_, begun, _ = r.position()
	return r.world.store.moment.Load(), begun
}

// position returns how many entries the relay has received and begun, and how
// many outages there were.
func (r *worldRelay) position() (received, begun, outages int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.received, r.begun, len(r.outages)
}
