package main

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
)

// A fleet is all clients of a run.
type fleet struct {
	// Static.
	course   *course
	channels []*channel
	clients  []*client
	shards   []*shard
	dialer   *dialer
	reader   reader
	slots    chan struct{} // one for each handshake at once
	limiter  *rate.Limiter // of new connections; nil: none
	hurry    chan struct{} // closed when slow clients are to read on
	returns  chan *client  // whom the relay closed

	dialed atomic.Int64 // connections begun
	served atomic.Int64 // clients that hear their channel; slow ones until they notice otherwise

	mu      sync.Mutex
	refused map[string]uint64 // guarded by mu: refusals by reason
}

// smallBuffer is the receive buffer of slow clients, so that the kernel does not read for them.
const smallBuffer = 4 << 10

// newFleet makes the clients that the options ask for; none is connected yet.
func newFleet(o *options, t target, run *course) (*fleet, error) {
	f := &fleet{
		course: run, dialer: newDialer(t, o.protocol, o.headers),
		slots: make(chan struct{}, o.handshakes), hurry: make(chan struct{}),
		returns: make(chan *client, o.clients), refused: map[string]uint64{},
	}
	if o.connectRate > 0 {
		f.limiter = rate.NewLimiter(rate.Limit(o.connectRate), 1)
	}
	for range runtime.GOMAXPROCS(0) {
		f.shards = append(f.shards, &shard{tally: newTally()})
	}
	for i := range o.channels {
		f.channels = append(f.channels, &channel{index: uint32(i), name: fmt.Sprintf("%s%d", o.prefix, i)})
	}
	slow, all := o.slow.of(o.clients), make([]client, o.clients)
	for i := range all {
		all[i] = client{
			id: int32(i), slow: spread(i, slow, o.clients), channel: f.channels[i%o.channels],
			shard: f.shards[i%len(f.shards)], course: run,
		}
		f.clients = append(f.clients, &all[i])
	}
	var err error
	f.reader, err = newReader(o, f.clients, f.shards, newRoutines(int(o.slowRate), f.hurry, f.ended))
	return f, err
}

// ended hears from the reader that the relay ended a connection.
func (f *fleet) ended(c *client) {
	f.served.Add(-1)
	select {
	case f.returns <- c:
	default: // the run is over, and nobody returns any more
	}
}

// connect connects those clients that are away, and returns when all of these are served or ctx ends. Each client is
// reported to each, from any goroutine.
func (f *fleet) connect(ctx context.Context, clients []*client, each func()) {
	var dialing sync.WaitGroup
	for _, c := range clients {
		if !f.claim(c) {
			continue
		}
		if f.limiter != nil && f.limiter.Wait(ctx) != nil {
			f.abandon(c)
			break
		}
		dialing.Go(func() {
			if f.serve(ctx, c) {
				each()
			}
		})
	}
	dialing.Wait()
}

// claim makes the caller the one who connects the client, if it is away.
func (f *fleet) claim(c *client) bool {
	c.shard.mu.Lock()
	defer c.shard.mu.Unlock()
	if c.phase != away {
		return false
	}
	c.phase = dialing
	return true
}

// abandon gives up what claim gave.
func (f *fleet) abandon(c *client) {
	c.shard.mu.Lock()
	defer c.shard.mu.Unlock()
	c.phase = away
}

// serve tries to connect a claimed client, backing off like a browser's library, and reports whether it is served.
func (f *fleet) serve(ctx context.Context, c *client) bool {
	wait := 100 * time.Millisecond
	for {
		select {
		case f.slots <- struct{}{}:
		case <-ctx.Done():
			f.abandon(c)
			return false
		}
		err := f.attempt(ctx, c)
		<-f.slots
		if err == nil {
			f.served.Add(1)
			return true
		}
		if ctx.Err() == nil {
			f.mu.Lock()
			f.refused[err.Error()]++
			f.mu.Unlock()
		}
		if !pause(ctx, wait/2+rand.N(wait)) {
			f.abandon(c)
			return false
		}
		wait = min(2*wait, 2*time.Second)
	}
}

func (f *fleet) attempt(ctx context.Context, c *client) error {
	conn, err := f.dialer.connect(ctx, c, f.dialed.Add(1)-1)
	if err != nil {
		return err
	}
	if tcp, ok := conn.(*net.TCPConn); ok && c.slow {
		_ = tcp.SetReadBuffer(smallBuffer)
	}
	return f.reader.take(c, conn)
}

// pause waits, and reports whether ctx lasted as long.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// bringBack lets clients that the relay closed return after half a second or more, except slow ones, until ctx ends; then
// it waits for those on their way.
func (f *fleet) bringBack(ctx context.Context) {
	var returning sync.WaitGroup
	defer returning.Wait()
	for {
		select {
		case <-ctx.Done():
			return
		case c := <-f.returns:
			if c.slow {
				continue
			}
			returning.Go(func() {
				if pause(ctx, time.Second/2+rand.N(time.Second)) && f.claim(c) {
					f.serve(ctx, c)
				}
			})
		}
	}
}

// drop ends the connections of all clients that are served, all at once, as when a network goes away.
func (f *fleet) drop() (dropped []*client) {
	for _, c := range f.clients {
		c.shard.mu.Lock()
		if c.phase == served {
			c.leave()
			f.served.Add(-1)
			dropped = append(dropped, c)
		}
		c.shard.mu.Unlock()
	}
	return dropped
}

// refusals returns how often clients were refused until now, by reason.
func (f *fleet) refusals() map[string]uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return maps.Clone(f.refused)
}

// tally returns what all clients have seen until now.
func (f *fleet) tally() *tally {
	sum := newTally()
	for _, s := range f.shards {
		s.mu.Lock()
		sum.add(s.tally)
		s.mu.Unlock()
	}
	return sum
}

// waiting returns how many clients have not heard everything yet, slow ones or the others.
func (f *fleet) waiting(slow bool) (n int) {
	for _, c := range f.clients {
		if c.slow != slow {
			continue
		}
		c.shard.mu.Lock()
		if c.waits() {
			n++
		}
		c.shard.mu.Unlock()
	}
	return n
}

// close counts what is missing, says goodbye, and stops reading.
func (f *fleet) close() {
	goodbye := maskedFrame(nil, opClose, []byte{1000 >> 8, 1000 & 0xff})
	for _, c := range f.clients {
		c.shard.mu.Lock()
		c.settle()
		if c.link != nil {
			c.link.write(goodbye)
		}
		c.leave()
		c.shard.mu.Unlock()
	}
	f.reader.stop()
}
