package outbox

import (
	"sync"
	"sync/atomic"
	"time"

	"sidecast/relay/stats"
)

// A Budget bounds the bytes that all outboxes hold together. It knows every
// outbox that holds something. All outboxes share one Budget, and it is safe
// for concurrent use.
type Budget struct {
	perOutbox int           // bytes of one outbox
	total     int64         // bytes of all outboxes
	maxAge    time.Duration // of the oldest frame
	stats     *stats.Stats
	drains    sync.WaitGroup // the Drain goroutines of all outboxes

	used atomic.Int64 // the sum of charges; written with mu locked, so that a sum always includes its largest part

	mu      sync.Mutex
	charges map[*Outbox]int // for each outbox that holds something

	enforcing sync.Mutex // held by the goroutine that looks for the largest outbox
}

// NewBudget returns a budget of each bytes for one outbox and total bytes for
// all. The next [Budget.Sweep] evicts a client whose oldest frame has waited
// longer than age. stats may be nil.
func NewBudget(each, total int, age time.Duration, stats *stats.Stats) *Budget {
	return &Budget{perOutbox: each, total: int64(total), maxAge: age, stats: stats, charges: make(map[*Outbox]int)}
}

// Used returns how many bytes all outboxes hold.
func (b *Budget) Used() int64 { return b.used.Load() }

// Wait returns when no Drain is running. Call it after every connection was
// closed.
func (b *Budget) Wait() { b.drains.Wait() }

// charge changes the charge of o from before to now bytes. It is called with o
// locked.
func (b *Budget) charge(o *Outbox, before, now int) {
	if before == now {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.used.Add(int64(now - before))
	if now == 0 {
		delete(b.charges, o)
	} else {
		b.charges[o] = now
	}
}

// EnforceLimit evicts the largest outbox until all of them together fit. It
// does not matter which outbox exceeded the limit. It must be called with no
// outbox locked.
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
	for o, charged := range b.charges {
		if charged > most {
			largest, most = o, charged
		}
	}
	return largest
}

// Sweep evicts the clients whose oldest frame has waited too long. The hub
// calls it once a second.
func (b *Budget) Sweep(now time.Time) {
	b.mu.Lock()
	list := make([]*Outbox, 0, len(b.charges))
	for o := range b.charges {
		list = append(list, o)
	}
	b.mu.Unlock()
	for _, o := range list {
		if _, since := o.Pending(); !since.IsZero() && now.Sub(since) > b.maxAge {
			o.Evict(stats.EvictAge)
		}
	}
}
