package faultproxy

import (
	"sort"
	"time"
)

// tracePoint is the time at which the bytes of a connection up to an offset had
// arrived from the server.
type tracePoint struct {
	end int64
	at  time.Time
}

// Trace starts to record when bytes from servers arrive, for [Proxy.PassedAt].
func (p *Proxy) Trace() { p.update(func() { p.traces = make(map[string][]tracePoint) }) }

// PassedAt returns when the first n bytes from the server on the connection of
// client, a host:port, had arrived at the proxy, or the zero time if that was
// not recorded. Bytes that a fault holds back have arrived.
func (p *Proxy) PassedAt(client string, n int64) time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	trace := p.traces[client]
	i := sort.Search(len(trace), func(i int) bool { return trace[i].end >= n })
	if i == len(trace) {
		return time.Time{}
	}
	return trace[i].at
}

// trace records the arrival of n bytes. The caller holds p.mu.
func (p *Proxy) trace(pair *pair, d Direction, n int, at time.Time) {
	if p.traces == nil || d != ToClient {
		return
	}
	client := pair.client.RemoteAddr().String()
	trace := p.traces[client]
	last := int64(0)
	if len(trace) > 0 {
		last = trace[len(trace)-1].end
	}
	p.traces[client] = append(trace, tracePoint{last + int64(n), at})
}
