package source

import (
	"errors"
	"fmt"
	"sync"
)

// errEpochEnded is returned by CatchUp if the epoch ends while the caller
// waits.
var errEpochEnded = errors.New("the epoch ended")

// A barrier makes the callers of CatchUp wait for the answer to a PING.
type barrier struct {
	// Guarded by mu.
	mu      sync.Mutex
	conn    *pubsubConn // whose epoch is running; nil if no epoch is
	current *pingRound  // the round whose PING is sent or may be written; nil if no caller waits
	next    *pingRound  // for callers that arrive after current's PING was written
}

// A pingRound is one PING and the callers that wait for its answer.
type pingRound struct {
	writable chan struct{} // closed when the PING may be written
	done     chan struct{} // closed when the round is over
	err      error         // valid after done is closed

	// Guarded by the barrier's mutex.
	claimed bool   // a caller is writing the PING
	seq     uint64 // the PING's sequence number; 0 until it is written
}

func newPingRound() *pingRound {
	return &pingRound{writable: make(chan struct{}), done: make(chan struct{})}
}

// begin opens the barrier for the connection's epoch. Called on the link's
// goroutine, like end and ponged.
func (b *barrier) begin(conn *pubsubConn) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.conn = conn
}

// end releases all callers with an error because the epoch ended.
func (b *barrier) end() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.conn = nil
	for _, r := range []*pingRound{b.current, b.next} {
		if r != nil {
			r.err = fmt.Errorf("%w: %w", ErrUnavailable, errEpochEnded)
			close(r.done)
		}
	}
	b.current, b.next = nil, nil
}

// join returns the round that a caller must wait for, which is one whose PING
// has not been written.
func (b *barrier) join() (*pingRound, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.conn == nil:
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, errNoEpoch)
	case b.current == nil:
		b.current = newPingRound()
		close(b.current.writable)
		return b.current, nil
	case !b.current.claimed:
		return b.current, nil
	case b.next == nil:
		b.next = newPingRound()
	}
	return b.next, nil
}

// write writes the round's PING, unless another caller does. A waiting caller
// writes it, because the link's goroutine must not: it could wait for Redis
// while Redis waits for it.
func (b *barrier) write(r *pingRound) {
	b.mu.Lock()
	if r != b.current || r.claimed {
		b.mu.Unlock()
		return
	}
	r.claimed = true
	conn := b.conn
	b.mu.Unlock()

	seq, err := conn.ping()
	if err != nil {
		return // the connection is ending, which ends the round
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	r.seq = seq
	b.finishRound(conn)
}

// ponged handles an answer to a PING on conn.
func (b *barrier) ponged(conn *pubsubConn) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.finishRound(conn)
}

// finishRound ends the current round if its answer has arrived, and lets the
// next one begin. Called with the lock held.
func (b *barrier) finishRound(conn *pubsubConn) {
	r := b.current
	if r == nil || conn != b.conn || r.seq == 0 || conn.ponged.Load() < r.seq {
		return
	}
	close(r.done)
	b.current, b.next = b.next, nil
	if b.current != nil {
		close(b.current.writable)
	}
}
