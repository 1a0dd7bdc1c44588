package source

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

// errEpochEnded is what callers of CatchUp get whose epoch ended while they waited.
var errEpochEnded = errors.New("the epoch ended")

// CatchUp returns nil once everything that Redis had published to this link before the call was handed to the sink. It
// returns an error that wraps ErrUnavailable when no epoch is running or when the epoch ends meanwhile, of which the sink
// has been told then, and ctx's error when ctx ends first.
//
// It sends a PING over the link, whose answer comes behind all that Redis had to send. However many wait at once, one
// PING is under way: who comes later waits for the next, because an answer says nothing about what was published after
// the question. In a cluster it covers what the link's node had sent, not what was on its way there from other nodes.
// CatchUp may be called concurrently, but neither from within a method of the sink nor with a lock held
// that one of them takes.
func (l *Link) CatchUp(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	f, err := l.barrier.join()
	if err != nil {
		return err
	}
	select {
	case <-f.turn:
		l.barrier.write(f)
	case <-f.done:
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case <-f.done:
		return f.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// A barrier is what callers of CatchUp wait at.
type barrier struct {
	// Guarded by mu.
	mu     sync.Mutex
	conn   *tap    // whose epoch is running; nil if none is
	flight *flight // the PING under way, or to be written by whoever waits for it; nil if nobody waits
	next   *flight // for those who came after that was written
}

// A flight is one PING and those who wait for its answer.
type flight struct {
	turn chan struct{} // closed when its PING may be written
	done chan struct{} // closed when it is over
	err  error         // read after done only

	claimed bool   // somebody writes the PING; guarded by the barrier
	seq     uint64 // the PING's; 0 until it is written; guarded by the barrier
}

func newFlight() *flight { return &flight{turn: make(chan struct{}), done: make(chan struct{})} }

// begin opens the barrier for the conn's epoch. Called on the link's goroutine, as are end and ponged.
func (b *barrier) begin(conn *tap) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.conn = conn
}

// end tells all who wait that the epoch is over.
func (b *barrier) end() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.conn = nil
	for _, f := range []*flight{b.flight, b.next} {
		if f != nil {
			f.err = fmt.Errorf("%w: %w", ErrUnavailable, errEpochEnded)
			close(f.done)
		}
	}
	b.flight, b.next = nil, nil
}

// join returns the flight that a caller of now must wait for: one whose PING has not been written.
func (b *barrier) join() (*flight, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.conn == nil:
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, errNoEpoch)
	case b.flight == nil:
		b.flight = newFlight()
		close(b.flight.turn)
		return b.flight, nil
	case !b.flight.claimed:
		return b.flight, nil
	case b.next == nil:
		b.next = newFlight()
	}
	return b.next, nil
}

// write writes the flight's PING, unless somebody else does. It is one of those who wait that writes, because the link's
// goroutine must not: it might wait for a Redis that waits for it.
func (b *barrier) write(f *flight) {
	b.mu.Lock()
	if f != b.flight || f.claimed {
		b.mu.Unlock()
		return
	}
	f.claimed = true
	conn := b.conn
	b.mu.Unlock()

	seq, err := conn.ping()
	if err != nil {
		return // the conn is ending, and with it the flight
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	f.seq = seq
	b.land(conn)
}

// ponged takes an answer on conn.
func (b *barrier) ponged(conn *tap) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.land(conn)
}

// land ends the flight if its answer has come, and lets the next one begin. Called with the lock held.
func (b *barrier) land(conn *tap) {
	f := b.flight
	if f == nil || conn != b.conn || f.seq == 0 || conn.ponged.Load() < f.seq {
		return
	}
	close(f.done)
	b.flight, b.next = b.next, nil
	if b.flight != nil {
		close(b.flight.turn)
	}
}
