// Package server runs the two listeners of a relay. It checks the origin of
// requests, answers health probes, and stops all parts in the right order.
package server

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"golang.org/x/sync/errgroup"

	"sidecast/relay"
	"sidecast/relay/accept"
	"sidecast/relay/auth"
	"sidecast/relay/front"
	"sidecast/relay/protocol"
	"sidecast/relay/sse"
	"sidecast/relay/stats"
	"sidecast/relay/ws"
)

// Limits on requests, in addition to those of [http.Server].
const (
	headerBytes   = 16 << 10
	headerTimeout = 5 * time.Second  // for receiving the headers; slower clients are considered an attack
	idleTimeout   = 10 * time.Second // between two requests; each connection to the public listener takes a place
	writeTimeout  = 10 * time.Second // for a response; a WebSocket connection has no such limit

	// maxStreams is how many requests an HTTP/2 connection serves at a time. A
	// proxy opens another connection for more.
	maxStreams = 250

	// adminIdleTimeout lets Prometheus keep its connection between two scrapes.
	adminIdleTimeout = 60 * time.Second
	// drainGrace is how long the server waits after the last close frame for
	// clients that do not read.
	drainGrace = 3 * time.Second
	// lastFrames is how long it waits then for HTTP/2 connections to send that
	// their streams have ended, and for the answers to other requests.
	lastFrames = time.Second
)

// Config holds the settings and dependencies of a [Server].
type Config struct {
	Public, Admin net.Listener // Run closes both
	TLS           *tls.Config  // of the public listener; nil for plain TCP

	Slots     *accept.Slots     // of the connections to the public listener
	IPLimiter *accept.IPLimiter // may be nil

	Hub      *relay.Hub
	WS       *ws.Handler
	SSE      *sse.Handler // nil: no event streams
	Origins  *auth.Origins
	Proxies  auth.Proxies
	Stats    *stats.Stats
	Logger   *slog.Logger
	Refusals *accept.Refusals

	BasePath string       // prefix of all public paths; empty or /path
	Demo     http.Handler // the page at /; nil for no page
	API      http.Handler // the paths of the application below BasePath/apps/; nil: they do not exist
	// Files are the handlers of files that pages of any origin may load, by
	// their names below BasePath.
	Files map[string]http.Handler
	// BroadcastAuth serves BroadcastPath, and the same path below BasePath:
	// Laravel Echo asks for it without a prefix. nil: no such path.
	BroadcastAuth http.Handler
	BroadcastPath string
	AdminHandler  func(ready, live http.Handler) http.Handler

	Ready           func() bool // Redis has confirmed every pattern at least once
	Up              func() bool // Redis is connected now
	ReadyNeedsRedis bool

	PingInterval time.Duration // of HTTP/2 connections; 0 for none
	PongTimeout  time.Duration
	WriteTimeout time.Duration // after which an HTTP/2 connection is closed that accepts no bytes

	DrainDelay   time.Duration // not ready, but still serving
	DrainTimeout time.Duration // period over which the clients are closed
}

// A Server serves clients until its context ends, and then drains.
type Server struct {
	cfg      Config
	public   *http.Server
	admin    *http.Server
	conns    *accept.Table          // of the public listener
	endpoint func(path string) bool // reports whether WebSocket clients can connect to a path
}

// New returns a server. [Server.Run] starts it.
func New(cfg Config) *Server {
	cfg.Refusals = cmp.Or(cfg.Refusals, accept.NewRefusals(cfg.Stats, cfg.Logger, nil))
	s := &Server{cfg: cfg}
	public := newPublicHandler(&s.cfg)
	s.public, s.endpoint = s.httpServer(public.routes()), public.takesHandshakes
	s.public.IdleTimeout, s.public.WriteTimeout = idleTimeout, writeTimeout
	s.serveHTTP2()
	s.admin = s.httpServer(cfg.AdminHandler(http.HandlerFunc(public.ready), http.HandlerFunc(live)))
	s.limit()
	return s
}

// limit counts the connections of both listeners when they are accepted.
func (s *Server) limit() {
	s.conns = accept.NewTable(accept.Config{
		Slots: s.cfg.Slots, Limiter: s.cfg.IPLimiter, Address: s.cfg.Proxies.LimitedPeer, Refusals: s.cfg.Refusals,
	})
	admin := accept.NewTable(accept.Config{Slots: accept.NewSlots(maxAdmin)})
	s.conns.Track(s.public)
	admin.Track(s.admin)
	s.cfg.Public, s.cfg.Admin = s.conns.Listener(s.cfg.Public), admin.Listener(s.cfg.Admin)
}

