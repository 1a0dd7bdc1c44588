package console

import (
	"runtime/metrics"
	"strconv"
	"time"

	"sidecast/relay/protocol"
	"sidecast/relay/stats"
)

// A sample is what all consoles show of one second. Times are in seconds, and
// what happens is per second.
type sample struct {
	MS       int64 `json:"ms"` // when it was taken, in unix milliseconds
	Up       bool  `json:"up"` // Redis is connected
	Draining bool  `json:"draining"`

	Connections   number `json:"connections"`
	Subscriptions number `json:"subscriptions"`
	Channels      number `json:"channels"`
	Resuming      number `json:"resuming"`
	Sockets       number `json:"sockets"`
	Opened        number `json:"opened"`
	Messages      number `json:"messages"`
	Deliveries    number `json:"deliveries"`
	Lag50         number `json:"lag50"`
	Lag99         number `json:"lag99"`
	RoundTrip     number `json:"trip"` // of markers: from this relay through Redis back to it
	Outbox        number `json:"outbox"`
	History       number `json:"history"`
	Gaps          number `json:"gaps"`
	Epochs        number `json:"epochs"` // connections to Redis that ended
	Memory        number `json:"memory"`
	Heap          number `json:"heap"`
	Goroutines    number `json:"goroutines"`

	Causes  []cause       `json:"causes"`
	Busiest []busyChannel `json:"busiest"`
}

// A cause is how often something happened since the relay started, and now.
type cause struct {
	Kind  string `json:"kind"`
	Cause string `json:"cause"`
	Total uint64 `json:"total"`
	Rate  number `json:"rate"`
}

// The kinds of causes, as the page calls them.
const (
	kindClosed   = "closed"
	kindGap      = "gap"
	kindEvicted  = "evicted"
	kindRejected = "rejected"
	kindDropped  = "dropped"
	kindRedis    = "redis"
)

// totals are the counters at one moment, which only increase.
type totals struct {
	at                           time.Time
	opened, messages, deliveries uint64
	lag, trip                    distribution
	causes                       []cause // without rates; always the same ones in the same order
}

// readTotals reads the counters.
func readTotals(s *stats.Stats, now time.Time) totals {
	t := totals{at: now, opened: s.Opened.Load(), messages: s.RedisMessages.Load(), causes: readCauses(s)}
	for i := range s.Deliveries {
		t.deliveries += s.Deliveries[i].Load()
	}
	t.lag, t.trip = newDistribution(&s.Lag), newDistribution(&s.MarkerTrip)
	return t
}

func readCauses(s *stats.Stats) (all []cause) {
	add := func(kind, name string, c *stats.Counter) {
		all = append(all, cause{Kind: kind, Cause: name, Total: c.Load()})
	}
	for i, code := range protocol.CloseSlots() {
		add(kindClosed, codeName(code), &s.Closed[i])
	}
	for i, reason := range protocol.GapReasons() {
		add(kindGap, reason.String(), &s.Gaps[i])
	}
	for i, reason := range stats.EvictionReasons {
		add(kindEvicted, reason, &s.Evictions[i])
	}
	for i, reason := range stats.Rejections {
		add(kindRejected, reason, &s.Rejected[i])
	}
	for i, reason := range stats.DropReasons {
		add(kindDropped, reason, &s.Dropped[i])
	}
	for i, reason := range stats.Causes {
		add(kindRedis, reason, &s.RedisEpochs[i])
	}
	return all
}

// codeName returns the name of a close code. 0 stands for all codes that the
// relay never sends.
func codeName(code protocol.CloseCode) string {
	if code == 0 {
		return "other"
	}
	return strconv.Itoa(int(code))
}

// newSample returns what happened between two moments, and the state at the
// second.
func newSample(c *Config, before, after totals) sample {
	s, seconds := c.Stats, after.at.Sub(before.at).Seconds()
	rate := func(before, after uint64) number { return number(float64(after-before) / seconds) }
	m := sample{
		MS: after.at.UnixMilli(), Up: s.RedisUp.Load(), Draining: s.Draining.Load(),
		Subscriptions: number(s.Subscriptions.Load()), Channels: number(s.Channels.Load()), Resuming: number(s.Resuming.Load()),
		Opened: rate(before.opened, after.opened), Messages: rate(before.messages, after.messages), Deliveries: rate(before.deliveries, after.deliveries),
		Sockets: nothing, Outbox: nothing, History: nothing,
	}
	for transport := range s.Connections {
		for protocol := range s.Connections[transport] {
			m.Connections += number(s.Connections[transport][protocol].Load())
		}
	}
	lag := after.lag.since(before.lag)
	m.Lag50, m.Lag99, m.RoundTrip = lag.quantile(0.5), lag.quantile(0.99), after.trip.since(before.trip).mean()
	for i, now := range after.causes {
		now.Rate = rate(before.causes[i].Total, now.Total)
		switch now.Kind {
		case kindGap:
			m.Gaps += now.Rate
		case kindRedis:
			m.Epochs += now.Rate
		}
		if now.Total > 0 {
			m.Causes = append(m.Causes, now)
		}
	}
	m.readGauges(&c.Gauges)
	m.readRuntime()
	return m
}

func (m *sample) readGauges(g *Gauges) {
	if g.Sockets != nil {
		m.Sockets = number(g.Sockets())
	}
	if g.OutboxBytes != nil {
		m.Outbox = number(g.OutboxBytes())
	}
	if g.HistoryBytes != nil {
		m.History = number(g.HistoryBytes())
	}
}

// readRuntime reads the memory that the process holds, of which the heap's live
// objects and garbage are a part.
func (m *sample) readRuntime() {
	values := []metrics.Sample{
		{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"},
		{Name: "/memory/classes/heap/objects:bytes"}, {Name: "/sched/goroutines:goroutines"},
	}
	metrics.Read(values)
	read := func(i int) number { return number(values[i].Value.Uint64()) }
	m.Memory, m.Heap, m.Goroutines = read(0)-read(1), read(2), read(3)
}
