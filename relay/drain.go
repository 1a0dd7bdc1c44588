package relay

import (
	"context"
	"math"
	"math/rand/v2"
	"time"

	"sidecast/relay/protocol"
)

// Leaving returns the close code for new clients while the hub drains, or 0.
func (h *Hub) Leaving() protocol.CloseCode { return protocol.CloseCode(h.draining.Load()) }

// Drain closes all sessions with code, in random order and at a constant rate
// over about the given time (but at least 20 per second), so that their clients
// do not all return at once. From now on [Hub.Admit] rejects clients with code,
// and a client that was admitted before and joins later is closed at once.
// Drain returns when there are no sessions, or aborts those that are left when
// ctx ends.
func (h *Hub) Drain(ctx context.Context, over time.Duration, code protocol.CloseCode) {
	h.draining.Store(uint32(code))
	const step = 50 * time.Millisecond
	ticker := time.NewTicker(step)
	defer ticker.Stop()
	deadline, due := time.Now().Add(over), 0.0
	for {
		left := h.openSessions()
		if len(left) == 0 && h.Sessions() == 0 {
			return
		}
		rounds := max(float64(time.Until(deadline))/float64(step), 1)
		due += max(float64(len(left))/rounds, 1) // if there are few, one per round
		rand.Shuffle(len(left), func(i, k int) { left[i], left[k] = left[k], left[i] })
		for _, s := range left[:min(int(due), len(left))] {
			s.Close(code)
		}
		due -= math.Floor(due)
		select {
		case <-ticker.C:
		case <-ctx.Done():
			for _, s := range h.shards {
				for _, session := range s.list() {
					session.outbox.Abort()
				}
			}
			return
		}
	}
}

// openSessions returns the sessions that are not being closed.
func (h *Hub) openSessions() (list []*Session) {
	for _, s := range h.shards {
		for _, session := range s.list() {
			if session.closeCode.Load() == 0 {
				list = append(list, session)
			}
		}
	}
	return list
}
