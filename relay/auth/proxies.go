package auth

import (
	"net/http"
	"net/netip"
	"strings"
)

// Proxies are the address ranges of trusted reverse proxies. The X-Forwarded
// headers of other peers are ignored. The zero value trusts no peer. It is
// immutable and safe for concurrent use.
type Proxies struct{ trusted []netip.Prefix }

// NewProxies returns Proxies that trusts all peers in the given ranges.
func NewProxies(trusted []netip.Prefix) Proxies { return Proxies{trusted: trusted} }

func (p Proxies) trusts(address netip.Addr) bool {
	for _, prefix := range p.trusted {
		if prefix.Contains(address) {
			return true
		}
	}
	return false
}

// Client returns the address of the client. If the peer is a trusted proxy,
// this is the rightmost address in X-Forwarded-For that is not a trusted proxy;
// otherwise it is the peer's address. It is the zero Addr if the connection has
// no address.
func (p Proxies) Client(r *http.Request) netip.Addr {
	address, ok := peer(r)
	if !ok || !p.trusts(address) {
		return address
	}
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for i := len(hops) - 1; i >= 0; i-- {
		hop, ok := parseHop(strings.TrimSpace(hops[i]))
		if !ok {
			break // all entries to the left of an invalid entry are untrusted too
		}
		address = hop
		if !p.trusts(hop) {
			break
		}
	}
	return address
}

// Limited returns the address to which the limits per client address apply, and
// to which the relay charges questions to the application. It returns the zero
// Addr if the limits do not apply to this client. If the peer is a trusted
// proxy, the result is the forwarded address, even a private one. Otherwise it
// is the peer's address, but only if that is public: a private peer may be a
// proxy that is missing in the settings, and all its clients would share one
// limit. For IPv6 it is the /64 prefix, because one client usually has a whole
// /64.
func (p Proxies) Limited(r *http.Request) netip.Addr {
	address, ok := peer(r)
	if !ok {
		return netip.Addr{}
	}
	if !p.trusts(address) {
		return p.LimitedPeer(address)
	}
	if address = p.Client(r); p.trusts(address) {
		return netip.Addr{} // the proxy does not forward a client's address
	}
	return limitedPrefix(address)
}

// LimitedPeer returns the address to which the limits per client address apply
// when a connection from peer is accepted. It returns the zero Addr if peer may
// be a proxy, so that only a request can tell the client's address.
func (p Proxies) LimitedPeer(peer netip.Addr) netip.Addr {
	if p.trusts(peer) || exempt(peer) {
		return netip.Addr{}
	}
	return limitedPrefix(peer)
}

func limitedPrefix(address netip.Addr) netip.Addr {
	if address.Is4() {
		return address
	}
	prefix, err := address.Prefix(64)
	if err != nil {
		return netip.Addr{}
	}
	return prefix.Addr()
}

// UntrustedForwarder returns the peer's address and true if the peer sends
// X-Forwarded-For and is not a trusted proxy.
func (p Proxies) UntrustedForwarder(r *http.Request) (netip.Addr, bool) {
	if len(r.Header.Values("X-Forwarded-For")) == 0 {
		return netip.Addr{}, false
	}
	address, ok := peer(r)
	return address, ok && !p.trusts(address)
}

// Host returns the host to which the browser sent the request: the first host
// in X-Forwarded-Host if the peer is a trusted proxy that sends it, otherwise
// the Host header.
func (p Proxies) Host(r *http.Request) string {
	if forwarded := p.forwarded(r, "X-Forwarded-Host"); forwarded != "" {
		return forwarded
	}
	return r.Host
}

// TLS reports whether the browser sent the request over TLS: to this process,
// or to a trusted proxy that says so in X-Forwarded-Proto.
func (p Proxies) TLS(r *http.Request) bool {
	if r.TLS != nil {
		return true
	}
	scheme := p.forwarded(r, "X-Forwarded-Proto")
	return strings.EqualFold(scheme, "https") || strings.EqualFold(scheme, "wss") // Traefik says wss
}

// forwarded returns the first value of a header that a trusted proxy sets, or
// an empty string.
func (p Proxies) forwarded(r *http.Request, name string) string {
	value := r.Header.Get(name)
	if address, ok := peer(r); value == "" || !ok || !p.trusts(address) {
		return ""
	}
	first, _, _ := strings.Cut(value, ",")
	return strings.TrimSpace(first)
}

// peer returns the address at the other end of the connection, and false if the
// connection has no address (a Unix socket).
func peer(r *http.Request) (netip.Addr, bool) {
	addrPort, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}, false
	}
	return addrPort.Addr().Unmap().WithZone(""), true
}

// parseHop parses one entry of X-Forwarded-For, with or without a port.
func parseHop(text string) (netip.Addr, bool) {
	if address, err := netip.ParseAddr(strings.Trim(text, "[]")); err == nil {
		return address.Unmap().WithZone(""), true
	}
	if addrPort, err := netip.ParseAddrPort(text); err == nil {
		return addrPort.Addr().Unmap().WithZone(""), true
	}
	return netip.Addr{}, false
}

// carrierNAT is the range of carrier-grade NAT (RFC 6598).
var carrierNAT = netip.MustParsePrefix("100.64.0.0/10")

// exempt reports whether an address is not public, so that limits do not apply
// to it.
func exempt(a netip.Addr) bool {
	return a.IsLoopback() || a.IsPrivate() || a.IsLinkLocalUnicast() || carrierNAT.Contains(a)
}
