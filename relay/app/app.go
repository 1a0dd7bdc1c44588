package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"

	"golang.org/x/sync/errgroup"

	"sidecast/config"
	"sidecast/relay"
	"sidecast/relay/accept"
	"sidecast/relay/auth"
	"sidecast/relay/blackbox"
	"sidecast/relay/control"
	"sidecast/relay/counts"
	"sidecast/relay/events"
	"sidecast/relay/outbox"
	"sidecast/relay/presence"
	"sidecast/relay/server"
	"sidecast/relay/source"
	"sidecast/relay/sse"
	"sidecast/relay/stats"
	"sidecast/relay/transport"
	"sidecast/relay/web"
)

// Options configure a relay in addition to its settings.
type Options struct {
	Logger  *slog.Logger // nil discards
	Notices io.Writer    // where the embedded Redis announces itself; nil discards

	Version, Commit string // of the program, for the metric build_info
}

// An App is one relay: its listeners, its link to Redis and everything between.
type App struct {
	cfg      *config.Config
	settings *Settings
	options  Options

	public, admin net.Listener
	box           *blackbox.Box  // nil: no records
	embedded      *embeddedRedis // nil unless there is one
	names         *web.Names     // for visitors of the demo page; may be nil

	stats    *stats.Stats
	budget   *outbox.Budget
	gate     *auth.Gate
	hub      *relay.Hub
	slots    *accept.Slots
	refusals *accept.Refusals
	limiter  *accept.IPLimiter
	link     *source.Link
	control  *control.Control
	events   *events.Writer
	webhooks *events.Webhooks   // nil without EVENTS_URL
	unheard  *events.Unheard    // nil without UNHEARD
	presence *presence.Presence // nil if no channel has members
	counts   *counts.Counts     // nil without PUSHER_KEY
	reader   *transport.Reader  // nil: each connection has a goroutine
	watch    *sse.Handler       // the channels that operators watch in the console
	server   *server.Server
}

// New binds the listeners, starts the embedded Redis if the settings ask for
// one, and assembles a relay. The error is a [config.Faults] if the settings
// are invalid. Call [App.Run] exactly once: it releases what New acquired.
func New(cfg *config.Config, o Options) (*App, error) {
	o.Logger = cmp.Or(o.Logger, slog.New(slog.DiscardHandler))
	if o.Notices == nil {
		o.Notices = io.Discard
	}
	settings, faults := Translate(cfg)
	if err := faults.Err(); err != nil {
		return nil, err
	}
	a := &App{cfg: cfg, settings: settings, options: o, stats: new(stats.Stats)}
	certificate, err := a.certificate()
	if err != nil {
		return nil, err
	}
	if err := a.listen(); err != nil {
		return nil, err
	}
	if err := a.openBox(); err != nil {
		_ = errors.Join(a.public.Close(), a.admin.Close())
		return nil, err
	}
	if err := a.startRedis(); err != nil {
		return nil, errors.Join(err, a.box.Close(), a.public.Close(), a.admin.Close())
	}
	if err := a.assemble(); err != nil {
		a.embedded.close()
		return nil, errors.Join(err, a.box.Close(), a.public.Close(), a.admin.Close())
	}
	a.limits()
	a.names = a.inventNames()
	a.startReader()
	a.server = server.New(a.serverConfig(certificate))
	return a, nil
}

// Addr returns the address that clients connect to.
func (a *App) Addr() net.Addr { return a.public.Addr() }

// AdminAddr returns the address of the admin listener.
func (a *App) AdminAddr() net.Addr { return a.admin.Addr() }

// Run serves until ctx ends, then drains and stops. With [server.ErrHurry] as
// the cause of ctx it does not wait for load balancers and clients.
func (a *App) Run(ctx context.Context) (err error) {
	defer func() { err = errors.Join(err, a.box.Close()) }()
	defer a.embedded.close()
	a.options.Logger.Info("relay starts with these settings", a.inForce()...)
	a.options.Logger.Info("listening", "addr", a.Addr().String())
	a.options.Logger.Info("admin listening", "addr", a.AdminAddr().String())

	// The hub and the link outlive the clients: the server drains first.
	inner, stop := context.WithCancel(context.WithoutCancel(ctx))
	members, release := context.WithCancel(inner) // they leave while the link still exists
	var releasing sync.WaitGroup
	releasing.Go(func() { a.runPresence(members) })
	releasing.Go(func() { a.runCounts(members) })
	group, running := errgroup.WithContext(inner)
	group.Go(func() error { return a.hub.Run(running) })
	group.Go(func() error { return a.link.Run(running) })
	group.Go(func() error { return a.gate.Run(running) })
	group.Go(func() error { return a.control.Run(running) })
	group.Go(func() error {
		defer stop()
		defer releasing.Wait()
		defer release()
		defer a.startEvents(running)() // they need the link to the end
		serving, cancel := context.WithCancelCause(ctx)
		defer cancel(nil)
		defer context.AfterFunc(running, func() { cancel(nil) })()
		defer a.watch.Wait()
		return a.server.Run(serving)
	})
	defer a.reader.Close() // the server waits for the connections
	return group.Wait()
}

// startReader starts the event loops.
func (a *App) startReader() {
	if a.cfg.Reader != config.ReaderAuto {
		return
	}
	reader, err := transport.StartReader()
	if err != nil {
		a.options.Logger.Warn("event loops cannot run here: each connection is read by a goroutine, which takes four times as much memory",
			"setting", "SIDECAST_READER", "err", err)
	}
	a.reader = reader
}

// certificate loads the certificate for the public listener, or returns nil.
func (a *App) certificate() (*server.Certificate, error) {
	if a.cfg.TLSCert == "" {
		return nil, nil
	}
	certificate, err := server.LoadCertificate(string(a.cfg.TLSCert), string(a.cfg.TLSKey), a.options.Logger)
	if err != nil {
		problem := err.Error()
		if errors.Is(err, server.ErrKeyMismatch) {
			problem = "does not belong to SIDECAST_TLS_CERT"
		}
		var faults config.Faults
		faults.Add("TLS_KEY", problem, "set SIDECAST_TLS_KEY to the file with the key of that certificate")
		return nil, faults.Err()
	}
	return certificate, nil
}

// listen binds both listeners before anything else starts, so that a busy port
// is reported at once.
func (a *App) listen() (err error) {
	bind := func(name, addr string) (net.Listener, error) {
		l, err := transport.Listen(context.Background(), addr)
		if err != nil {
			return nil, fmt.Errorf("listening on %s: %w; set SIDECAST_%s to another address", addr, err, name)
		}
		return l, nil
	}
	if a.public, err = bind("LISTEN", string(a.cfg.Listen)); err != nil {
		return err
	}
	a.admin, err = bind("ADMIN_LISTEN", string(a.cfg.AdminListen))
	if err != nil && a.cfg.IsEmbedded() && !a.cfg.IsSet("ADMIN_LISTEN") {
		if a.admin, err = bind("ADMIN_LISTEN", "127.0.0.1:0"); err == nil {
			a.options.Logger.Warn("the admin port is in use; using another",
				"taken", string(a.cfg.AdminListen), "addr", a.admin.Addr().String())
		}
	}
	if err != nil {
		return errors.Join(err, a.public.Close())
	}
	return nil
}
