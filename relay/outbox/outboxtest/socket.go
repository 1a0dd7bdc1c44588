// Package outboxtest provides a fake [outbox.Socket] for tests.
package outboxtest

import (
	"bytes"
	"errors"
	"sync"
	"time"

	"sidecast/relay/outbox"
)

// ErrBroken is the error of a socket after [FakeSocket.Break].
var ErrBroken = errors.New("connection reset")

// A FakeSocket is the sending end of a connection whose kernel accepts exactly
// as many bytes as the test allows. All methods may be called concurrently.
type FakeSocket struct {
	wake chan struct{} // has an element when a waiting Drain should try again

	mu       sync.Mutex
	space    int  // bytes that the kernel still accepts
	unacked  int  // bytes that Unacknowledged returns
	known    bool // SetUnacknowledged was called
	err      error
	got      []byte
	awaited  []byte         // nil: got has everything
	edge     []byte         // the last bytes sent, too few to contain awaited
	seen     chan time.Time // receives when awaited was sent
	finished int
	expired  []time.Duration
}

// Unlimited is a number of bytes that no test exceeds.
const Unlimited = 1 << 40

// NewFakeSocket returns a socket that accepts space bytes until the test allows
// more.
func NewFakeSocket(space int) *FakeSocket {
	return &FakeSocket{wake: make(chan struct{}, 1), space: space}
}

// Send implements [outbox.Socket].
func (s *FakeSocket) Send(frames [][]byte) (n int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return 0, s.err
	}
	for _, frame := range frames {
		part := frame[:min(len(frame), s.space)]
		s.keep(part)
		s.space -= len(part)
		n += len(part)
	}
	return n, nil
}

// Unacknowledged implements [outbox.Socket]. The number is unknown until the
// test calls [FakeSocket.SetUnacknowledged].
func (s *FakeSocket) Unacknowledged() (bytes int, known bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.unacked, s.known
}

// SetUnacknowledged sets how many of the bytes that the kernel accepted the
// client's kernel has not acknowledged.
func (s *FakeSocket) SetUnacknowledged(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unacked, s.known = n, true
}

// keep keeps bytes that were sent, or only looks for the awaited text. The
// socket is locked.
func (s *FakeSocket) keep(part []byte) {
	n := len(s.awaited) - 1
	if n < 0 {
		s.got = append(s.got, part...)
		return
	}
	s.edge = append(s.edge, part[:min(len(part), n)]...)
	if bytes.Contains(part, s.awaited) || bytes.Contains(s.edge, s.awaited) {
		select {
		case s.seen <- time.Now():
		default: // it was sent before
		}
	}
	if len(part) > n {
		s.edge = append(s.edge[:0], part[len(part)-n:]...)
	}
	s.edge = append(s.edge[:0], s.edge[max(len(s.edge)-n, 0):]...)
}

// Await makes the socket keep no more bytes. It returns a channel that receives
// the time at which the first frame with a text is sent after the call.
func (s *FakeSocket) Await(text string) <-chan time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.awaited, s.edge, s.seen = []byte(text), nil, make(chan time.Time, 1)
	return s.seen
}

// Polled implements [outbox.Socket].
func (s *FakeSocket) Polled() bool { return false }

// Drain implements [outbox.Socket].
func (s *FakeSocket) Drain(o *outbox.Outbox) {
	for !o.Resume() {
		<-s.wake
	}
}

// Finish implements [outbox.Socket].
func (s *FakeSocket) Finish() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.finished++
}

// Expire implements [outbox.Socket].
func (s *FakeSocket) Expire(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expired = append(s.expired, d)
}

// Allow makes the kernel accept n bytes, without waking a Drain.
func (s *FakeSocket) Allow(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.space = n
}

// Give makes the kernel accept n bytes more, and wakes a Drain.
func (s *FakeSocket) Give(n int) {
	s.mu.Lock()
	s.space += n
	s.mu.Unlock()
	s.Poke()
}

// Break makes every Send fail.
func (s *FakeSocket) Break() {
	s.mu.Lock()
	s.err = ErrBroken
	s.mu.Unlock()
	s.Poke()
}

// Poke makes a waiting Drain try again, as closing a connection does.
func (s *FakeSocket) Poke() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Receive adds bytes to those that Got returns. It is for sockets that have
// another Drain.
func (s *FakeSocket) Receive(b []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.got = append(s.got, b...)
}

// Got returns the bytes that were sent.
func (s *FakeSocket) Got() []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]byte(nil), s.got...)
}

// Ended reports whether Finish or Expire was called.
func (s *FakeSocket) Ended() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.finished > 0 || len(s.expired) > 0
}

// Finished returns how often Finish was called.
func (s *FakeSocket) Finished() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.finished
}

// Expired returns the arguments of Expire.
func (s *FakeSocket) Expired() []time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]time.Duration(nil), s.expired...)
}
