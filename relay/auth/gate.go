package auth

import (
	"net/http"
	"strings"

	"sidecast/relay"
)

// GateConfig is what a [Gate] needs. A nil method is not used.
type GateConfig struct {
	Tokens *Tokens
	Cookie string // name of the cookie that may hold a token; empty for none
}

// A Gate finds out who a client is. It is immutable and safe for concurrent use.
type Gate struct{ cfg GateConfig }

// NewGate returns a gate.
func NewGate(cfg GateConfig) *Gate { return &Gate{cfg: cfg} }

// Identify returns who sends the request, or the code with which to close the connection. offered is the token that came
// as a subprotocol, or nil. It may wait for the application or for keys, a bounded time, or until the request's context
// ends.
func (g *Gate) Identify(r *http.Request, offered *string) (relay.Visitor, relay.CloseCode) {
	var v relay.Visitor
	if g.cfg.Tokens != nil {
		if token, presented := g.token(r, offered); presented {
			id, code := g.cfg.Tokens.Verify(r.Context(), token)
			v.Identity = id
			return v, closeCode(code)
		}
	}
	return v, 0
}

// token returns the token that the client presents, if it does, well or badly: as a subprotocol, in Authorization, or in
// the cookie. The first that is there counts; a bad one is not passed over for another.
func (g *Gate) token(r *http.Request, offered *string) (token string, presented bool) {
	if offered != nil {
		return *offered, true
	}
	if lines := r.Header.Values("Authorization"); len(lines) > 0 {
		scheme, token, _ := strings.Cut(lines[0], " ")
		if strings.EqualFold(scheme, "Bearer") {
			if len(lines) > 1 {
				return "", true
			}
			return strings.TrimSpace(token), true
		}
	}
	if g.cfg.Cookie != "" {
		if cookie, err := r.Cookie(g.cfg.Cookie); err == nil && cookie.Value != "" {
			return cookie.Value, true
		}
	}
	return "", false
}

// closeCode says at the door what code says to a session.
func closeCode(code relay.Code) relay.CloseCode {
	switch code {
	case relay.CodeOK:
		return 0
	case relay.CodeUnauthorized:
		return relay.CloseUnauthorized
	case relay.CodeForbidden:
		return relay.CloseForbidden
	}
	return relay.CloseTryLater
}
