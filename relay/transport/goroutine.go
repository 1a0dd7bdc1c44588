package transport

import (
	"errors"
	"net"
	"os"
	"sync/atomic"
	"time"
)

// A goroutineConn is a connection with a goroutine of its own, which reads from
// it and closes it.
type goroutineConn struct {
	net.Conn // TCP or TLS, or a pipe in a test

	direct directSocket

	// peerClosed is set when the client sends nothing more and the connection
	// cannot be half-closed: it ends as soon as everything is sent.
	peerClosed atomic.Bool

	expired bool // the read deadline passed; owned by the goroutine
}

// serve reads until the connection ends. It calls few functions, each with a
// small frame: its stack exists once for each of many clients that do nothing.
func (g *goroutineConn) serve(r Receiver, early *[]byte) {
	if early == nil || g.receive(r, *early) {
		early = nil
		g.readTo(r)
	}
	g.end(r)
}

// receive handles bytes, with the work that they cause. It reports false if
// nothing more may be read. The bytes must not be used otherwise.
func (g *goroutineConn) receive(r Receiver, b []byte) (more bool) {
	rest, next := receive(r, b)
	return next == More || next == Work && work(r, rest)
}

// end ends the session and the connection.
func (g *goroutineConn) end(r Receiver) {
	c := r.base()
	farewell := r.Leave(g.expired)
	if farewell != CloseNow && !g.expired && !c.evicted() { // otherwise the client already had its time
		g.linger(c, farewell)
	}
	c.Shut()
	r.Closed()
}

// linger reads until the client closes its half.
func (g *goroutineConn) linger(c *Conn, how Farewell) {
	g.expire(LingerTime)
	if _, halfCloses := g.Conn.(*net.TCPConn); how == LingerForPeer && !halfCloses {
		g.peerClosed.Store(true)
		if c.Outbox.Flushed() {
			return
		}
	}
	var sink [512]byte
	for {
		if _, err := g.Conn.Read(sink[:]); err != nil {
			return
		}
	}
}

// shut closes the connection. flushed says that everything was sent.
func (g *goroutineConn) shut(flushed bool) {
	if tcp, ok := g.Conn.(*net.TCPConn); ok && !flushed {
		_ = tcp.SetLinger(0) // discards unsent bytes: the kernel frees their memory now
	}
	_ = g.Conn.Close()
}

// ended records why reading ended.
func (g *goroutineConn) ended(err error) { g.expired = errors.Is(err, os.ErrDeadlineExceeded) }

// expire makes reading from the connection fail after d.
func (g *goroutineConn) expire(d time.Duration) { _ = g.Conn.SetReadDeadline(time.Now().Add(d)) }
