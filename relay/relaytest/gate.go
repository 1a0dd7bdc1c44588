package relaytest

import (
	"errors"
	"net"
	"os"
	"sync"
	"time"
)

// gate lets a client read, or not, or slowly. Read belongs to one goroutine; set may be called concurrently.
type gate struct {
	conn  *net.TCPConn
	total int64 // bytes read; owned by the reader

	mu      sync.Mutex
	inside  chan struct{} // not nil while Read may take bytes; closed when it comes back
	changed chan struct{} // closed at the next change of what follows
	stopped bool
	chunk   int           // bytes a read when slow; 0 at full speed
	every   time.Duration // the pause before each read when slow
}

func newGate(conn *net.TCPConn) *gate { return &gate{conn: conn, changed: make(chan struct{})} }

// Read reads from the connection when the gate is open.
func (g *gate) Read(p []byte) (int, error) {
	for {
		n, err := g.conn.Read(p[:g.enter(len(p))])
		g.leave()
		g.total += int64(n)
		if !errors.Is(err, os.ErrDeadlineExceeded) { // nobody but set makes deadlines
			return n, err
		}
	}
}

// enter waits until something may be read and returns how much.
func (g *gate) enter(size int) int {
	paused := false
	for {
		g.mu.Lock()
		stopped, chunk, every, changed := g.stopped, g.chunk, g.every, g.changed
		open := !stopped && (chunk == 0 || paused)
		if open {
			g.inside = make(chan struct{})
		}
		g.mu.Unlock()
		switch {
		case open && chunk > 0:
			return min(size, chunk)
		case open:
			return size
		case stopped:
			<-changed
		default:
			paused = pause(every, changed)
		}
	}
}

func (g *gate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	close(g.inside)
	g.inside = nil
}

// set changes what passes: nothing, chunk bytes every so often, or with chunk 0 everything. A Read that waits for bytes
// is thrown out by a deadline in the past; when set has stopped the gate, not a byte is taken any more.
func (g *gate) set(stopped bool, chunk int, every time.Duration) {
	g.mu.Lock()
	g.stopped, g.chunk, g.every = stopped, chunk, every
	close(g.changed)
	g.changed = make(chan struct{})
	deadline := time.Time{}
	if stopped {
		deadline = time.Unix(1, 0)
	}
	_ = g.conn.SetReadDeadline(deadline)
	inside, changed := g.inside, g.changed
	g.mu.Unlock()
	if !stopped || inside == nil {
		return
	}
	select {
	case <-inside:
	case <-changed:
	}
}
