package transport

import (
	"errors"
	"net"
	"os"
	"sync/atomic"
	"time"
)

// An ownReader is a connection with a goroutine that reads from it, and closes
// it.
type ownReader struct {
	net.Conn // TCP or TLS, or a pipe in a test

	direct directSocket

	// peerClosed is set when the client sends nothing more and the connection
	// cannot be half-closed: it ends as soon as everything is sent.
	peerClosed atomic.Bool

	expired bool // the read deadline passed; owned by the reading goroutine
}

// serve reads until the connection ends. It calls few functions, each with a
// small frame: its stack exists once for each of many clients that do nothing.
func (o *ownReader) serve(r Receiver, early *[]byte) {
	if early == nil || o.receive(r, *early) {
		early = nil
		o.readTo(r)
	}
	o.end(r)
}

// receive handles bytes, with the work that they cause. It reports false if
// nothing more may be read. The bytes must not be used otherwise.
func (o *ownReader) receive(r Receiver, b []byte) (more bool) {
	rest, next := receive(r, b)
	return next == More || next == Work && work(r, rest)
}

// end ends the session and the connection.
func (o *ownReader) end(r Receiver) {
	c := r.base()
	farewell := r.Leave(o.expired)
	if farewell != CloseNow && !o.expired && !c.evicted() { // otherwise the client already had its time
		o.linger(c, farewell)
	}
	c.Shut()
	r.Closed()
}

// linger reads until the client closes its half.
func (o *ownReader) linger(c *Conn, how Farewell) {
	o.expire(LingerTime)
	if _, halfCloses := o.Conn.(*net.TCPConn); how == LingerForPeer && !halfCloses {
		o.peerClosed.Store(true)
		if c.Outbox.Flushed() {
			return
		}
	}
	var sink [512]byte
	for {
		if _, err := o.Conn.Read(sink[:]); err != nil {
			return
		}
	}
}

// shut closes the connection. flushed says that everything was sent.
func (o *ownReader) shut(flushed bool) {
	if tcp, ok := o.Conn.(*net.TCPConn); ok && !flushed {
		_ = tcp.SetLinger(0) // discards unsent bytes: the kernel frees their memory now
	}
	_ = o.Conn.Close()
}

// ended records why reading ended.
func (o *ownReader) ended(err error) { o.expired = errors.Is(err, os.ErrDeadlineExceeded) }

// expire makes reading from the connection fail after d.
func (o *ownReader) expire(d time.Duration) { _ = o.Conn.SetReadDeadline(time.Now().Add(d)) }
