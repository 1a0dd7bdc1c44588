// Package server assembles what clients connect to: it owns the two listeners, judges requests at the door, answers the
// probes, and knows the order in which everything stops.
package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"sidecast/relay"
	"sidecast/relay/auth"
	"sidecast/relay/stats"
	"sidecast/relay/ws"
)

// Bounds on requests, beside those of [http.Server].
const (
	headerBytes   = 16 << 10
	headerTimeout = 5 * time.Second // to send the headers: slower ones are an attack
	idleTimeout   = 60 * time.Second
	// drainGrace is how long after the last close stuck clients are waited for.
	drainGrace = 3 * time.Second
)

// Config is what a [Server] needs.
type Config struct {
	Public, Admin net.Listener // both are closed by Run
	TLS           *tls.Config  // of the public listener; nil for none

	Hub     *relay.Hub
	WS      *ws.Handler
	Origins *auth.Origins
	Proxies auth.Proxies
	Stats   *stats.Stats
	Logger  *slog.Logger

	BasePath     string       // in front of everything public; empty or /path
	Demo         http.Handler // the page at /; nil for none
	AdminHandler func(ready, live http.Handler) http.Handler

	Ready           func() bool // every pattern was confirmed once
	Up              func() bool // Redis is there now
	ReadyNeedsRedis bool

	DrainDelay   time.Duration // not ready, still serving
	DrainTimeout time.Duration // over which the closes are spread
}

// A Server serves clients until it is told to drain.
type Server struct {
	cfg    Config
	public *http.Server
	admin  *http.Server
	log    *refusals
	hint   sync.Once // of what to set where a proxy stands in front
}

// New returns a server that [Server.Run] starts.
func New(cfg Config) *Server {
	s := &Server{cfg: cfg, log: newRefusals(cfg.Logger)}
	s.public = s.httpServer(s.publicHandler())
	s.admin = s.httpServer(cfg.AdminHandler(http.HandlerFunc(s.ready), http.HandlerFunc(live)))
	return s
}

// httpServer bounds what a request may take. There is no write timeout: it would cut streams, and what a client does not
// read is bounded by its outbox.
func (s *Server) httpServer(h http.Handler) *http.Server {
	return &http.Server{
		Handler:           h,
		MaxHeaderBytes:    headerBytes,
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       2 * headerTimeout,
		IdleTimeout:       idleTimeout,
		ErrorLog:          slog.NewLogLogger(s.cfg.Logger.Handler(), slog.LevelDebug),
	}
}

// ErrHurry, as the cause of the end of Run's context, skips the delay and the spreading.
var ErrHurry = errors.New("stopping at once")

// Run serves until ctx ends, then drains: it is not ready but serves on for the drain delay, refuses new clients and
// closes the others over the drain timeout, and returns within three seconds after that, whatever the clients do.
func (s *Server) Run(ctx context.Context) error {
	group, running := errgroup.WithContext(ctx)
	public := s.cfg.Public
	if s.cfg.TLS != nil {
		public = tls.NewListener(public, s.cfg.TLS)
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
