package accept

import "sync/atomic"

// Slots limits how many connections are open at a time. It is safe for
// concurrent use.
type Slots struct {
	limit int64
	used  atomic.Int64
}

// NewSlots returns limit free slots.
func NewSlots(limit int) *Slots { return &Slots{limit: int64(limit)} }

// Take takes a slot and reports whether one was free. The caller returns it
// with [Slots.Free]. A failed Take is never counted, not even for a moment.
func (s *Slots) Take() bool {
	for {
		used := s.used.Load()
		if used >= s.limit {
			return false
		}
		if s.used.CompareAndSwap(used, used+1) {
			return true
		}
	}
}

// Free returns a slot that [Slots.Take] took.
func (s *Slots) Free() { s.used.Add(-1) }

// Used returns the number of slots in use.
func (s *Slots) Used() int { return int(s.used.Load()) }
