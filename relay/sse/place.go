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
	use     accept.StreamUse
	address netip.Addr // counted by the IPLimiter for this stream
}

// take counts the client, or returns the limit that it exceeds. Over HTTP/2,
// each stream of a connection counts as a connection.
func (p *place) take(h *Handler, r *http.Request) *accept.Problem {
	conn := accept.FromContext(r.Context())
	if conn.OverLimit() {
		return &accept.AddressLimit
	}
	if r.ProtoMajor >= 2 {
		return p.takeStream(h, r, conn)
	}
	counted := conn.Counted()
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

// takeStream is take for a stream of a connection that others may share. The
// first one of a connection is counted with it. A later one is new: otherwise
// one connection could make the relay ask the application without a limit.
func (p *place) takeStream(h *Handler, r *http.Request, conn *accept.Conn) *accept.Problem {
	use, ok := conn.AddStream(h.cfg.Slots)
	if !ok {
		return &accept.ConnectionLimit
	}
	p.conn, p.shared, p.use = conn, true, use
	counted, limit := conn.Counted(), &accept.AddressLimit
	if !counted.IsValid() && h.cfg.IPLimiter != nil {
		counted, limit, use = h.cfg.Limited(r), &accept.ForwardedLimit, accept.OwnPlaces
	}
	switch use {
	case accept.FirstPlace:
		return nil
	case accept.LentPlace:
		ok = h.cfg.IPLimiter.Arrive(counted)
	default:
		if ok = h.cfg.IPLimiter.Take(counted); ok {
			p.address = counted
		}
	}
	if !ok {
		conn.EndStream(h.cfg.Slots, p.use)
		return limit
	}
	return nil
}

// free ends what take began.
func (p *place) free(h *Handler) {
	h.cfg.IPLimiter.Free(p.address)
	if p.shared {
		p.conn.EndStream(h.cfg.Slots, p.use)
		return
	}
	h.cfg.Slots.Free()
}
