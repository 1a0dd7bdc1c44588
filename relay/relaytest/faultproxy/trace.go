package faultproxy

import (
	"sort"
	"time"
)

// passage says when the bytes of a connection up to an offset had come from the server.
type passage struct {
	end int64
	at  time.Time
}

// Trace keeps from now on when what servers sent came here, for [Proxy.PassedAt].
func (p *Proxy) Trace() { p.update(func() { p.traces = make(map[string][]passage) }) }

// PassedAt returns when the first n bytes that a server sent to the connection from client, a host:port, had come to the
// proxy; the zero time if that was not kept. What a proxy holds back has left the server.
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

// trace notes n more bytes. The proxy is locked.
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
	p.traces[client] = append(trace, passage{last + int64(n), at})
}
