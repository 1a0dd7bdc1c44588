package relay

import (
	"sync"
	"time"
)

// mailboxBytes bounds what waits for one shard. Beyond it the source waits, and
// Redis holds the rest.
const mailboxBytes = 16 << 20

// A mailbox holds the items that wait for a shard's goroutine, bounded in
// bytes. It is safe for concurrent use.
type mailbox struct {
	mu     sync.Mutex
	filled sync.Cond // the shard waits for it
	room   sync.Cond // the source waits for it
	items  []item
	since  time.Time // when the first of items was put
	bytes  int
	closed bool

	taken time.Time // since of the items that were taken last; owned by the goroutine that takes
}

func (b *mailbox) init() { b.filled.L, b.room.L = &b.mu, &b.mu }

// put copies items into the mailbox, and waits while it is full. An empty
// mailbox accepts anything.
func (b *mailbox) put(items []item) {
	charge := 0
	for i := range items {
		charge += items[i].charge()
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for b.bytes > 0 && b.bytes+charge > mailboxBytes && !b.closed {
		b.room.Wait()
	}
	if len(b.items) == 0 {
		b.since = time.Now()
	}
	b.items = append(b.items, items...)
	b.bytes += charge
	b.filled.Signal()
}

// take returns all items, and uses the memory of spare for the next ones. Only
// one goroutine calls it.
func (b *mailbox) take(spare []item) []item {
	b.mu.Lock()
	defer b.mu.Unlock()
	items := b.items
	b.taken = b.since
	b.items, b.bytes = spare, 0
	b.room.Signal()
	return items
}

// wait waits for items. It returns false once the mailbox is closed.
func (b *mailbox) wait() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	for len(b.items) == 0 && !b.closed {
		b.filled.Wait()
	}
	return !b.closed
}

func (b *mailbox) empty() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.items) == 0
}

func (b *mailbox) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	b.filled.Broadcast()
	b.room.Broadcast()
}
