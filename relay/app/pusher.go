package app

import (
	"net/http"

	"sidecast/relay/pusher"
)

// httpAPI returns the HTTP API of the Pusher protocol, or nil if there is no
// application that uses the protocol.
func (a *App) httpAPI() http.Handler {
	if a.settings.Access.App == nil {
		return nil
	}
	c := pusher.APIConfig{
		App: a.settings.Access.App, BasePath: string(a.cfg.BasePath),
		Relayed: a.settings.Access.Relayed, Publish: a.publish, MaxPayload: a.cfg.MaxPayloadBytes.Int(), Terminate: a.control.Terminate,
		Remote: func(r *http.Request) string { return a.settings.Proxies.Client(r).String() },
		Stats:  a.stats, Logger: a.options.Logger,
	}
	if a.presence != nil {
		c.Members = a.presence.Members
	}
	if a.counts != nil {
		c.Counts, c.Connections = a.counts, a.counts.Connections
	}
	return pusher.NewAPI(c)
}

// hasLogins reports whether there are logins that the application can end. A
// client of the Pusher protocol logs in with what the application has signed.
func hasLogins(s *Settings) bool { return s.Access.Login || s.Access.App != nil }
