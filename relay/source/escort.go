package source

import (
	"context"
	"errors"
	"net"
	"sync"
	"syscall"
)

// An escort is the conns for commands where Sentinels say which server is the master. They lead to the server of the
// link, and end when the link goes to another: a master that was deposed would take a PUBLISH that nobody hears, and
// answer it.
type escort struct {
	// Guarded by mu, which is never held while the network is waited for.
	mu    sync.Mutex
	addr  string                 // of the link's server; empty before there was one
	conns map[*escorted]struct{} // that live and lead there
}

// escorted is one of the conns. Its fields do not change.
type escorted struct {
	net.Conn
	escort *escort
}

// escortedBare is one without TLS. go-redis sees that it has ended before it takes it from the pool.
type escortedBare struct {
	*escorted
	syscall.Conn
}

// errDeserted says that the link went to another server while a conn was dialled.
var errDeserted = errors.New("the link went to another server meanwhile")

// dialBeside opens a conn for commands to the server of the link.
func (l *Link) dialBeside(ctx context.Context, network, _ string) (net.Conn, error) {
	addr := l.escort.target()
	if addr == "" {
		var err error
		if addr, _, err = l.cfg.Server.master(ctx); err != nil {
			return nil, err
		}
	}
	conn, err := l.cfg.Server.dial(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	return l.escort.join(conn, addr)
}

func (e *escort) target() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.addr
}

// join takes a conn to addr in.
func (e *escort) join(conn net.Conn, addr string) (net.Conn, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.addr != "" && e.addr != addr {
		_ = conn.Close()
		return nil, errDeserted
	}
	if e.conns == nil {
		e.conns = make(map[*escorted]struct{})
	}
	c := &escorted{conn, e}
	e.conns[c] = struct{}{}
	if bare, ok := conn.(syscall.Conn); ok {
		return &escortedBare{c, bare}, nil
	}
	return c, nil
}

// follow notes where the link leads. Conns that lead elsewhere end.
func (e *escort) follow(addr string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.addr == addr {
		return
	}
	e.addr = addr
	for c := range e.conns {
		_ = c.Conn.Close()
	}
	clear(e.conns)
}

func (c *escorted) Close() error {
	c.escort.mu.Lock()
	delete(c.escort.conns, c)
	c.escort.mu.Unlock()
	return c.Conn.Close()
}
