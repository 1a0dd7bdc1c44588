package outbox

import (
	"fmt"
	"unsafe"
)

// NextBytes and ReplayPage give external tests access to the constants.
const (
	NextBytes  = nextBytes
	ReplayPage = replayPage
)

// An audit counts again what all outboxes hold, from their queues.
type audit struct {
	entries, replays map[frameID]int // by frame
	used, replay     int
}

// Audit compares the charges of all outboxes of a budget with their queues. It
// returns the first difference, or "".
func (b *Budget) Audit(all ...*Outbox) string {
	for _, o := range all {
		o.mu.Lock()
		defer o.mu.Unlock()
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	a := audit{entries: make(map[frameID]int), replays: make(map[frameID]int)}
	holders := 0
	for _, o := range all {
		if fault := o.auditCharge(); fault != "" {
			return fault
		}
		if o.held != nil {
			holders++
			a.add(o.queue)
		}
	}
	for _, o := range all {
		if fault := a.checkHolding(b, o); fault != "" {
			return fault
		}
	}
	switch {
	case b.Used() != int64(a.used), b.share.held != int64(a.replay):
		return fmt.Sprintf("used %d, by replays %d, want %d and %d", b.Used(), b.share.held, a.used, a.replay)
	case len(b.frames) != len(a.entries), len(b.largest.list) != holders, len(b.byID) != 1+holders+len(b.freeIDs):
		return fmt.Sprintf("%d frames, %d holdings, %d IDs of which %d are free, want %d frames and %d holdings",
			len(b.frames), len(b.largest.list), len(b.byID), len(b.freeIDs), len(a.entries), holders)
	case b.share.waiting.Len() > 0 && b.share.hasRoom():
		return fmt.Sprintf("%d replays wait although there is room", b.share.waiting.Len())
	}
	return b.auditHeap()
}

// auditCharge compares what the queue counts for with the queue.
func (o *Outbox) auditCharge() string {
	want := -int(o.partial)
	for _, q := range o.queue {
		want += len(q.frame) + FrameCharge
	}
	if o.state == outboxEvicted || o.state == outboxClosed {
		want = 0
	}
	if o.charged != want || (o.held != nil) != (want > 0) {
		return fmt.Sprintf("state %d with %d queued: charged %d, held %v, want %d", o.state, len(o.queue), o.charged, o.held, want)
	}
	return ""
}

func (a *audit) add(queue []queued) {
	for _, q := range queue {
		id := frameID{unsafe.SliceData(q.frame), len(q.frame)}
		a.used += FrameCharge
		if id.size > 0 {
			if a.entries[id]++; a.entries[id] == 1 {
				a.used += id.size
			}
		}
		if q.replay {
			a.replay += FrameCharge
			if a.replays[id]++; a.replays[id] == 1 {
				a.replay += id.size
			}
		}
	}
}

// size counts what a queue holds again.
func (a *audit) size(queue []queued) (s Size) {
	for _, q := range queue {
		s.Bytes += len(q.frame) + FrameCharge
		s.Exclusive += FrameCharge
		if a.entries[frameID{unsafe.SliceData(q.frame), len(q.frame)}] == 1 {
			s.Exclusive += len(q.frame)
		}
	}
	return s
}

// checkHolding compares what the budget counts for one outbox with its queue.
func (a *audit) checkHolding(b *Budget, o *Outbox) string {
	h := o.held
	if h == nil {
		return ""
	}
	want := a.size(o.queue)
	if (Size{h.exclusive, h.bytes}) != want || b.byID[h.id] != h || b.largest.list[h.index] != h {
		return fmt.Sprintf("a holding of %d bytes, %d exclusive, ID %d, index %d; want %+v", h.bytes, h.exclusive, h.id, h.index, want)
	}
	return ""
}

// auditHeap checks that no holding is larger than the one above it.
func (b *Budget) auditHeap() string {
	compared := b.largest.compared
	defer func() { b.largest.compared = compared }()
	for i := 1; i < len(b.largest.list); i++ {
		if b.largest.Less(i, (i-1)/2) {
			return fmt.Sprintf("holding %d is larger than the one above it", i)
		}
	}
	return ""
}

// Chosen returns the outbox that [Budget.EnforceLimit] evicts next, and a
// function that evicts it as EnforceLimit does. It returns nil if all fit.
func (b *Budget) Chosen() (o *Outbox, evict func()) {
	h := b.next()
	if h == nil {
		return nil, nil
	}
	return h.outbox, func() { h.outbox.evictIfNext(h) }
}

// A Size is what decides which outbox is evicted first.
type Size struct{ Exclusive, Bytes int }

// Sizes returns the size of each outbox, from the queues.
func Sizes(all []*Outbox) (sizes []Size) {
	a := audit{entries: make(map[frameID]int), replays: make(map[frameID]int)}
	for _, o := range all {
		o.mu.Lock()
		defer o.mu.Unlock()
		if o.held != nil {
			a.add(o.queue)
		}
	}
	for _, o := range all {
		var size Size
		if o.held != nil {
			size = a.size(o.queue)
		}
		sizes = append(sizes, size)
	}
	return sizes
}

// ReplayBound returns how many bytes all replays may hold.
func (b *Budget) ReplayBound() int64 { return b.share.bound }

// Compared returns how many holdings the budget has compared.
func (b *Budget) Compared() uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.largest.compared
}

// IsOpen reports whether the outbox accepts frames.
func (o *Outbox) IsOpen() bool { return o.hasState(outboxOpen) }

// IsClosed reports whether the outbox was shut or its connection failed.
func (o *Outbox) IsClosed() bool { return o.hasState(outboxClosed) }

func (o *Outbox) hasState(state outboxState) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.state == state
}

// StartDraining makes the test drain the outbox, in place of a Drain.
func (o *Outbox) StartDraining() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.draining = true
}

// Holders returns how many outboxes hold anything.
func (b *Budget) Holders() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.largest.list)
}
