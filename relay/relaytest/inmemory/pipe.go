package inmemory

import (
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// receiveBuffer is how many bytes from a client wait to be read.
const receiveBuffer = 256 << 10

// A Conn is one end of a connection in memory. The relay's end can be given to
// the [Kernel] that made it. What a client writes waits in a buffer. But the
// relay can only send as many bytes as the client is waiting for: a test decides
// by reading what has been sent.
type Conn struct {
	kernel  *Kernel
	remote  net.Addr
	peer    *Conn
	in, out *stream
	changed *sync.Cond // of both ends

	// Guarded by the kernel's lock.
	readBefore, writeBefore deadline
	registration            // of the relay's end
}

// A stream has the bytes in one direction. The kernel's lock guards it.
type stream struct {
	buf     []byte
	limit   int   // bytes that buf may have
	waiting bool  // limit is the size of a waiting reader's buffer, or the bytes that it has not taken yet
	ended   bool  // nothing more will be written
	broken  error // of all further reads and writes
	closed  bool  // nothing more will be read
}

func (s *stream) room() int { return s.limit - len(s.buf) }

// Pipe returns the two ends of a new connection. The address is that of the
// client.
func (k *Kernel) Pipe(address net.Addr) (client, relay *Conn) {
	up, down := &stream{limit: receiveBuffer}, &stream{waiting: true}
	changed := sync.NewCond(&k.mu)
	client = &Conn{kernel: k, remote: address, in: down, out: up, changed: changed}
	relay = &Conn{kernel: k, remote: address, peer: client, in: up, out: down, changed: changed}
	client.peer = relay
	return client, relay
}

// Read implements [net.Conn].
func (c *Conn) Read(b []byte) (int, error) {
	c.kernel.mu.Lock()
	defer c.kernel.mu.Unlock()
	for {
		if n, err := c.in.read(b); n > 0 || err != nil || len(b) == 0 {
			c.changed.Broadcast() // there is room
			return n, err
		}
		if c.readBefore.passed() {
			c.in.stopWaiting()
			return 0, os.ErrDeadlineExceeded
		}
		if c.in.waiting {
			c.in.limit = len(b)
			c.changed.Broadcast()
			c.peer.enqueueWritable()
		}
		c.changed.Wait()
	}
}

// read reads without waiting. It returns 0 and nil if there is nothing to read.
func (s *stream) read(b []byte) (int, error) {
	n := copy(b, s.buf)
	s.buf = s.buf[n:]
	switch {
	case s.closed:
		return 0, net.ErrClosed
	case n > 0:
		s.stopWaiting()
		return n, nil
	case s.broken != nil:
		return 0, s.broken
	case s.ended:
		return 0, io.EOF
	}
	return 0, nil
}

func (s *stream) stopWaiting() {
	if s.waiting {
		s.limit = len(s.buf)
	}
}

// Write implements [net.Conn].
func (c *Conn) Write(b []byte) (written int, err error) {
	c.kernel.mu.Lock()
	defer c.kernel.mu.Unlock()
	for {
		n, err := c.out.write(b)
		written, b = written+n, b[n:]
		if n > 0 {
			c.wakePeer()
		}
		switch {
		case err != nil || len(b) == 0:
			return written, err
		case c.writeBefore.passed():
			return written, os.ErrDeadlineExceeded
		}
		c.changed.Wait()
	}
}

// write writes as much as possible without waiting.
func (s *stream) write(b []byte) (int, error) {
	switch {
	case s.ended:
		return 0, net.ErrClosed
	case s.broken != nil:
		return 0, s.broken
	case s.closed:
		return 0, io.ErrClosedPipe
	}
	n := min(len(b), max(s.room(), 0))
	s.buf = append(s.buf, b[:n]...)
	return n, nil
}

// CloseWrite half-closes the connection.
func (c *Conn) CloseWrite() error {
	c.kernel.mu.Lock()
	defer c.kernel.mu.Unlock()
	c.out.ended = true
	c.wakePeer()
	return nil
}

// Close implements [net.Conn].
func (c *Conn) Close() error {
	c.kernel.mu.Lock()
	defer c.kernel.mu.Unlock()
	c.closeLocked()
	return nil
}

func (c *Conn) closeLocked() {
	c.out.ended, c.in.closed, c.in.buf = true, true, nil
	c.readBefore.set(time.Time{}, nil)
	c.writeBefore.set(time.Time{}, nil)
	c.wakePeer()
}

// Reset closes the connection as the kernel does for a process that dies with
// unread bytes: the peer's writes fail, and its reads after it has read what has
// arrived.
func (c *Conn) Reset() {
	c.kernel.mu.Lock()
	defer c.kernel.mu.Unlock()
	c.resetLocked()
}

func (c *Conn) resetLocked() {
	c.out.broken, c.in.broken = errReset, errReset
	c.closeLocked()
}

// wakePeer wakes goroutines that wait for this end, and the peer's poller.
func (c *Conn) wakePeer() {
	c.changed.Broadcast()
	c.peer.enqueue()
}

// RemoteAddr implements [net.Conn].
func (c *Conn) RemoteAddr() net.Addr { return c.remote }

// LocalAddr implements [net.Conn].
func (c *Conn) LocalAddr() net.Addr { return address{} }

type address struct{}

func (address) Network() string { return "pipe" }
func (address) String() string  { return "memory" }

// SetDeadline implements [net.Conn].
func (c *Conn) SetDeadline(t time.Time) error {
	_ = c.SetReadDeadline(t)
	return c.SetWriteDeadline(t)
}

// SetReadDeadline implements [net.Conn].
func (c *Conn) SetReadDeadline(t time.Time) error { return c.setDeadline(&c.readBefore, t) }

// SetWriteDeadline implements [net.Conn].
func (c *Conn) SetWriteDeadline(t time.Time) error { return c.setDeadline(&c.writeBefore, t) }

func (c *Conn) setDeadline(d *deadline, t time.Time) error {
	c.kernel.mu.Lock()
	defer c.kernel.mu.Unlock()
	d.set(t, func() {
		c.kernel.mu.Lock()
		defer c.kernel.mu.Unlock()
		c.changed.Broadcast()
	})
	c.changed.Broadcast()
	return nil
}

// A deadline is the time when reads or writes fail, or zero.
type deadline struct {
	at    time.Time
	timer *time.Timer
}

func (d *deadline) passed() bool { return !d.at.IsZero() && !time.Now().Before(d.at) }

// set replaces the deadline. passed is called when it passes.
func (d *deadline) set(t time.Time, passed func()) {
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
	if d.at = t; !t.IsZero() && !d.passed() {
		d.timer = time.AfterFunc(time.Until(t), passed)
	}
}
