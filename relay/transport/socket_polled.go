package transport

import (
	"sync"
	"sync/atomic"
	"time"

	"sidecast/relay/outbox"
)

// A polledSocket is a connection that an event loop reads. The loop owns its
// reading end, and lends it to one goroutine at a time: see [readingOwner].
type polledSocket struct {
	loop *loop
	tag  uint64 // of its events; set when it is added to the loop's table
	fd   int32  // does not change; used while the outbox is locked and not shut, by the owner, and if not closed

	owner       atomic.Uint32 // a readingOwner
	expired     atomic.Bool   // EndReading was called because of Expire
	left        bool          // the session has ended, and what arrives is ignored; only the owner uses it
	inReadAgain bool          // in the loop's list of connections to read again; only the loop uses it

	mu     sync.Mutex  // guards the fields below
	closed bool        // fd is not valid any more
	timer  *time.Timer // of the last Expire; nil if it was not called, or has no effect any more
}

// A readingOwner says who owns the reading end of a connection.
type readingOwner = uint32

const (
	ownedByLoop  readingOwner = iota
	lent                      // to a goroutine that runs a command or ends the connection
	lentReadable              // lent, and the loop has ignored an event
)

// Send implements [outbox.Socket].
func (s *polledSocket) Send(frames [][]byte) (int, error) { return s.loop.kernel.Send(s.fd, frames) }

// Unacknowledged implements [outbox.Socket].
func (s *polledSocket) Unacknowledged() (bytes int, known bool) {
	return s.loop.kernel.Unacknowledged(s.fd)
}

// Polled implements [outbox.Socket].
func (s *polledSocket) Polled() bool { return true }

// Drain implements [outbox.Socket]. It is never called.
func (s *polledSocket) Drain(*outbox.Outbox) {}

// Finish implements [outbox.Socket].
func (s *polledSocket) Finish() {
	s.loop.kernel.EndWriting(s.fd)
	s.Expire(LingerTime)
}

// Expire implements [outbox.Socket]. A later call replaces an earlier one.
func (s *polledSocket) Expire(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.timer != nil {
		s.timer.Stop()
		s.timer = nil
	}
	switch {
	case s.closed:
	case d <= 0:
		s.expireLocked()
	default:
		var timer *time.Timer
		timer = time.AfterFunc(d, func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			if s.timer == timer && !s.closed {
				s.expireLocked()
			}
		})
		s.timer = timer
	}
}

func (s *polledSocket) expireLocked() {
	s.expired.Store(true)
	s.loop.kernel.EndReading(s.fd)
}

// shut closes the descriptor. The outbox was shut. flushed says that everything
// was sent.
func (s *polledSocket) shut(flushed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.timer != nil {
		s.timer.Stop()
		s.timer = nil
	}
	s.closed = true
	s.loop.kernel.Close(s.fd, !flushed)
}

// loopOwns reports whether the loop owns the reading end. If it does not, the
// event for which the loop asks is not lost: see giveBack. Only the loop calls it.
func (s *polledSocket) loopOwns() bool {
	for {
		switch s.owner.Load() {
		case ownedByLoop:
			return true
		case lentReadable:
			return false
		}
		if s.owner.CompareAndSwap(lent, lentReadable) {
			return false
		}
	}
}

// lend makes a goroutine the owner. Only the loop calls it.
func (s *polledSocket) lend() { s.owner.Store(lent) }

// giveBack makes the loop the owner again. If the loop has ignored an event, it
// gets another one. In case it ignores that one too, because it was faster, this
// tries again. Only the owner calls it.
func (s *polledSocket) giveBack() {
	for !s.owner.CompareAndSwap(lent, ownedByLoop) {
		s.owner.Store(lent)
		_ = s.loop.poller.Rearm(s.fd, s.tag) // the descriptor is registered and open
	}
}

// giveBackReadable is giveBack, and lets the loop read in any case.
func (s *polledSocket) giveBackReadable() {
	s.owner.Store(lentReadable)
	s.giveBack()
}
