package front

import (
	"net"
	"time"
)

// A replayed connection is one that net/http serves: it reads again what the
// front has read.
type replayed struct {
	net.Conn
	buffer       *[maxHead]byte // nil after unread was read
	unread       []byte         // in the buffer
	headDeadline time.Time      // until which the first head must arrive; zero after the first deadline
}

// Read implements [net.Conn]. Only one goroutine of net/http reads at a time.
func (c *replayed) Read(b []byte) (int, error) {
	if c.buffer == nil {
		return c.Conn.Read(b)
	}
	n := copy(b, c.unread)
	if c.unread = c.unread[n:]; len(c.unread) == 0 {
		buffers.Put(c.buffer)
		c.buffer, c.unread = nil, nil
	}
	return n, nil
}

// SetReadDeadline implements [net.Conn]. The first deadline is that for the
// first head, whose time began in the front.
func (c *replayed) SetReadDeadline(t time.Time) error {
	if !c.headDeadline.IsZero() && t.After(c.headDeadline) {
		t = c.headDeadline
	}
	c.headDeadline = time.Time{}
	return c.Conn.SetReadDeadline(t)
}

// CloseWrite closes the half for sending.
func (c *replayed) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

// NetConn returns the connection itself.
func (c *replayed) NetConn() net.Conn { return c.Conn }

// Bare returns the connection itself, for a handler that has hijacked c. The
// buffer of net/http is large enough for all that the front has read, so
// nothing is left to be read again.
func (c *replayed) Bare() net.Conn {
	if c.buffer != nil {
		return c
	}
	return c.Conn
}
