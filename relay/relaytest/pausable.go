package relaytest

import (
	"errors"
	"net"
	"os"
	"sync"
	"time"
)

// pausableConn lets a client stop reading. One goroutine calls Read; pause and
// resume may be called concurrently.
type pausableConn struct {
	conn  *net.TCPConn
	total int64 // bytes read; owned by the reader

	mu      sync.Mutex
	reading chan struct{} // not nil while Read may consume bytes; closed when it returns
	resumed chan struct{} // not nil while paused; closed on resume
}

// Read reads from the connection, if it is not paused.
func (p *pausableConn) Read(b []byte) (int, error) {
	for {
		p.enter()
		n, err := p.conn.Read(b)
		p.leave()
		p.total += int64(n)
		if !errors.Is(err, os.ErrDeadlineExceeded) { // only pause sets deadlines
			return n, err
		}
	}
}

// enter waits until the connection is not paused.
func (p *pausableConn) enter() {
	for {
		p.mu.Lock()
		resumed := p.resumed
		if resumed == nil {
			p.reading = make(chan struct{})
		}
		p.mu.Unlock()
		if resumed == nil {
			return
		}
		<-resumed
	}
}

func (p *pausableConn) leave() {
	p.mu.Lock()
	defer p.mu.Unlock()
	close(p.reading)
	p.reading = nil
}

// pause ends a Read that waits for bytes, by a deadline in the past. After it
// has returned, no byte is consumed until resume is called.
func (p *pausableConn) pause() {
	p.mu.Lock()
	if p.resumed == nil {
		p.resumed = make(chan struct{})
	}
	_ = p.conn.SetReadDeadline(time.Unix(1, 0))
	reading, resumed := p.reading, p.resumed
	p.mu.Unlock()
	if reading == nil {
		return
	}
	select {
	case <-reading:
	case <-resumed:
	}
}

func (p *pausableConn) resume() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.resumed != nil {
		close(p.resumed)
		p.resumed = nil
	}
	_ = p.conn.SetReadDeadline(time.Time{})
}
