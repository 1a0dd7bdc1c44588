package admin

import (
	"crypto/sha256"
	"crypto/subtle"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
)

// access decides who may ask for what. It never changes.
type access struct {
	token    [sha256.Size]byte // hashed, so that comparing tells nothing of its length
	hasToken bool
	loopback bool
}

func newAccess(token string, loopback bool) *access {
	return &access{token: sha256.Sum256([]byte(token)), hasToken: token != "", loopback: loopback}
}

// door is before everything.
func (a *access) door(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Cache-Control", "no-store")
		if why := a.foreign(r); why != "" {
			http.Error(w, why, http.StatusForbidden)
			return
		}
		if !reads(r) && !a.authorized(r) {
			a.refuse(w)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// privileged is before what tells of the inside of the process.
func (a *access) privileged(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !a.loopback && !a.authorized(r) {
			a.refuse(w)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (a *access) authorized(r *http.Request) bool {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	got := sha256.Sum256([]byte(strings.TrimSpace(token)))
	same := subtle.ConstantTimeCompare(got[:], a.token[:]) == 1
	return same && a.hasToken && strings.EqualFold(scheme, "Bearer")
}

func (a *access) refuse(w http.ResponseWriter) {
	if !a.hasToken {
		http.Error(w, "this needs a token, and SIDECAST_ADMIN_TOKEN is not set", http.StatusForbidden)
		return
	}
	w.Header().Set("WWW-Authenticate", `Bearer realm="sidecast"`)
	http.Error(w, "this needs SIDECAST_ADMIN_TOKEN, as Authorization: Bearer", http.StatusUnauthorized)
}

// foreign says why a request to a loopback listener comes from a web page elsewhere; it is empty if it does not. A page
// whose name was pointed to 127.0.0.1 shows in Host, any other in Origin, and one that only sends a request without
// reading the answer, as for an image, in Sec-Fetch-Site.
func (a *access) foreign(r *http.Request) string {
	if !a.loopback {
		return ""
	}
	if !isLoopback(r.Host) {
		return "this listener answers to localhost and loopback addresses only: see Host"
	}
	for _, origin := range r.Header.Values("Origin") {
		if u, err := url.Parse(origin); err != nil || !isLoopback(u.Host) {
			return "this listener answers pages of this machine only: see Origin"
		}
	}
	if r.Header.Get("Sec-Fetch-Site") == "cross-site" {
		return "this listener answers pages of this machine only: enter the address by hand"
	}
	return ""
}

// isLoopback reports whether a host, with or without a port, is this machine by name or address.
func isLoopback(hostport string) bool {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		host = strings.TrimSuffix(strings.TrimPrefix(hostport, "["), "]")
	}
	if name := strings.ToLower(strings.TrimSuffix(host, ".")); name == "localhost" || strings.HasSuffix(name, ".localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}
