package transport

import (
	"net"
	"time"

	"sidecast/relay/outbox"
)

// LingerTime is how long the relay waits for a client to close its half of the
// connection after the relay has closed its own.
const LingerTime = time.Second

// A Conn is a connection that was taken over from net/http. Outgoing frames wait
// in its outbox. Either an event loop or a goroutine of its own reads from it.
type Conn struct {
	Outbox    outbox.Outbox
	polled    polledSocket   // if an event loop reads; next to the outbox, which calls it for each delivery
	goroutine *goroutineConn // otherwise
}

// Init prepares c for use: it must be called once, before any other method. The
// connection belongs to c from now on. slow is the frame that tells the client
// that it was evicted. reader may be nil.
func (c *Conn) Init(reader *Reader, netConn net.Conn, b *outbox.Budget, slow []byte) {
	if reader.adopt(&c.polled, netConn) {
		c.Outbox.Init(b, &c.polled, slow)
		return
	}
	c.goroutine = &goroutineConn{Conn: netConn}
	c.Outbox.Init(b, newSocket(c.goroutine), slow)
}

// Shut closes the connection, and drops what was not sent. It is for a
// connection that is not served.
func (c *Conn) Shut() {
	flushed := c.Outbox.Flushed()
	c.Outbox.Shut()
	if c.goroutine != nil {
		c.goroutine.shut(flushed)
		return
	}
	c.polled.shut(flushed)
}

var _ interface{ base() *Conn } = (*Conn)(nil)

// base implements [Receiver] for a type in which a Conn is embedded.
func (c *Conn) base() *Conn { return c }

// evicted reports whether the client was evicted.
func (c *Conn) evicted() bool {
	_, evicted := c.Outbox.Evicted()
	return evicted
}
