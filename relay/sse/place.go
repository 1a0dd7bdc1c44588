package sse

import (
	"net/http"
	"net/netip"

	"sidecast/relay/accept"
)

// A place is what a stream takes of the limits on connections.
type place struct {
	conn    *accept.Conn // with HTTP/2: the connection, which other streams share
	shared  bool         // the connection may have other streams
	address netip.Addr   // counted by the IPLimiter for this stream
}

// take counts the client, or returns the limit that it exceeds. Over HTTP/2,
// each stream of a connection counts as a connection.
func (p *place) take(h *Handler, r *http.Request) *accept.Problem {
	conn := accept.FromContext(r.Context())
	if conn.OverLimit() {
		return &accept.AddressLimit
	}
	counted := conn.Counted()
	if r.ProtoMajor >= 2 {
		p.conn, p.shared = conn, true
		n, ok := conn.AddStream(h.cfg.Slots)
		if !ok {
			return &accept.ConnectionLimit
		}
		if counted.IsValid() && n == 1 {
			return nil // its connection is counted
		}
		if !counted.IsValid() && h.cfg.IPLimiter != nil {
			counted = h.cfg.Limited(r)
		}
		if !h.cfg.IPLimiter.Take(counted) {
			conn.EndStream(h.cfg.Slots)
			return &accept.ForwardedLimit
		}
		p.address = counted
		return nil
	}
	p.address = counted
	if !counted.IsValid() && h.cfg.IPLimiter != nil {
		p.address = h.cfg.Limited(r)
		if !h.cfg.IPLimiter.Take(p.address) {
			return &accept.ForwardedLimit
		}
	}
	if conn.Claim(h.cfg.Slots) {
		return nil
	}
	if !counted.IsValid() {
		h.cfg.IPLimiter.Free(p.address)
	}
	return &accept.ConnectionLimit
}

// free ends what take began.
func (p *place) free(h *Handler) {
	h.cfg.IPLimiter.Free(p.address)
	if p.shared {
		p.conn.EndStream(h.cfg.Slots)
		return
	}
	h.cfg.Slots.Free()
}
