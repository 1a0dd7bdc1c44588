package app

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"time"

	"sidecast/config"
	"sidecast/relay"
	"sidecast/relay/accept"
	"sidecast/relay/admin"
	"sidecast/relay/auth"
	"sidecast/relay/control"
	"sidecast/relay/loopback"
	"sidecast/relay/outbox"
	"sidecast/relay/protocol"
	"sidecast/relay/server"
	"sidecast/relay/source"
	"sidecast/relay/sse"
	"sidecast/relay/stats"
	"sidecast/relay/stream"
	"sidecast/relay/web"
	"sidecast/relay/ws"
)

// ApplicationConfig returns how the application's login is called.
func ApplicationConfig(cfg *config.Config) auth.ApplicationConfig {
	return auth.ApplicationConfig{
		LoginURL: string(cfg.AuthURL), ChannelURL: string(cfg.ChannelAuthURL), BroadcastURL: string(cfg.BroadcastAuthURL),
		Timeout: time.Duration(cfg.AuthTimeout), Cache: time.Duration(cfg.AuthCache), Concurrency: int(cfg.AuthConcurrency),
		Grants: auth.Grants{UserChannels: cfg.UserChannels},
	}
}

// SourceConfig returns how the relay uses Redis.
func SourceConfig(cfg *config.Config, s *Settings) source.Config {
	return source.Config{
		Server: s.Redis, Names: s.Access.Names, Patterns: s.Access.Channels, Durable: s.Access.Durable,
		MaxPayload: cfg.MaxPayloadBytes.Int(), StreamLength: s.StreamLength, MarkersOff: cfg.Markers == config.False,
		Embedded: cfg.IsEmbedded(), Logins: hasLogins(s),
		Features: source.Features{
			Presence: len(cfg.PresenceChannels) > 0, Unheard: len(cfg.Unheard) > 0, Webhooks: cfg.EventsURL.WebURL != "",
			Events: cfg.CausesEvents(), Appends: cfg.PublishToken.IsSet() || cfg.PusherAppID != "", Terminates: cfg.PusherAppID != "",
			Counts: cfg.PusherKey != "",
		},
	}
}

// NewGate returns the gate that authenticates clients. Its caller has to run it.
// stale may be nil: see [auth.ApplicationConfig].
func NewGate(cfg *config.Config, s *Settings, counters *stats.Stats, logger *slog.Logger, stale func(string, time.Time) bool) *auth.Gate {
	c := auth.GateConfig{Cookie: string(cfg.JWTCookie)}
	if s.Keys != nil {
		c.Tokens = auth.NewTokens(auth.TokensConfig{
			Keys: s.Keys, Issuer: cfg.JWTIssuer, Audience: cfg.JWTAudience,
			Grants: auth.Grants{UserChannels: cfg.UserChannels}, Logger: logger, RevokedAge: time.Duration(cfg.RevokedAge),
		})
	}
	if cfg.AuthURL != "" || cfg.ChannelAuthURL != "" || cfg.BroadcastAuthURL != "" {
		application := ApplicationConfig(cfg)
		application.Proxies, application.Stats, application.Logger, application.Stale = s.Proxies, counters, logger, stale
		c.Application = auth.NewApplication(application)
	}
	return auth.NewGate(c)
}

// assemble creates the parts through which messages flow: the link to Redis,
// the hub, and the budget of the outboxes.
func (a *App) assemble() error {
	cfg := a.cfg
	a.gate = NewGate(cfg, a.settings, a.stats, a.options.Logger, func(user string, asked time.Time) bool {
		return a.hub.IsStale(user, asked)
	})
	a.budget = outbox.NewBudget(cfg.OutboxBytes.Int(), cfg.OutboxTotalBytes.Int(), time.Duration(cfg.WriteTimeout), a.stats)
	a.assembleEvents()
	hub := relay.HubConfig{
		Access: a.settings.Access, Budget: a.budget, Protocols: protocol.All(), Stats: a.stats, Logger: a.options.Logger,
		Presence: a.members(),
		Publish: func(ctx context.Context, channel string, payload []byte) (int64, error) {
			return a.link.Publish(ctx, channel, payload)
		},
		Streams:      func() stream.Store { return a.link.Streams() },
		Relays:       func() int { return a.link.Relays() },
		Last:         cfg.Last.For,
		CatchUp:      func(ctx context.Context) error { return a.link.CatchUp(ctx) },
		HistoryBytes: cfg.HistoryBytes.Int(), HistoryAge: time.Duration(cfg.HistoryAge), PageCacheBytes: cfg.PageCacheBytes.Int(),
		MaxChannels: int(cfg.MaxChannelsPerSession), MaxPayload: cfg.MaxPayloadBytes.Int(),
		CommandRate: float64(cfg.CommandRate), CommandBurst: cfg.CommandRate.Burst(),
		PingInterval: time.Duration(cfg.PingInterval), PongTimeout: time.Duration(cfg.PongTimeout),
		Envelopes: cfg.HasEnvelopes(),
		BlackBox:  a.box,
		Reporter:  a.events, Verify: a.gate.Verifier(), WrapPublished: cfg.PublishFormat == config.FormatJSON,
	}
	c := SourceConfig(cfg, a.settings)
	services := slices.Concat(a.watchUnheard(&hub), a.watchCounts(&hub))
	a.hub = relay.NewHub(hub)
	c.Stats, c.Logger, c.Dropped = a.stats, a.options.Logger, a.recordDropped
	a.control = control.New(control.Config{
		Names: c.Names, Sessions: a.hub, Login: hasLogins(a.settings), RevokedAge: time.Duration(cfg.RevokedAge), Stats: a.stats, Logger: a.options.Logger,
		Link: func() control.Commands { return a.link }, Answer: a.answer,
	})
	c.Services = slices.Concat([]source.Service{a.control.Service()}, a.presenceServices(), services)
	link, err := source.New(c, a.hub)
	if err != nil {
		return fmt.Errorf("setting up the link to Redis: %w", err)
	}
	a.link = link
	return nil
}

