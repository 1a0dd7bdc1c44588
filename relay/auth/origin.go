package auth

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
)

// Why a request is refused.
var (
	ErrOrigin = errors.New("this page's origin may not connect: add it to SIDECAST_ALLOWED_ORIGINS")
	ErrHost   = errors.New("the development relay answers to loopback names only, such as localhost")
)

// Origins decides from which pages a browser may connect (cross-site WebSocket hijacking, DNS rebinding). It is immutable
// and safe for concurrent use. The zero value allows pages of the same host.
type Origins struct {
	exact    map[string]bool // scheme://host[:port]
	suffixes []originSuffix
	all      bool
	embedded bool
	proxies  Proxies
}

type originSuffix struct{ scheme, suffix, port string }

// OriginsConfig is what [NewOrigins] needs.
type OriginsConfig struct {
	// Allowed lists `scheme://host[:port]`, `https://*.example.com` and, alone, `*`. Empty allows pages whose host name is
	// the one that the request was sent to, whatever the scheme and port, as cookies ignore ports too.
	Allowed []string
	// Embedded allows pages of any loopback host and of no origin (a file), and demands a loopback Host, so that a page
	// elsewhere cannot reach a developer's relay by a name of its own.
	Embedded bool
	Proxies  Proxies
}

// NewOrigins compiles the rules.
func NewOrigins(c OriginsConfig) (*Origins, error) {
	o := &Origins{exact: make(map[string]bool), embedded: c.Embedded, proxies: c.Proxies}
	for _, text := range c.Allowed {
		if text == "*" {
			o.all = true
			continue
		}
		scheme, host, port, ok := splitOrigin(text)
		switch {
		case !ok || strings.Contains(strings.TrimPrefix(host, "*."), "*"):
			return nil, fmt.Errorf("%q is not an origin: write scheme://host[:port] or https://*.example.com", text)
		case strings.HasPrefix(host, "*."):
			o.suffixes = append(o.suffixes, originSuffix{scheme, host[1:], port})
		default:
			o.exact[joinOrigin(scheme, host, port)] = true
		}
	}
	return o, nil
}

// Check returns why the request must be refused, or nil.
func (o *Origins) Check(r *http.Request) error {
	if o.embedded && !loopbackHost(hostName(r.Host)) {
		return ErrHost
	}
	origins := r.Header.Values("Origin")
	switch {
	case len(origins) == 0: // not a browser
		return nil
	case len(origins) > 1:
		return ErrOrigin
	}
	if o.allowed(origins[0], r) {
		return nil
	}
	return ErrOrigin
}

func (o *Origins) allowed(origin string, r *http.Request) bool {
	if o.all {
		return true
	}
	if o.embedded && origin == "null" {
		return true
	}
	scheme, host, port, ok := splitOrigin(origin)
	if !ok {
		return false
	}
	if o.embedded && loopbackHost(host) {
		return true
	}
	if len(o.exact) == 0 && len(o.suffixes) == 0 {
		return !o.embedded && host == hostName(o.proxies.Host(r))
	}
	if o.exact[joinOrigin(scheme, host, port)] {
		return true
	}
	for _, s := range o.suffixes {
		if scheme == s.scheme && port == s.port && strings.HasSuffix(host, s.suffix) && len(host) > len(s.suffix) {
			return true
		}
	}
	return false
}

// splitOrigin takes an origin apart (RFC 6454): lower case, without the scheme's own port.
func splitOrigin(text string) (scheme, host, port string, ok bool) {
	u, err := url.Parse(text)
	if err != nil || u.Scheme == "" || u.Hostname() == "" || u.User != nil || u.Path != "" || u.RawQuery != "" ||
		u.Fragment != "" || u.Opaque != "" || u.ForceQuery {
		return "", "", "", false
	}
	port = u.Port()
	if port == "" && strings.HasSuffix(u.Host, ":") {
		return "", "", "", false
	}
	if u.Scheme == "http" && port == "80" || u.Scheme == "https" && port == "443" {
		port = ""
	}
	return strings.ToLower(u.Scheme), strings.ToLower(u.Hostname()), port, true
}

func joinOrigin(scheme, host, port string) string { return scheme + "://" + host + ":" + port }

// hostName is the host of a Host header in lower case, without the port.
func hostName(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	return strings.ToLower(strings.Trim(host, "[]"))
}

func loopbackHost(name string) bool {
	if name == "localhost" || strings.HasSuffix(name, ".localhost") {
		return true
	}
	address, err := netip.ParseAddr(name)
	return err == nil && address.Unmap().IsLoopback()
}
