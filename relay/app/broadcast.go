package app

import (
	"context"
	"net/http"
	"time"

	"sidecast/relay/protocol"
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

// askLaravel returns how the relay asks the application about the private
// channels for which the client of the request r has no signature, or nil.
func (a *App) askLaravel(r *http.Request) func(ctx context.Context, user, channel string) (time.Time, protocol.Code) {
	ask := a.gate.Application().PrivateAuthorizer(r)
	if ask == nil {
		return nil
	}
	// Laravel does not need the socket id, and the user is in its session.
	return func(ctx context.Context, _, channel string) (time.Time, protocol.Code) { return ask(ctx, "", channel) }
}
