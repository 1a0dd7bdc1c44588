// Package embedded is the Redis that a relay brings along when none is configured: in memory, on loopback, for
// development. It also keeps the file through which commands find the relay that runs.
//
// The database is miniredis. It serves redis-cli, phpredis and go-redis, in RESP2 and RESP3, and expires keys by the
// clock. It has no CONFIG, ACL, ROLE, keyspace events or sharded channels, and no inline commands. Two things differ from
// Redis for a subscriber: of its patterns that match a message only one brings it, any one; and a message that an exact
// subscription brings may pass one that a pattern brings. A script or transaction holds up everything, as in Redis.
//
// A client that does not read would hold up every PUBLISH, because miniredis writes to each subscriber in turn. So every
// write has a deadline: a client whose socket buffers are full is closed after [writeTimeout], and until then PUBLISH
// waits for it, once. What clients send is checked before miniredis sees it, because malformed requests and patterns that
// are none would crash the process.
package embedded

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"

	"github.com/alicebob/miniredis/v2"
	"github.com/alicebob/miniredis/v2/server"
)

// DefaultAddr is where a Redis for development is looked for, by people and by programs.
const DefaultAddr = "127.0.0.1:6379"

// A Server is a running Redis. Its methods may be called concurrently.
type Server struct {
	// Static after Start.
	db       *miniredis.Miniredis
	listener net.Listener
	logger   *slog.Logger
	notice   string

	accepting sync.WaitGroup // the goroutine of accept
}

// Start runs a Redis on addr, a loopback host and a port; empty means [DefaultAddr]. Where somebody has the port already,
// it takes a free one, and [Server.Notice] says so. The logger may be nil. Whoever starts it closes it.
func Start(addr string, logger *slog.Logger) (*Server, error) {
	if addr == "" {
		addr = DefaultAddr
	}
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	listener, found, err := listen(addr)
	if err != nil {
		return nil, err
	}
	s := &Server{db: miniredis.NewMiniRedis(), listener: listener, logger: logger}
	s.notice = found.notice(addr, s.Addr())
	if err := s.open(); err != nil {
		return nil, errors.Join(err, listener.Close())
	}
	s.accepting.Go(s.accept)
	return s, nil
}

// listen binds addr, or a free port of the same host if somebody else answers there.
func listen(addr string) (net.Listener, occupant, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, nobody, fmt.Errorf("reading the address: %w", err)
	}
	if ip := net.ParseIP(host); host != "localhost" && !ip.IsLoopback() {
		return nil, nobody, fmt.Errorf("%s is not a loopback address: this Redis has no password", addr)
	}
	found := nobody
	if port != "0" {
		// Asked first: some systems let one bind a port of loopback that another program holds on all addresses.
		found = ask(addr)
	}
	if found == nobody {
		listener, err := net.Listen("tcp", addr)
		if err == nil {
			return listener, nobody, nil
		}
		found = stranger
	}
	listener, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		return nil, found, fmt.Errorf("listening: %w", err)
	}
	return listener, found, nil
}

// open makes the database ready to serve connections, without a listener of its own.
func (s *Server) open() error {
	first, err := s.db.Dial()
	if err != nil {
		return fmt.Errorf("starting miniredis: %w", err)
	}
	if err := first.Close(); err != nil {
		return fmt.Errorf("starting miniredis: %w", err)
	}
	s.db.ClockTTL(true)
	s.db.Server().SetPreHook(refuse)
	err = s.db.Server().Register(pidCommand, func(c *server.Peer, _ string, _ []string) { c.WriteInt(os.Getpid()) })
	if err != nil {
		return fmt.Errorf("registering a command: %w", err)
	}
	return nil
}

// accept hands connections to the database until the listener is closed.
func (s *Server) accept() {
	for {
		c, err := s.listener.Accept()
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil:
			s.logger.Error("the Redis in memory accepts no more connections", "err", err)
			return
		}
		s.db.Server().ServeConn(&conn{Conn: c, logger: s.logger})
	}
}

// Addr returns the host:port that clients connect to.
func (s *Server) Addr() string { return s.listener.Addr().String() }

// Notice returns what to tell the person who started the relay if it did not get the address that it asked for, and what
// to do about it; otherwise nothing.
func (s *Server) Notice() string { return s.notice }

// Close closes all connections, forgets everything and waits until nothing runs any more. Closing again does nothing.
func (s *Server) Close() {
	_ = s.listener.Close() // its only error is that it was closed already
	s.accepting.Wait()
	s.db.Close()
}
