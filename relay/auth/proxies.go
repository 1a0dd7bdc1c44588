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

// Limited returns the address that a client's limits are counted by, or the zero Addr where there are none: the peer's, if
// it is one of the open Internet, because behind any other may be a proxy that nobody told us of; or what a trusted proxy
// forwards, whatever that is. Addresses of IPv6 count by /64, since that is what one client has.
func (p Proxies) Limited(r *http.Request) netip.Addr {
	address, ok := peer(r)
	if !ok {
		return netip.Addr{}
	}
	if !p.trusts(address) {
		if exempt(address) {
			return netip.Addr{}
		}
	} else if address = p.Client(r); p.trusts(address) {
		return netip.Addr{} // the proxy does not say for whom it speaks
	}
	if address.Is4() {
		return address
	}
	prefix, err := address.Prefix(64)
	if err != nil {
		return netip.Addr{}
	}
	return prefix.Addr()
}

var carrierNAT = netip.MustParsePrefix("100.64.0.0/10")

func exempt(a netip.Addr) bool {
	return a.IsLoopback() || a.IsPrivate() || a.IsLinkLocalUnicast() || carrierNAT.Contains(a)
}

// Disbelieved returns the peer if it forwards an address and is not trusted to.
func (p Proxies) Disbelieved(r *http.Request) (netip.Addr, bool) {
	if len(r.Header.Values("X-Forwarded-For")) == 0 {
		return netip.Addr{}, false
	}
	address, ok := peer(r)
	return address, ok && !p.trusts(address)
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
