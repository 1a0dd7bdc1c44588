package server_test

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"sidecast/relay"
	"sidecast/relay/accept"
	"sidecast/relay/access"
	"sidecast/relay/auth"
	"sidecast/relay/outbox"
	"sidecast/relay/protocol"
	"sidecast/relay/server"
	"sidecast/relay/source"
	"sidecast/relay/sse"
	"sidecast/relay/stats"
	"sidecast/relay/transport"
	"sidecast/relay/ws"
)

// A testRelay is a complete relay with a TCP listener, without a link to Redis.
type testRelay struct {
	hub    *relay.Hub
	budget *outbox.Budget
	stats  *stats.Stats
	slots  *accept.Slots
	addr   string
	stop   func()            // as a signal does that hurries, and waits until the server has stopped
	end    func(cause error) // the same with this cause
}

// relayOptions are the settings that tests change.
type relayOptions struct {
	listener   net.Listener // nil: a free port
	tls        *tls.Config
	each       int // bytes per outbox
	total      int // bytes of all outboxes
	maxPayload int
	history    int  // bytes
	shards     int  // 0: one per processor
	slots      int  // connections
	goroutines bool // a goroutine reads from each connection
	perAddress int  // connections of one address; 0: no limit
	proxies    auth.Proxies
	base       string
	files      map[string]http.Handler
	api        http.Handler
	demo       http.Handler
	broadcast  http.Handler // at /broadcasting/auth; may be nil
	logger     *slog.Logger

	writeTimeout time.Duration // of the server
	drainDelay   time.Duration

	app *access.App // nil: there are no clients of the Pusher protocol

	presence relay.Presence // nil: no channel has members; otherwise each has, and ?user= is a login
}

// startRelay runs a relay until the test ends. Its settings are the defaults,
// changed by change.
func startRelay(t testing.TB, change ...func(*relayOptions)) *testRelay {
	t.Helper()
	o := relayOptions{each: 3 << 20, total: 256 << 20, maxPayload: 1 << 20, history: 64 << 20, slots: 50_000}
	o.logger = slog.New(slog.DiscardHandler)
	for _, f := range change {
		f(&o)
	}
	if o.listener == nil {
		o.listener = listen(t)
	}
	r := &testRelay{stats: new(stats.Stats), addr: o.listener.Addr().String()}
	r.budget = outbox.NewBudget(o.each, o.total, 10*time.Second, r.stats)
	logger := o.logger
	rules := &access.Rules{Names: access.NewNames("", ""), Channels: allChannels, Public: allChannels, App: o.app}
	if o.presence != nil {
		rules.Presence = allChannels
	}
	r.hub = relay.NewHub(relay.HubConfig{
		Access: rules, Budget: r.budget,
		Protocols: protocol.All(), Stats: r.stats, Logger: logger, Shards: o.shards, MaxChannels: 128, MaxPayload: o.maxPayload,
		CommandRate: 20, CommandBurst: 50, PingInterval: 25 * time.Second, PongTimeout: 10 * time.Hour,
		HistoryBytes: o.history, HistoryAge: 5 * time.Minute, Presence: o.presence, Envelopes: o.app != nil,
	})
	slots, refusals := accept.NewSlots(o.slots), accept.NewRefusals(r.stats, logger, nil)
	r.slots = slots
	limiter := accept.NewIPLimiter(o.perAddress, 0)
	reader := startReader(t, o.goroutines)
	handler := ws.New(ws.Config{
		Reader: reader, Hub: r.hub, Budget: r.budget, Slots: slots, IPLimiter: limiter, Limited: o.proxies.Limited, Refusals: refusals, Stats: r.stats, Logger: logger, MaxInbound: 16 << 10,
		Protocols: map[string]protocol.Protocol{"": protocol.Raw{}, protocol.SubprotocolV1: protocol.V1{}},
		Identify:  identifyByURL, App: o.app,
	})
	streams := sse.New(sse.Config{
		Reader: reader, Hub: r.hub, Access: rules, Budget: r.budget, Slots: slots, IPLimiter: limiter, Limited: o.proxies.Limited,
		Refusals: refusals, Stats: r.stats, Logger: logger, MaxChannels: 128,
	})
	origins, err := auth.NewOrigins(auth.OriginsConfig{})
	if err != nil {
		t.Fatal(err)
	}
	r.run(t, server.New(server.Config{
		Public: o.listener, Admin: listen(t), TLS: o.tls, Hub: r.hub, WS: handler, SSE: streams, Origins: origins, Stats: r.stats,
		Slots: slots, IPLimiter: limiter, Proxies: o.proxies, Refusals: refusals, BasePath: o.base, Files: o.files, API: o.api, Demo: o.demo, BroadcastPath: "/broadcasting/auth", BroadcastAuth: o.broadcast,
		Logger: logger, AdminHandler: func(ready, live http.Handler) http.Handler { return live },
		Ready: func() bool { return true }, Up: func() bool { return true }, WriteTimeout: o.writeTimeout, DrainDelay: o.drainDelay,
	}))
	return r
}

// identifyByURL lets a client be the user that its URL names.
func identifyByURL(r *http.Request, _ *string) (access.Principal, protocol.CloseCode) {
	user := r.URL.Query().Get("user")
	if user == "" {
		return access.Principal{}, 0
	}
	return access.Principal{Identity: &access.Identity{User: user}}, 0
}

// startReader returns a reader that runs until the test ends, or nil for
// goroutines that read.
func startReader(t testing.TB, goroutines bool) *transport.Reader {
	if goroutines {
		return nil
	}
	reader, err := transport.StartReader()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(reader.Close)
	return reader
}

// evictions returns how many clients were evicted.
func (r *testRelay) evictions() (n uint64) {
	for i := range r.stats.Evictions {
		n += r.stats.Evictions[i].Load()
	}
	return n
}

func (r *testRelay) run(t testing.TB, s *server.Server) {
	ctx, cancel := context.WithCancelCause(context.Background())
	inner, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = r.hub.Run(inner) })
	running.Go(func() {
		if err := s.Run(ctx); err != nil {
			t.Error(err)
		}
		stop()
	})
	r.end = func(cause error) { cancel(cause); running.Wait() }
	r.stop = func() { r.end(server.ErrHurry) }
	t.Cleanup(r.stop)
}

// allChannels matches all channels.
var allChannels = access.Patterns{access.MustPattern("*")}

func listen(t testing.TB) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// runLink runs a link to Redis until the test ends. It returns when the link is
// connected.
func runLink(t testing.TB, addr string, sink source.Sink, stats *stats.Stats) {
	t.Helper()
	link, err := source.New(source.Config{
		Server: source.Server{Address: addr}, Names: access.NewNames("", ""), Patterns: allChannels, MarkersOff: true,
		Stats: stats, Logger: slog.New(slog.DiscardHandler),
	}, sink)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = link.Run(ctx) })
	t.Cleanup(func() { cancel(); running.Wait() })
	await(t, "the link to be connected", link.Up)
}

// patience limits each wait of [await].
const patience = time.Minute

// await polls until done returns true.
func await(t testing.TB, what string, done func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); !done(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("waited %v for %s", patience, what)
		}
	}
}
