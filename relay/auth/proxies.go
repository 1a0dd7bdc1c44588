package auth

import (
	"net/http"
	"net/netip"
	"strings"
)

// Proxies are the peers whose X-Forwarded headers are believed. The zero value believes nobody. It is immutable and safe
// for concurrent use.
type Proxies struct{ trusted []netip.Prefix }

// NewProxies trusts the peers in the given ranges.
func NewProxies(trusted []netip.Prefix) Proxies { return Proxies{trusted: trusted} }

func (p Proxies) trusts(address netip.Addr) bool {
	for _, prefix := range p.trusted {
		if prefix.Contains(address) {
			return true
		}
	}
	return false
}

// peer returns the address at the other end of the connection, and false where it has none (a Unix socket).
func peer(r *http.Request) (netip.Addr, bool) {
	port, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}, false
	}
	return port.Addr().Unmap().WithZone(""), true
}

// Client returns the address of the client: the peer's, or where the peer is a trusted proxy the rightmost address in
// X-Forwarded-For that is none. It is the zero Addr where there is no telling.
func (p Proxies) Client(r *http.Request) netip.Addr {
	address, ok := peer(r)
	if !ok || !p.trusts(address) {
		return address
	}
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for i := len(hops) - 1; i >= 0; i-- {
		hop, ok := parseHop(strings.TrimSpace(hops[i]))
		if !ok {
			break // whoever wrote this is not to be believed, and neither is what stands before it
		}
		address = hop
		if !p.trusts(hop) {
			break
		}
	}
	return address
}

// parseHop reads one entry of X-Forwarded-For, with or without a port.
func parseHop(text string) (netip.Addr, bool) {
	if address, err := netip.ParseAddr(strings.Trim(text, "[]")); err == nil {
		return address.Unmap().WithZone(""), true
	}
	if port, err := netip.ParseAddrPort(text); err == nil {
		return port.Addr().Unmap().WithZone(""), true
	}
	return netip.Addr{}, false
}

// Host returns the host that the browser asked for: the Host header, or X-Forwarded-Host from a trusted proxy.
func (p Proxies) Host(r *http.Request) string {
	if address, ok := peer(r); ok && p.trusts(address) {
		if forwarded := r.Header.Get("X-Forwarded-Host"); forwarded != "" {
			first, _, _ := strings.Cut(forwarded, ",")
			return strings.TrimSpace(first)
		}
	}
	return r.Host
}