// httpServer limits the size and the duration of requests.
func (s *Server) httpServer(h http.Handler) *http.Server {
	return &http.Server{
		Handler:           h,
		MaxHeaderBytes:    headerBytes,
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       2 * headerTimeout,
		IdleTimeout:       adminIdleTimeout,
		ErrorLog:          newErrorLog(s.cfg.Logger),
	}
}

// serveHTTP2 offers HTTP/2 to clients of the public listener, with and without
// TLS: over HTTP/1.1, a browser opens only six event streams to one host.
func (s *Server) serveHTTP2() {
	s.public.Protocols = new(http.Protocols)
	s.public.Protocols.SetHTTP1(true)
	s.public.Protocols.SetHTTP2(true)
	s.public.Protocols.SetUnencryptedHTTP2(true)
	s.public.HTTP2 = &http.HTTP2Config{
		MaxConcurrentStreams:          maxStreams,
		MaxReadFrameSize:              16 << 10, // the least
		MaxReceiveBufferPerConnection: 64 << 10, // only those of the application have bodies of more than a few bytes
		MaxReceiveBufferPerStream:     64 << 10,
		SendPingTimeout:               s.cfg.PingInterval,
		PingTimeout:                   s.cfg.PongTimeout,
		WriteByteTimeout:              s.cfg.WriteTimeout,
	}
}

// ErrHurry is the cause to cancel Run's context with if the server must stop
// without the drain delay and without spreading the closes.
var ErrHurry = errors.New("stopping immediately")

// Run serves until ctx ends, then drains. During the drain delay the server is
// not ready but still serves. Then it rejects new clients and closes the others
// over the drain timeout. It returns within four seconds after that, even if
// clients do not close their connections.
func (s *Server) Run(ctx context.Context) error {
	group, running := errgroup.WithContext(ctx)
	public := s.cfg.Public
	if s.cfg.TLS != nil {
		public = tls.NewListener(public, s.cfg.TLS)
	} else {
		handshakes := front.Listen(s.public, public, s.endpoint, s.conns.Secured)
		defer handshakes.Wait()
		public = handshakes
	}
	group.Go(func() error { return serve(s.public, public) })
	group.Go(func() error { return serve(s.admin, s.cfg.Admin) })
	group.Go(func() error {
		<-running.Done()
		s.drain(errors.Is(context.Cause(ctx), ErrHurry))
		return errors.Join(s.public.Close(), s.admin.Close())
	})
	return group.Wait()
}

func serve(server *http.Server, listener net.Listener) error {
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("accepting connections on %s: %w", listener.Addr(), err)
	}
	return nil
}

// drain closes all clients. Load balancers need the delay to notice that the
// relay is not ready.
func (s *Server) drain(hurry bool) {
	delay, over, grace := s.cfg.DrainDelay, s.cfg.DrainTimeout, drainGrace
	if hurry {
		delay, over, grace = 0, 0, time.Second/2 // a user waits; each client has one more second to close its half
	}
	s.cfg.Stats.Draining.Store(true)
	s.cfg.Logger.Info("draining", "clients", s.cfg.Hub.Sessions(), "delay", delay, "over", over)
	s.delayDrain(delay)
	s.public.SetKeepAlivesEnabled(false) // an HTTP/2 connection ends with its last stream
	ctx, cancel := context.WithTimeout(context.Background(), over+grace)
	defer cancel()
	s.cfg.Hub.Drain(ctx, over, protocol.CloseRestart)
	s.awaitClients()
	s.cfg.Logger.Info("drained")
}

// awaitClients returns when all connections of clients are closed, and requests
// of the application are answered. It closes the HTTP/2 connections that do not
// accept the last frames of their streams.
func (s *Server) awaitClients() {
	ctx, cancel := context.WithTimeout(context.Background(), lastFrames)
	defer cancel()
	stop := context.AfterFunc(ctx, s.conns.EndStreams)
	defer stop()
	s.cfg.WS.Wait()
	if s.cfg.SSE != nil {
		s.cfg.SSE.Wait()
	}
	s.conns.AwaitStreams(ctx)
	_ = s.public.Shutdown(ctx) // its caller closes what remains
}

// delayDrain waits for d, or until no client is left. An application that has
// used the HTTP API may do so at any time.
func (s *Server) delayDrain(d time.Duration) {
	served := s.cfg.Stats.APIRequests[stats.APIAccepted].Load() > 0
	const interval = 50 * time.Millisecond
	end := time.Now().Add(d)
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for (served || s.cfg.Hub.Sessions() > 0) && time.Now().Before(end) {
		<-ticker.C
	}
}
