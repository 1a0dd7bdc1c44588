// Package front reads WebSocket handshakes in front of net/http, which spends
// more on a connection that it gives away than the relay on a client. It serves
// only ordinary handshakes; net/http gets every other connection, as it arrived.
package front

import (
	"bytes"
	"context"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// A Front is the listener of an http.Server. It calls the server's handler for
// ordinary handshakes itself, within the limits of the server and with the
// hooks ConnState and ConnContext, and returns the other connections from
// Accept.
type Front struct {
	net.Listener
	server   *http.Server
	endpoint func(path string) bool
	secured  func(net.Conn)  // may be nil
	context  context.Context // of all requests

	others  chan accepted // for the server
	closed  chan struct{}
	running sync.WaitGroup // of the goroutines that accept and serve

	work chan *conn   // for goroutines that have served before; accept closes it
	idle atomic.Int32 // number of those that wait for work, or are about to

	mu     sync.Mutex
	conns  map[*conn]struct{} // that the front serves; nil after Close
	closer sync.Once
}

// accepted is a result of Accept.
type accepted struct {
	conn net.Conn
	err  error
}

// Listen accepts connections from l for s, which has a Handler, an ErrorLog and a
// ReadHeaderTimeout, and must not be changed any more. endpoint reports whether a
// path accepts WebSocket clients: its handler must answer each other handshake
// with one short response. l must not encrypt: secured, if it is not nil, is called
// for each connection whose client begins with a TLS handshake, before the server
// rejects it. The caller passes the result to s.Serve, and calls [Front.Wait] after
// it.
func Listen(s *http.Server, l net.Listener, endpoint func(path string) bool, secured func(net.Conn)) *Front {
	f := &Front{
		Listener: l, server: s, endpoint: endpoint, secured: secured, context: context.WithValue(context.Background(), http.ServerContextKey, s),
		others: make(chan accepted), closed: make(chan struct{}), work: make(chan *conn), conns: make(map[*conn]struct{}),
	}
	f.running.Go(f.accept)
	return f
}

// accept accepts connections until the front is closed.
func (f *Front) accept() {
	defer close(f.work)
	for {
		netConn, err := f.Listener.Accept()
		if err == nil {
			f.start(netConn)
		} else if !f.pass(accepted{err: err}) { // the server waits after an error before it accepts again
			return
		}
	}
}

// pass makes Accept return a, and reports false if the front is closed.
func (f *Front) pass(a accepted) bool {
	select {
	case f.others <- a:
		return true
	case <-f.closed:
		return false
	}
}

// Accept implements [net.Listener].
func (f *Front) Accept() (net.Conn, error) {
	select {
	case a := <-f.others:
		return a.conn, a.err
	case <-f.closed:
		return nil, net.ErrClosed
	}
}

// Close stops accepting, and closes the connections whose handshakes the front
// reads or serves.
func (f *Front) Close() (err error) {
	f.closer.Do(func() {
		err = f.Listener.Close()
		close(f.closed)
		f.mu.Lock()
		defer f.mu.Unlock()
		for c := range f.conns {
			_ = c.net.Close()
		}
		f.conns = nil
	})
	return err
}

// Wait returns when the front is closed and all its goroutines have ended.
func (f *Front) Wait() { f.running.Wait() }

// start serves a new connection.
func (f *Front) start(netConn net.Conn) {
	c := &conn{front: f, net: netConn}
	f.mu.Lock()
	open := f.conns != nil
	if open {
		f.conns[c] = struct{}{}
	}
	f.mu.Unlock()
	if !open {
		c.end()
		return
	}
	select {
	case f.work <- c:
	default:
		f.running.Go(func() { f.serve(c) })
	}
}

// maxIdle is how many goroutines wait for the next connections. Their stacks
// have grown already; a handler makes that of a new goroutine grow twice.
const maxIdle = 8

// serve serves connections, as long as few goroutines do so.
func (f *Front) serve(c *conn) {
	for ok := true; ok; {
		c.serve()
		if f.idle.Add(1) > maxIdle {
			f.idle.Add(-1)
			return
		}
		c, ok = <-f.work
		f.idle.Add(-1)
	}
}

// leave makes the front forget a connection.
func (f *Front) leave(c *conn) {
	f.mu.Lock()
	delete(f.conns, c)
	f.mu.Unlock()
}

// A conn is a connection whose first request the front reads.
type conn struct {
	front        *Front
	net          net.Conn
	headDeadline time.Time // for receiving the head
}

// buffers hold what was read of one connection each.
var buffers = sync.Pool{New: func() any { return new([maxHead]byte) }}

// serve reads the first request, and serves it or passes the connection on.
func (c *conn) serve() {
	buffer := buffers.Get().(*[maxHead]byte)
	n, head := c.read(buffer[:])
	if head > 0 {
		if r, ok := parse(buffer[:head]); ok && c.front.endpoint(r.URL.Path) {
			c.answer(&r, buffer[head:n])
			buffers.Put(buffer)
			return
		}
	}
	if c.front.secured != nil && beginsTLS(buffer[:n]) {
		c.front.secured(c.net)
	}
	c.front.leave(c)
	if n == 0 || !c.front.pass(accepted{conn: &replayed{Conn: c.net, buffer: buffer, unread: buffer[:n], headDeadline: c.headDeadline}}) {
		buffers.Put(buffer)
		c.end()
	}
}

// beginsTLS reports whether a client begins with a TLS handshake.
func beginsTLS(b []byte) bool { return len(b) > 1 && b[0] == 0x16 && b[1] == 3 }

// read reads until b holds a request head, or until net/http has to decide: it
// answers some heads earlier, as it accepts lines that end without CR. It returns
// how many bytes it has read, and the length of the head, or 0.
func (c *conn) read(b []byte) (n, head int) {
	if timeout := c.front.server.ReadHeaderTimeout; timeout > 0 {
		c.headDeadline = time.Now().Add(timeout)
		_ = c.net.SetReadDeadline(c.headDeadline)
	}
	for n < len(b) && begins(b[:n]) {
		more, err := c.net.Read(b[n:])
		before, from := n, max(0, n-len(endOfHead)+1)
		n += more
		if i := bytes.Index(b[from:n], endOfHead); i >= 0 {
			return n, from + i + len(endOfHead)
		}
		if err != nil || !continues(b[:n], before) {
			break
		}
	}
	return n, 0
}

// end closes the connection.
func (c *conn) end() {
	_ = c.net.Close()
	c.report(http.StateClosed)
}

// report calls the server's hook.
func (c *conn) report(state http.ConnState) {
	if hook := c.front.server.ConnState; hook != nil {
		hook(c.net, state)
	}
}
