package auth

import (
	"context"
	"net/http"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"sidecast/relay/access"
	"sidecast/relay/protocol"
)

// GateConfig is what a [Gate] needs. A nil method is not used.
type GateConfig struct {
	Tokens      *Tokens
	Cookie      string // name of the cookie that may hold a token; empty for none
	Application *Application
}

// A Gate finds out who a client is. It is immutable and safe for concurrent use.
type Gate struct{ cfg GateConfig }

// NewGate returns a gate.
func NewGate(cfg GateConfig) *Gate { return &Gate{cfg: cfg} }

// Run keeps what the gate needs fresh until ctx ends, and returns when nobody is being asked any more.
func (g *Gate) Run(ctx context.Context) error {
	var group errgroup.Group
	if g.cfg.Tokens != nil {
		group.Go(func() error { return g.cfg.Tokens.Run(ctx) })
	}
	if g.cfg.Application != nil {
		group.Go(func() error { return g.cfg.Application.Run(ctx) })
	}
	return group.Wait()
}

// Verifier returns what verifies a token that comes over a connection, or nil where there are no tokens.
func (g *Gate) Verifier() func(ctx context.Context, token string) (*access.Identity, protocol.Code) {
	if g.cfg.Tokens == nil {
		return nil
	}
	return g.cfg.Tokens.Verify
}

// patience is how long a connection waits to be known, its time in the queue included.
const patience = 10 * time.Second

// Identify returns who sends the request, or the code with which to close the connection. offered is the token that came
// as a subprotocol, or nil. It may wait for the application or for keys, a bounded time, or until the request's context
// ends.
func (g *Gate) Identify(r *http.Request, offered *string) (access.Principal, protocol.CloseCode) {
	id, code := g.identity(r, offered)
	if code != protocol.CodeOK {
		return access.Principal{}, closeCode(code)
	}
	v := access.Principal{Identity: id}
	if g.cfg.Application != nil {
		v.Ask = g.cfg.Application.Permit(r, id)
	}
	return v, 0
}

// identity asks one method, and no other after it: what a token opens and what a login opens are never put together.
// Nobody's end is waited for where there is nothing to ask.
func (g *Gate) identity(r *http.Request, offered *string) (*access.Identity, protocol.Code) {
	token, presented := "", false
	if g.cfg.Tokens != nil {
		token, presented = g.token(r, offered)
	}
	if !presented && g.cfg.Application == nil {
		return nil, protocol.CodeOK
	}
	ctx, cancel := context.WithTimeout(r.Context(), patience)
	defer cancel()
	if presented {
		return g.cfg.Tokens.Verify(ctx, token)
	}
	return g.cfg.Application.Login(ctx, r)
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
func closeCode(code protocol.Code) protocol.CloseCode {
	switch code {
	case protocol.CodeOK:
		return 0
	case protocol.CodeUnauthorized:
		return protocol.CloseUnauthorized
	case protocol.CodeForbidden:
		return protocol.CloseForbidden
	}
	return protocol.CloseTryLater
}
