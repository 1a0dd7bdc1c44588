package outbox

import (
	"slices"
	"time"

	"sidecast/relay/stats"
)

// Sweep evicts the clients whose oldest frame has waited too long. The hub
// calls it once a second.
func (b *Budget) Sweep(now time.Time) {
	b.mu.Lock()
	list := slices.Clone(b.largest.list)
	b.mu.Unlock()
	for _, h := range list {
		if _, since := h.outbox.Pending(); !since.IsZero() && now.Sub(since) > b.maxAge {
			h.outbox.Evict(stats.EvictAge)
		}
	}
}
