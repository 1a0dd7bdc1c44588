package transport

import (
	"errors"
	"net"
	"os"
	"sync/atomic"
	"time"

	"sidecast/relay/outbox"
)

// LingerTime is how long the relay waits for a client to close its half of the
// connection after the relay has closed its own.
const LingerTime = time.Second

// A Conn is a connection that was taken over from net/http. Outgoing frames wait
// in its outbox. One goroutine reads from it; only that goroutine closes it.
type Conn struct {
	net.Conn // TCP or TLS

	Outbox outbox.Outbox
	direct directSocket // next to the outbox, which calls it for each delivery

	// peerClosed is set when the client sends nothing more and the connection
	// cannot be half-closed: it ends as soon as everything is sent.
	peerClosed atomic.Bool

	expired bool // the read deadline passed, see [Conn.Expire]; owned by the reading goroutine
}

// Init prepares c for use: it must be called once, before any other method. slow
// is the frame that tells the client that it was evicted.
func (c *Conn) Init(netConn net.Conn, b *outbox.Budget, slow []byte) {
	c.Conn = netConn
	c.Outbox.Init(b, newSocket(c), slow)
}

// A Receiver handles what a client sends.
type Receiver interface {
	// Receive handles bytes from the client, which are only valid during the
	// call. It reports false if nothing more may be read.
	Receive(b []byte) bool
	// Incomplete reports whether a part of a message has arrived.
	Incomplete() bool
}

// ended records why reading ended.
func (c *Conn) ended(err error) { c.expired = errors.Is(err, os.ErrDeadlineExceeded) }

// Expired reports whether reading ended because of [Conn.Expire]. Only the
// reading goroutine may call it.
func (c *Conn) Expired() bool { return c.expired }

// Expire makes reading from the connection fail after d.
func (c *Conn) Expire(d time.Duration) { _ = c.Conn.SetReadDeadline(time.Now().Add(d)) }

// Linger reads until the client closes its half. If the relay closed a
// connection with unread bytes, the kernel would send a reset, and the client
// would lose the last frame. If waiting is true, the client sends nothing more,
// and waits for the relay to close the connection.
func (c *Conn) Linger(waiting bool) {
	if _, evicted := c.Outbox.Evicted(); evicted || c.expired {
		return // the client already had its time
	}
	c.Expire(LingerTime)
	if _, halfCloses := c.Conn.(*net.TCPConn); waiting && !halfCloses {
		c.peerClosed.Store(true)
		if c.Outbox.Flushed() {
			return
		}
	}
	var sink [512]byte
	for {
		if _, err := c.Conn.Read(sink[:]); err != nil {
			return
		}
	}
}

// Shut closes the connection, and drops what was not sent.
func (c *Conn) Shut() {
	if tcp, ok := c.Conn.(*net.TCPConn); ok && !c.Outbox.Flushed() {
		_ = tcp.SetLinger(0) // discards unsent bytes: the kernel frees their memory now
	}
	c.Outbox.Shut()
	_ = c.Conn.Close()
}
