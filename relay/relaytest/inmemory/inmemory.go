// Package inmemory has parts for tests whose connections and logs are in memory,
// so that they can run in a bubble of testing/synctest. Event loops can read
// from the connections: see [Kernel].
package inmemory

import (
	"bytes"
	"net"
	"sync"
)

// A Listener accepts the connections that [Listener.Connect] gives it. Its
// methods may be called concurrently.
type Listener struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

// Listen returns a listener. In a bubble it must be called there.
func Listen() *Listener {
	return &Listener{conns: make(chan net.Conn), closed: make(chan struct{})}
}

// Connect gives the listener a connection, and returns when it has accepted it.
func (l *Listener) Connect(accepted net.Conn) { l.conns <- accepted }

// Accept implements [net.Listener].
func (l *Listener) Accept() (net.Conn, error) {
	select {
	case conn := <-l.conns:
		return conn, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// Close implements [net.Listener].
func (l *Listener) Close() error { l.once.Do(func() { close(l.closed) }); return nil }

// Addr implements [net.Listener].
func (l *Listener) Addr() net.Addr { return &net.UnixAddr{Name: "memory", Net: "pipe"} }

// A Log is the output of a logger. Its methods may be called concurrently.
type Log struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

// Write implements [io.Writer].
func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

// String returns all that was written.
func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}
