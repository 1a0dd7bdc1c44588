// Package embedded provides the in-memory Redis that a relay starts for
// development if no Redis is configured. It listens on loopback only. The
// package also maintains the runfile, which tells other commands where the
// running relay listens.
//
// The database is miniredis. It works with redis-cli, phpredis and go-redis, in
// RESP2 and RESP3, and expires keys by the clock. It does not support CONFIG,
// ACL, ROLE, keyspace events, sharded channels or inline commands. Subscribers
// can notice two differences from Redis. If several patterns of one subscriber
// match a message, the subscriber receives the message once, for any one of
// these patterns. A message for an exact subscription may overtake a message
// for a pattern. As in Redis, a script or transaction blocks all other clients.
//
// miniredis writes to each subscriber in turn, so a client that does not read
// would block every PUBLISH. Therefore every write has a deadline: a client
// whose socket buffers are full is closed after [writeTimeout]. PUBLISH waits
// for such a client once, until it is closed. Requests are checked before
// miniredis receives them, because malformed requests and invalid patterns
// would crash the process.
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

	"sidecast/relay/loopback"
)

// DefaultAddr is the address where people and programs expect a Redis for
// development.
const DefaultAddr = "127.0.0.1:6379"

// A Server is a running in-memory Redis. Its methods may be called
// concurrently.
type Server struct {
	// Constant after Start.
	db       *miniredis.Miniredis
	listener net.Listener
	logger   *slog.Logger
	notice   string

	accepting sync.WaitGroup // the goroutine of accept
}

// Start runs an in-memory Redis on addr, which must be a loopback host and a
// port. An empty addr means [DefaultAddr]. If another program uses the port,
// Start uses a free port instead, and [Server.Notice] explains why. The logger
// may be nil. The caller must call Close.
func Start(addr string, logger *slog.Logger) (*Server, error) {
	if addr == "" {
		addr = DefaultAddr
	}
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	listener, owner, err := listen(addr)
	if err != nil {
		return nil, err
	}
	s := &Server{db: miniredis.NewMiniRedis(), listener: listener, logger: logger}
	s.notice = owner.notice(addr, s.Addr())
	if err := s.open(); err != nil {
		return nil, errors.Join(err, listener.Close())
	}
	s.accepting.Go(s.accept)
	return s, nil
}

// listen binds addr, or a free port of the same host if addr is in use. It
// returns the program that uses addr, if any.
func listen(addr string) (net.Listener, portOwner, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, ownerNone, fmt.Errorf("parsing the address: %w", err)
	}
	if !loopback.Host(host) {
		return nil, ownerNone, fmt.Errorf("%s is not a loopback address: this Redis has no password", addr)
	}
	owner := ownerNone
	if port != "0" {
		// Check before binding: on some systems a program can bind a loopback
		// port that another program has bound on all addresses.
		owner = identify(addr)
	}
	if owner == ownerNone {
		listener, err := net.Listen("tcp", addr)
		if err == nil {
			return listener, ownerNone, nil
		}
		owner = ownerOther
	}
	listener, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		return nil, owner, fmt.Errorf("listening on a free port of %s: %w", host, err)
	}
	return listener, owner, nil
}

// open prepares the database to serve the connections that [Server.accept]
// passes to it. miniredis opens no listener.
func (s *Server) open() error {
	first, err := s.db.Dial()
	if err != nil {
		return fmt.Errorf("starting miniredis: %w", err)
	}
	if err := first.Close(); err != nil {
		return fmt.Errorf("starting miniredis: %w", err)
	}
	s.db.ClockTTL(true)
	s.db.Server().SetPreHook(rejectUnsafe)
	err = s.db.Server().Register(pidCommand, func(c *server.Peer, _ string, _ []string) { c.WriteInt(os.Getpid()) })
	if err != nil {
		return fmt.Errorf("registering %s: %w", pidCommand, err)
	}
	return nil
}

// accept passes connections to the database until the listener is closed.
func (s *Server) accept() {
	for {
		c, err := s.listener.Accept()
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil:
			s.logger.Error("the in-memory Redis accepts no more connections; restart the relay", "err", err)
			return
		}
		s.db.Server().ServeConn(&conn{Conn: c, logger: s.logger})
	}
}

// Addr returns the host:port that clients connect to.
func (s *Server) Addr() string { return s.listener.Addr().String() }

// Notice returns a text for the person who started the relay if the requested
// address was in use. The text says what uses the address and what to do.
// Otherwise Notice returns an empty string.
func (s *Server) Notice() string { return s.notice }

// Close closes all connections, discards all data and waits until all
// goroutines have ended. Later calls do nothing.
func (s *Server) Close() {
	_ = s.listener.Close() // fails only if it is already closed
	s.accepting.Wait()
	s.db.Close()
}
