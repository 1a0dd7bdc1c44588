package relay

import "sync/atomic"

// Slots bounds how many connections are open. It is safe for concurrent use.
type Slots struct {
	limit int64
	used  atomic.Int64
}

// NewSlots returns limit free slots.
func NewSlots(limit int) *Slots { return &Slots{limit: int64(limit)} }

// Take takes a slot if one is free.
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

// Free gives a slot back.
func (s *Slots) Free() { s.used.Add(-1) }

// Used returns how many slots are taken.
func (s *Slots) Used() int { return int(s.used.Load()) }
