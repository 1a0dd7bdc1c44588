package transport

import (
	"fmt"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
)

// A Reader reads from the clients' plain TCP connections, with one event loop
// for each processor. A connection that a nil *Reader serves, or that is not
// plain TCP, has a goroutine of its own.
type Reader struct {
	kernel  Kernel
	loops   []*loop
	next    atomic.Uint32 // the loop of the next connection
	running sync.WaitGroup
}

// StartReader returns a reader on Linux, and nil on other systems. Its caller
// stops it with [Reader.Close].
func StartReader() (*Reader, error) {
	if osKernel == nil {
		return nil, nil
	}
	return NewReader(osKernel, runtime.GOMAXPROCS(0))
}

// NewReader is StartReader with a given kernel and number of event loops.
func NewReader(k Kernel, loops int) (*Reader, error) {
	r := &Reader{kernel: k}
	for range loops {
		l, err := newLoop(k)
		if err != nil {
			r.Close()
			return nil, fmt.Errorf("starting an event loop for connections: %w", err)
		}
		r.loops = append(r.loops, l)
		r.running.Go(l.run)
	}
	return r, nil
}

// Close stops the reader. All of its connections must have ended.
func (r *Reader) Close() {
	if r == nil {
		return
	}
	for _, l := range r.loops {
		l.workers.Wait()
		l.endings.running.Wait()
		l.poller.Close()
	}
	r.running.Wait()
}

// adopt takes a connection over for s, and reports whether it did.
func (r *Reader) adopt(s *polledSocket, c net.Conn) bool {
	if r == nil {
		return false
	}
	fd, ok := r.kernel.Adopt(c)
	if !ok {
		return false
	}
	s.fd, s.loop = fd, r.loops[r.next.Add(1)%uint32(len(r.loops))]
	return true
}
