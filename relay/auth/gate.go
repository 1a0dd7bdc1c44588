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

// identifyTimeout bounds how long a connection waits until its client is
// identified, including the time in the queue for the application.
const identifyTimeout = 10 * time.Second

// GateConfig configures a [Gate]. A method that is nil is not used.
type GateConfig struct {
	Tokens      *Tokens
	Cookie      string // name of the cookie that may hold a token; empty: tokens are not read from cookies
	Application *Application
}

// A Gate identifies clients. It is immutable and safe for concurrent use.
type Gate struct{ cfg GateConfig }

// NewGate returns a gate that uses the methods in cfg.
func NewGate(cfg GateConfig) *Gate { return &Gate{cfg: cfg} }

// Application returns the application that the gate asks, or nil.
func (g *Gate) Application() *Application { return g.cfg.Application }

// Run refreshes keys in the background until ctx ends. It returns after the
// last request to the application has ended.
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

// Verifier returns the function that verifies a token sent over an open
// connection, or nil if tokens are not configured.
func (g *Gate) Verifier() func(ctx context.Context, token string) (*access.Identity, protocol.Code) {
	if g.cfg.Tokens == nil {
		return nil
	}
	return g.cfg.Tokens.Verify
}

// Identify returns the client that sent the request, or the code with which to
// close the connection. offered is the token that the client sent as a
// subprotocol, or nil. Identify may wait for the application or for keys: at
// most 10 seconds, or until the request's context ends.
func (g *Gate) Identify(r *http.Request, offered *string) (access.Principal, protocol.CloseCode) {
	id, code := g.identity(r, offered)
	if code != protocol.CodeOK {
		return access.Principal{}, closeCode(code)
	}
	v := access.Principal{Identity: id}
	if g.cfg.Application != nil {
		v.Ask = g.cfg.Application.ChannelAuthorizer(r, id)
	}
	return v, 0
}

// identity uses exactly one method, so the grants of a token and of a login are
// never combined. It sets up no timeout if there is nothing to wait for.
func (g *Gate) identity(r *http.Request, offered *string) (*access.Identity, protocol.Code) {
	var tokens []string
	if g.cfg.Tokens != nil {
		tokens = g.presented(r, offered)
	}
	if len(tokens) == 0 && g.cfg.Application == nil {
		return nil, protocol.CodeOK
	}
	ctx, cancel := context.WithTimeout(r.Context(), identifyTimeout)
	defer cancel()
	if len(tokens) > 0 {
		return g.cfg.Tokens.verifyFirst(ctx, tokens)
	}
	return g.cfg.Application.Login(ctx, r)
}

// maxCookies is how many cookies of one name are tried.
const maxCookies = 8

// presented returns the tokens that the client presents, valid or not. It looks
// at the subprotocol, the Authorization header and the cookies, in this order,
// and the first place with a token counts. Only cookies can be several: a
// browser sends all cookies of a name, from different paths and domains, and
// the page cannot tell which is the right one.
func (g *Gate) presented(r *http.Request, offered *string) (tokens []string) {
	if offered != nil {
		return []string{*offered}
	}
	if lines := r.Header.Values("Authorization"); len(lines) > 0 {
		scheme, token, _ := strings.Cut(lines[0], " ")
		if strings.EqualFold(scheme, "Bearer") {
			if len(lines) > 1 {
				return []string{""}
			}
			return []string{strings.TrimSpace(token)}
		}
	}
	if g.cfg.Cookie == "" {
		return nil
	}
	for _, cookie := range r.CookiesNamed(g.cfg.Cookie) {
		if cookie.Value != "" && len(tokens) < maxCookies {
			tokens = append(tokens, cookie.Value)
		}
	}
	return tokens
}

// closeCode translates an error code to the code with which a new connection is
// closed.
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
