package outbox

import (
	"sync"
	"sync/atomic"
	"time"

	"sidecast/relay/stats"
)

// A Budget bounds what all outboxes hold together, and knows those that hold something. It is shared by all outboxes and
// safe for concurrent use.
type Budget struct {
	each   int           // bytes per outbox
	total  int64         // bytes of all outboxes
	age    time.Duration // of the oldest byte
	stats  *stats.Stats
	drains sync.WaitGroup // the Drain goroutines of all outboxes

	used atomic.Int64 // the sum of full; written with mu locked, so that nobody sees a sum without its largest part

	mu   sync.Mutex
	full map[*Outbox]int // what each outbox that holds something is charged with

	enforcing sync.Mutex // held by the one that looks for the largest
}

// NewBudget returns a budget of each bytes per outbox and total bytes for all. A byte that waits longer than age gets its
// client evicted at the next [Budget.Sweep].
func NewBudget(each, total int, age time.Duration, stats *stats.Stats) *Budget {
	return &Budget{each: each, total: int64(total), age: age, stats: stats, full: make(map[*Outbox]int)}
}

// Used returns what all outboxes hold, in bytes.
func (b *Budget) Used() int64 { return b.used.Load() }

// Wait returns when no outbox is being drained any more. Call it after every connection was closed.
func (b *Budget) Wait() { b.drains.Wait() }

// charge books that o went from was to now bytes. It is called with o locked.
func (b *Budget) charge(o *Outbox, was, now int) {
	if was == now {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.used.Add(int64(now - was))
	if now == 0 {
		delete(b.full, o)
	} else {
		b.full[o] = now
	}
}

// relieve evicts the largest outboxes until all of them together fit: whoever crossed the line, the largest goes. It is
// called with no outbox locked.
func (b *Budget) EnforceLimit() {
	if b.used.Load() <= b.total {
		return
	}
	b.enforcing.Lock()
	defer b.enforcing.Unlock()
	for b.used.Load() > b.total {
		largest := b.largest()
		if largest == nil {
			return
		}
		largest.Evict(stats.EvictTotal)
	}
}

func (b *Budget) largest() *Outbox {
	b.mu.Lock()
	defer b.mu.Unlock()
	var largest *Outbox
	most := 0
	for o, charged := range b.full {
		if charged > most {
			largest, most = o, charged
		}
	}
	return largest
}

// Sweep evicts the clients whose oldest byte waits for too long. The hub calls it once a second.
func (b *Budget) Sweep(now time.Time) {
	b.mu.Lock()
	held := make([]*Outbox, 0, len(b.full))
	for o := range b.full {
		held = append(held, o)
	}
	b.mu.Unlock()
	for _, o := range held {
		if _, since := o.Pending(); !since.IsZero() && now.Sub(since) > b.age {
			o.Evict(stats.EvictAge)
		}
	}
}
