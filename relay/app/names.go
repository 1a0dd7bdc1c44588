package app

import (
	"net/http"

	"sidecast/relay/access"
	"sidecast/relay/loopback"
	"sidecast/relay/protocol"
	"sidecast/relay/web"
)

// inventNames returns the names for visitors of the demo page, or nil. A relay
// that other machines reach, that has a real Redis, or whose clients can log in,
// identifies its users by their logins only.
func (a *App) inventNames() *web.Names {
	if !a.cfg.IsEmbedded() || !bool(a.cfg.Demo) || a.cfg.HasMethod() || !loopback.Addr(a.Addr()) {
		return nil
	}
	return web.NewNames()
}

// principal authenticates a client. One with an invented name has no right that
// an anonymous client does not have.
func (a *App) principal(r *http.Request, offered *string) (access.Principal, protocol.CloseCode) {
	if a.names != nil && offered != nil {
		user, isPass := a.names.User(*offered)
		switch {
		case user != "":
			return access.Principal{Identity: &access.Identity{User: user}}, 0
		case isPass:
			return access.Principal{}, protocol.CloseUnauthorized // the page gets another one
		}
	}
	return a.gate.Identify(r, offered)
}
