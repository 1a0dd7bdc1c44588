package app

import (
	"net/http"

	"sidecast/relay/pusher"
)

// broadcastAuth returns the handler that signs channels for an application that
// does not, or nil without BROADCAST_AUTH_URL.
func (a *App) broadcastAuth() http.Handler {
	if a.cfg.BroadcastAuthURL == "" {
		return nil
	}
	return pusher.NewBroadcastAuth(pusher.BroadcastConfig{
		App: a.settings.Access.App, Relayed: a.settings.Access.Relayed, Authorize: a.gate.Application().AuthorizeBroadcast,
		Refusals: a.refusals, Remote: func(r *http.Request) string { return a.settings.Proxies.Client(r).String() },
	})
}
