package outbox

import (
	"container/heap"
	"sync"
	"sync/atomic"
	"time"

	"sidecast/relay/stats"
)

// A Budget bounds the memory of all outboxes together. It counts a frame once,
// however many outboxes hold it, and knows every outbox that holds something.
// All outboxes share one Budget, and it is safe for concurrent use.
type Budget struct {
	perOutbox int           // bytes of one outbox
	total     int64         // bytes of all outboxes
	maxAge    time.Duration // without progress
	stats     *stats.Stats
	drains    sync.WaitGroup // the Drain goroutines of all outboxes

	used      atomic.Int64 // the length of each frame that is held, and FrameCharge for each queued entry; written with mu locked
	enforcing sync.Mutex   // held by the goroutine that evicts the largest outboxes

	mu sync.Mutex // guards the rest
	holdings
	frames map[frameID]frameUse
	share  replayShare
}

// NewBudget returns a budget of each bytes for one outbox and total bytes for
// all. The next [Budget.Sweep] evicts a client that has accepted no byte of its
// outbox for longer than age. stats may be nil.
func NewBudget(each, total int, age time.Duration, stats *stats.Stats) *Budget {
	b := &Budget{perOutbox: each, total: int64(total), maxAge: age, stats: stats, frames: make(map[frameID]frameUse)}
	b.byID = make([]*holding, 1)
	b.share.bound = max(b.total/4, 1)
	return b
}

// Used returns how many bytes all outboxes hold: the length of each frame,
// counted once, and [FrameCharge] for each entry of a queue.
func (b *Budget) Used() int64 { return b.used.Load() }

// Wait returns when no Drain is running. Call it after every connection was
// closed.
func (b *Budget) Wait() { b.drains.Wait() }

// hold records that entries were added to the queue of h's outbox, which is
// locked.
func (b *Budget) hold(h *holding, entries []queued) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if h.id == 0 {
		b.add(h)
	}
	var change holdingChange
	for i := range entries {
		b.holdFrame(h, &entries[i], &change)
	}
	b.apply(h, change)
	heap.Fix(&b.largest, h.index)
}

// release records that entries left the queue of h's outbox, which is locked.
// It reports whether h holds nothing any more.
func (b *Budget) release(h *holding, entries []queued) (empty bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	var change holdingChange
	for i := range entries {
		b.releaseFrame(h, &entries[i], &change)
	}
	b.apply(h, change)
	if empty = h.bytes == 0; empty {
		b.remove(h)
	} else {
		heap.Fix(&b.largest, h.index)
	}
	b.share.wakeNext()
	return empty
}

// apply adds the change of a call. Only now, because moving one holding in the
// heap requires that all others are in their places.
func (b *Budget) apply(h *holding, change holdingChange) {
	h.exclusive += change.exclusive
	h.bytes += change.bytes
	b.used.Add(int64(change.used))
	b.share.held += int64(change.replay)
}

// EnforceLimit evicts outboxes until all of them together fit: first the one
// with the most bytes that no other outbox holds, and if several hold equally
// many, the one with the most bytes. It does not matter which outbox exceeded
// the limit. It must be called with no outbox locked.
func (b *Budget) EnforceLimit() {
	if b.used.Load() <= b.total {
		return
	}
	b.enforcing.Lock()
	defer b.enforcing.Unlock()
	for {
		h := b.next()
		if h == nil {
			return
		}
		h.outbox.evictIfNext(h)
	}
}

// next returns the holding to evict next, or nil if all fit.
func (b *Budget) next() *holding {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.used.Load() <= b.total || len(b.largest.list) == 0 {
		return nil
	}
	return b.largest.list[0]
}

// evictIfNext evicts the client, unless its outbox drained or another one
// became larger since [Budget.next] returned h.
func (o *Outbox) evictIfNext(h *holding) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.budget.next() == h {
		o.evictLocked(stats.EvictTotal)
	}
}