// limits creates the limits on connections.
func (a *App) limits() {
	limit := a.cfg.MaxConnections.Or(0)
	connections, files := Connections(a.cfg)
	if connections < limit {
		a.options.Logger.Warn("SIDECAST_MAX_CONNECTIONS is lowered: the process may not open enough files",
			"setting", "SIDECAST_MAX_CONNECTIONS", "value", limit, "used", connections, "files", files,
			"do", "raise the limit on open files (ulimit -n, LimitNOFILE=, nofile) or lower the setting")
	}
	a.refusals = accept.NewRefusals(a.stats, a.options.Logger, a.recordRejected)
	a.slots = accept.NewSlots(connections)
	a.limiter = accept.NewIPLimiter(int(a.cfg.MaxConnectionsPerIP), int(a.cfg.MaxConnectRatePerIP))
}

// handler returns the WebSocket transport.
func (a *App) handler() *ws.Handler {
	cfg := a.cfg
	return ws.New(ws.Config{
		Hub: a.hub, Budget: a.budget, Slots: a.slots, Stats: a.stats, Logger: a.options.Logger, Refusals: a.refusals,
		Protocols: map[string]protocol.Protocol{
			"": protocol.Raw{}, protocol.SubprotocolRaw: protocol.Raw{}, protocol.SubprotocolV1: protocol.V1{},
		},
		Reader: a.reader, Listened: true, MaxInbound: cfg.MaxInboundBytes.Int(), DefaultChannels: cfg.DefaultChannels,
		Identify: a.identify, App: a.settings.Access.App, AskFor: a.askLaravel, Limited: a.settings.Proxies.Limited,
		IPLimiter: a.limiter,
		Remote:    func(r *http.Request) string { return a.settings.Proxies.Client(r).String() },
	})
}

// streamHandler returns the transport for event streams.
func (a *App) streamHandler() *sse.Handler {
	cfg := a.cfg
	return sse.New(sse.Config{
		Hub: a.hub, Access: a.settings.Access, Budget: a.budget, Slots: a.slots, Stats: a.stats, Logger: a.options.Logger, Refusals: a.refusals,
		Reader: a.reader, Listened: true, MaxChannels: int(cfg.MaxChannelsPerSession), DefaultChannels: cfg.DefaultChannels,
		Identify: a.identify, Limited: a.settings.Proxies.Limited, IPLimiter: a.limiter,
		Remote: func(r *http.Request) string { return a.settings.Proxies.Client(r).String() },
	})
}

// serverConfig returns the configuration of both listeners. certificate is nil
// without TLS.
func (a *App) serverConfig(certificate *server.Certificate) server.Config {
	cfg := a.cfg
	c := server.Config{
		Public: a.public, Admin: a.admin, Hub: a.hub, WS: a.handler(), SSE: a.streamHandler(), Origins: a.settings.Origins,
		Proxies: a.settings.Proxies, Stats: a.stats, Logger: a.options.Logger,
		Slots: a.slots, IPLimiter: a.limiter, Refusals: a.refusals, BasePath: string(cfg.BasePath), Ready: a.link.Ready, Up: a.link.Up, ReadyNeedsRedis: bool(cfg.ReadyNeedsRedis),
		PingInterval: time.Duration(cfg.PingInterval), PongTimeout: time.Duration(cfg.PongTimeout), WriteTimeout: time.Duration(cfg.WriteTimeout),
		DrainDelay: time.Duration(cfg.DrainDelay), DrainTimeout: time.Duration(cfg.DrainTimeout),
		AdminHandler: a.adminHandler, Files: web.Client(), API: a.httpAPI(),
		BroadcastPath: cfg.BroadcastPath(), BroadcastAuth: a.broadcastAuth(),
	}
	if certificate != nil {
		c.TLS = certificate.Config()
	}
	if cfg.Demo {
		c.Demo = web.Demo(web.Page{RedisAddr: a.embedded.addr(), Names: a.names})
	}
	return c
}

func (a *App) adminHandler(ready, live http.Handler) http.Handler {
	gauges := admin.Gauges{
		Sockets: a.slots.Used, OutboxBytes: a.budget.Used, ReplayBytes: a.budget.ReplayBytes, HistoryBytes: a.hub.HistoryBytes, Revocations: a.hub.Revoked, PageCache: a.hub.PageCache,
		Limits: LimitGauges(a.cfg),
	}
	return admin.Handler(admin.Config{
		Registry: admin.NewRegistry(a.stats, gauges, a.options.Version, a.options.Commit),
		Token:    a.cfg.AdminToken.Reveal(), Loopback: loopback.Addr(a.AdminAddr()), Ready: ready, Live: live,
		Why: a.why(), Explain: a.explain, Trace: a.follow,
		Console: a.console(),
		Publisher: admin.Publisher{
			Token: a.cfg.PublishToken.Reveal(), MaxPayload: a.cfg.MaxPayloadBytes.Int(), Relayed: a.settings.Access.Relayed,
			Publish: a.publish, Stats: a.stats, Logger: a.options.Logger,
		},
	})
}

// publish publishes a message of the application.
func (a *App) publish(ctx context.Context, channel string, payload []byte) error {
	if a.settings.Access.Durable.Match(channel) {
		_, err := a.link.Streams().Append(ctx, channel, payload)
		return err
	}
	_, err := a.link.Publish(ctx, channel, payload)
	return err
}
