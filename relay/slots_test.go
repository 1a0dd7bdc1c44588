package relay

import (
	"sync"
	"sync/atomic"
	"testing"
)

func TestSlots(t *testing.T) {
	s := NewSlots(2)
	for i, want := range []bool{true, true, false, false} {
		if s.Take() != want {
			t.Errorf("the slot numbered %d of two is free: %v", i+1, !want)
		}
	}
	if s.Used() != 2 {
		t.Errorf("of two slots %d are taken", s.Used())
	}
	s.Free()
	if !s.Take() || s.Take() {
		t.Error("a slot that was given back can be taken once")
	}
	if NewSlots(0).Take() {
		t.Error("a slot of none")
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
		t.Errorf("%d of %d slots were held at once, and at the end %d are taken", most.Load(), limit, s.Used())
	}
}

// Those that find no slot are at no moment counted as if they had one: in a storm of them, a slot that is free would not
// be found.
func TestSlotsDoNotCountTheRefused(t *testing.T) {
	s := NewSlots(1)
	s.Take()
	var refused sync.WaitGroup
	var done atomic.Bool
	refused.Go(func() {
		for range 1_000_000 {
			s.Take()
		}
		done.Store(true)
	})
	for !done.Load() {
		if n := s.Used(); n != 1 {
			t.Errorf("%d slots are taken of 1", n)
			break
		}
	}
	refused.Wait()
}
