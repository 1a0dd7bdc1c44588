package relaytest

import (
	"errors"
	"net"
	"os"
	"sync"
	"time"
)

// gate lets a client read, or not, or slowly. Read belongs to one goroutine; the other methods may be called
// concurrently.
type gate struct {
	conn *net.TCPConn

	mu      sync.Mutex
	stopped bool
	chunk   int           // bytes a read when slow; 0 at full speed
	every   time.Duration // the pause before each read when slow
	changed chan struct{} // closed at the next change
}

func newGate(conn *net.TCPConn) *gate { return &gate{conn: conn, changed: make(chan struct{})} }

// Read reads from the connection when the gate is open. Whoever closes the gate throws a waiting Read out of the
// connection by a deadline in the past, so that not a byte is read afterwards.
func (g *gate) Read(p []byte) (int, error) {
	for {
		n, err := g.conn.Read(p[:g.pass(len(p))])
		if !errors.Is(err, os.ErrDeadlineExceeded) { // nobody but set makes deadlines
			return n, err
		}
	}
}

// pass waits until something may be read and returns how much.
func (g *gate) pass(size int) int {
	paused := false
	for {
		g.mu.Lock()
		stopped, chunk, every, changed := g.stopped, g.chunk, g.every, g.changed
		g.mu.Unlock()
		switch {
		case stopped:
			<-changed
		case chunk == 0:
			return size
		case paused:
			return min(size, chunk)
		default:
			timer := time.NewTimer(every)
			select {
			case <-timer.C:
				paused = true
			case <-changed:
			}
			timer.Stop()
		}
	}
}

// set changes what passes: nothing, chunk bytes every so often, or with chunk 0 everything.
func (g *gate) set(stopped bool, chunk int, every time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.stopped, g.chunk, g.every = stopped, chunk, every
	close(g.changed)
	g.changed = make(chan struct{})
	if stopped {
		_ = g.conn.SetReadDeadline(time.Unix(1, 0))
		return
	}
	_ = g.conn.SetReadDeadline(time.Time{})
}
