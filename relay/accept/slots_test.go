package accept

import (
	"sync"
	"sync/atomic"
	"testing"
)

func TestSlots(t *testing.T) {
	s := NewSlots(2)
	for i, want := range []bool{true, true, false, false} {
		if got := s.Take(); got != want {
			t.Errorf("call %d of Take with 2 slots returns %v, want %v", i+1, got, want)
		}
	}
	if s.Used() != 2 {
		t.Errorf("%d slots are in use, want 2", s.Used())
	}
	s.Free()
	if !s.Take() || s.Take() {
		t.Error("a returned slot cannot be taken exactly once")
	}
	if NewSlots(0).Take() {
		t.Error("Take succeeds without any slots")
	}
}

func TestSlotsConcurrently(t *testing.T) {
	const limit = 3
	s := NewSlots(limit)
	var held, most atomic.Int64
	var takers sync.WaitGroup
	for range 8 {
		takers.Go(func() {
			for range 10_000 {
				if !s.Take() {
					continue
				}
				n := held.Add(1)
				for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
				}
				held.Add(-1)
				s.Free()
			}
		})
	}
	takers.Wait()
	if most.Load() > limit || s.Used() != 0 {
		t.Errorf("%d of %d slots were in use at a time, and %d are in use at the end", most.Load(), limit, s.Used())
	}
}

// If a failed Take were counted for a moment, a burst of rejected connections
// could hide a free slot from an accepted one.
func TestSlotsDoNotCountFailedTakes(t *testing.T) {
	s := NewSlots(1)
	s.Take()
	var rejected sync.WaitGroup
	var done atomic.Bool
	rejected.Go(func() {
		for range 1_000_000 {
			s.Take()
		}
		done.Store(true)
	})
	for !done.Load() {
		if n := s.Used(); n != 1 {
			t.Errorf("%d slots are in use of 1", n)
			break
		}
	}
	rejected.Wait()
}
