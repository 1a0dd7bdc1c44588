package source

import (
	"errors"
	"net"
	"sync"
	"syscall"
)

// commandConns are the connections for commands in the mode Sentinel. They lead
// to the link's server, and are closed when the link moves to another one: a
// deposed master would accept and answer a PUBLISH that reaches no subscriber.
type commandConns struct {
	// Guarded by mu, which is never held during network operations.
	mu    sync.Mutex
	addr  string                    // of the link's server; empty before the first link
	conns map[*commandConn]struct{} // open connections to addr
}

// A commandConn is one of the connections. Its fields do not change.
type commandConn struct {
	net.Conn
	set *commandConns
}

// A plainCommandConn is a commandConn without TLS. It lets go-redis detect that
// it was closed before go-redis takes it from its pool.
type plainCommandConn struct {
	*commandConn
	syscall.Conn
}

// errLinkMoved reports that the link moved to another server while a connection
// was dialled.
var errLinkMoved = errors.New("the link moved to another server while this connection was dialled")

// current returns the address of the link's server, or an empty string before
// the first link.
func (s *commandConns) current() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.addr
}

// add adds a connection to addr and returns the connection to use instead.
func (s *commandConns) add(conn net.Conn, addr string) (net.Conn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.addr != "" && s.addr != addr {
		_ = conn.Close()
		return nil, errLinkMoved
	}
	if s.conns == nil {
		s.conns = make(map[*commandConn]struct{})
	}
	c := &commandConn{conn, s}
	s.conns[c] = struct{}{}
	if plain, ok := conn.(syscall.Conn); ok {
		return &plainCommandConn{c, plain}, nil
	}
	return c, nil
}

// follow records the address of the link's server and closes the connections to
// any other.
func (s *commandConns) follow(addr string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.addr == addr {
		return
	}
	s.addr = addr
	for c := range s.conns {
		_ = c.Conn.Close()
	}
	clear(s.conns)
}

// Close closes the connection and removes it from the set.
func (c *commandConn) Close() error {
	c.set.mu.Lock()
	delete(c.set.conns, c)
	c.set.mu.Unlock()
	return c.Conn.Close()
}
