package admin

import (
	"crypto/sha256"
	"crypto/subtle"
	"net"
	"net/http"
	"net/url"
	"strings"

	"sidecast/relay/loopback"
)

// A bearerToken is the token that a request must have. It is immutable. The zero
// value is no token: no request has it.
type bearerToken struct {
	hash  [sha256.Size]byte // a hash, so that the time of a comparison does not reveal the token's length
	isSet bool
}

func newBearerToken(token string) bearerToken {
	return bearerToken{hash: sha256.Sum256([]byte(token)), isSet: token != ""}
}

// in reports whether the request has the token.
func (b bearerToken) in(r *http.Request) bool {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	got := sha256.Sum256([]byte(strings.TrimSpace(token)))
	same := subtle.ConstantTimeCompare(got[:], b.hash[:]) == 1
	return same && b.isSet && strings.EqualFold(scheme, "Bearer")
}

// An authorizer decides which requests are allowed. It is immutable.
type authorizer struct {
	token    bearerToken
	loopback bool
}

func newAuthorizer(token string, loopback bool) *authorizer {
	return &authorizer{token: newBearerToken(token), loopback: loopback}
}

// checkSite applies to every request. It rejects requests that web pages of
// other hosts send to a loopback listener.
func (a *authorizer) checkSite(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Cache-Control", "no-store")
		if reason := a.crossSite(r); reason != "" {
			http.Error(w, reason, http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// protectWrites rejects requests other than GET and HEAD that lack the token.
func (a *authorizer) protectWrites(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !isRead(r) && !a.token.in(r) {
			a.reject(w)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// privileged protects handlers that reveal internals of the process. They
// require the token unless the listener is loopback.
func (a *authorizer) privileged(next http.Handler) http.Handler {
	return a.protect(next, func(r *http.Request) bool { return a.loopback || a.token.in(r) })
}

// secret protects handlers that reveal the messages of clients, or act for the
// application. They require the token on every listener.
func (a *authorizer) secret(next http.Handler) http.Handler { return a.protect(next, a.token.in) }

// protect rejects requests that are not allowed, and those that pages of other
// origins send, also of this machine: they could read no answer, but take the
// place of others or, with a token that they have learned, act.
func (a *authorizer) protect(next http.Handler, allowed func(*http.Request) bool) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case isForeign(r):
			http.Error(w, "pages of other origins may not send this request: open the address directly", http.StatusForbidden)
		case !allowed(r):
			a.reject(w)
		default:
			next.ServeHTTP(w, r)
		}
	})
}

// isForeign reports whether a page of another origin sent the request. Browsers
// say so on secure origins, and on localhost. On others, the Origin of a request
// that has one must be the host that the page was loaded from.
func isForeign(r *http.Request) bool {
	if site := r.Header.Get("Sec-Fetch-Site"); site != "" {
		return site != "same-origin" && site != "none"
	}
	for _, origin := range r.Header.Values("Origin") {
		if u, err := url.Parse(origin); err != nil || u.Host == "" || !strings.EqualFold(u.Host, r.Host) {
			return true
		}
	}
	return false
}

func (a *authorizer) reject(w http.ResponseWriter) {
	if !a.token.isSet {
		http.Error(w, "this request needs a token: set SIDECAST_ADMIN_TOKEN and restart the relay", http.StatusForbidden)
		return
	}
	w.Header().Set("WWW-Authenticate", `Bearer realm="sidecast"`)
	http.Error(w, "this request needs the token in SIDECAST_ADMIN_TOKEN: send it as Authorization: Bearer TOKEN",
		http.StatusUnauthorized)
}

// crossSite returns the reason why a request to a loopback listener must be
// rejected because a web page of another host may have sent it, or an empty
// string. A page whose host name resolves to 127.0.0.1 (DNS rebinding) is
// recognized by Host, other pages by Origin, and requests without Origin, such
// as those for images, by Sec-Fetch-Site.
func (a *authorizer) crossSite(r *http.Request) string {
	if !a.loopback {
		return ""
	}
	if !isLoopback(r.Host) {
		return "the Host header must name localhost or a loopback address"
	}
	for _, origin := range r.Header.Values("Origin") {
		if u, err := url.Parse(origin); err != nil || !isLoopback(u.Host) {
			return "pages of other hosts may not send requests to this listener: see the Origin header"
		}
	}
	if r.Header.Get("Sec-Fetch-Site") == "cross-site" {
		return "pages of other sites may not send requests to this listener: open the address directly"
	}
	return ""
}

// isLoopback reports whether a host, with or without a port, is this machine by
// name or address. A name may end with a dot.
func isLoopback(hostport string) bool {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		host = strings.TrimSuffix(strings.TrimPrefix(hostport, "["), "]")
	}
	if name, ok := strings.CutSuffix(host, "."); ok {
		return loopback.Name(name)
	}
	return loopback.PageHost(host)
}
