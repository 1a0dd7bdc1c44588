package outbox

import (
	"slices"
	"time"

	"sidecast/relay/stats"
)

// Sweep evicts the clients that have made no progress for too long: neither did
// the kernel accept a byte of the outbox, nor did the client's kernel
// acknowledge one. A slow line that sends a large frame makes progress all the
// time, even while the kernel waits for more room before it accepts more bytes.
// The hub calls Sweep once a second.
func (b *Budget) Sweep(now time.Time) {
	b.mu.Lock()
	b.share.forget()
	list := slices.Clone(b.largest.list)
	b.mu.Unlock()
	for _, h := range list {
		h.outbox.evictIfStuck(now)
	}
}

func (o *Outbox) evictIfStuck(now time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	h := o.held
	if h == nil {
		return
	}
	if acknowledged, known := o.acknowledgedLocked(); known {
		before, first := h.acknowledged, !h.sampled
		h.acknowledged, h.sampled = acknowledged, true
		if first {
			return // there is nothing to compare with
		}
		if h.acknowledged > before {
			h.progress = now
		}
	}
	if now.Sub(h.progress) > o.budget.maxAge {
		o.evictLocked(stats.EvictAge)
	}
}

// acknowledgedLocked returns how many of the bytes that were sent the client's
// kernel has acknowledged. known is false if the socket cannot find out.
func (o *Outbox) acknowledgedLocked() (bytes int64, known bool) {
	unacknowledged, known := o.socket.Unacknowledged()
	return o.sent - int64(unacknowledged), known
}

// Progress returns how many bytes the client's kernel has acknowledged, and how
// many were sent or queued until now. If the socket does not know the first, it
// returns how many bytes were sent.
func (o *Outbox) Progress() (acknowledged, total int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	total = o.sent + int64(max(o.charged-FrameCharge*len(o.queue), 0)) // an evicted outbox is not charged
	if bytes, known := o.acknowledgedLocked(); known {
		return bytes, total
	}
	return o.sent, total
}
