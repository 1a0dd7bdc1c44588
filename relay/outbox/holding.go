package outbox

import (
	"cmp"
	"container/heap"
	"time"
)

// A holding is what one outbox holds. It exists only while the outbox holds
// something, so that an idle client pays nothing for it.
type holding struct {
	outbox *Outbox // does not change

	// Guarded by the budget's mu.
	id        uint32 // index in holdings.byID; 0 before the first entry
	index     int    // in holdings.largest
	exclusive int    // bytes of the frames that no other outbox holds, and FrameCharge for each entry
	bytes     int    // bytes of all frames, and FrameCharge for each entry

	// Guarded by the outbox's mu.
	progress time.Time // when the client last made progress, or the first entry was queued
	sampled  bool      // a Sweep has set acknowledged
	// acknowledged is how many bytes the client's kernel had received at the
	// last Sweep.
	acknowledged int64
}

// A holdingChange is what one call changes of a holding and of the sums.
type holdingChange struct {
	exclusive, bytes int
	used, replay     int
}

// holdings are the holdings of all outboxes. They are guarded by the budget's
// mu.
type holdings struct {
	byID    []*holding // entry 0 is not used
	freeIDs []uint32
	largest largestFirst
}

func (s *holdings) add(h *holding) {
	if n := len(s.freeIDs); n > 0 {
		h.id, s.freeIDs = s.freeIDs[n-1], s.freeIDs[:n-1]
		s.byID[h.id] = h
	} else {
		h.id = uint32(len(s.byID))
		s.byID = append(s.byID, h)
	}
	heap.Push(&s.largest, h)
}

func (s *holdings) remove(h *holding) {
	heap.Remove(&s.largest, h.index)
	s.byID[h.id] = nil
	s.freeIDs = append(s.freeIDs, h.id)
}

// largestFirst is a heap of holdings, in the order in which they are evicted.
type largestFirst struct {
	list     []*holding
	compared uint64 // how often Less was called
}

// Len implements [heap.Interface].
func (l *largestFirst) Len() int { return len(l.list) }

// Less implements [heap.Interface].
func (l *largestFirst) Less(i, k int) bool {
	l.compared++
	a, b := l.list[i], l.list[k]
	return cmp.Or(cmp.Compare(b.exclusive, a.exclusive), cmp.Compare(b.bytes, a.bytes)) < 0
}

// Swap implements [heap.Interface].
func (l *largestFirst) Swap(i, k int) {
	l.list[i], l.list[k] = l.list[k], l.list[i]
	l.list[i].index, l.list[k].index = i, k
}

// Push implements [heap.Interface].
func (l *largestFirst) Push(h any) {
	h.(*holding).index = len(l.list)
	l.list = append(l.list, h.(*holding))
}

// Pop implements [heap.Interface].
func (l *largestFirst) Pop() any {
	last := len(l.list) - 1
	h := l.list[last]
	l.list[last] = nil
	l.list = l.list[:last]
	return h
}
