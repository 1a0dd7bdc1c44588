package stream

import (
	"testing"
	"time"

	"sidecast/relay/pagecache"
)

// Clients that resume one after the other, each before the one before, leave few
// pages, which lead from the first entry to the last.
func TestPagesDoNotFragment(t *testing.T) {
	cache := pagecache.New(64<<20, time.Hour, func() int64 { return 0 })
	ps := &pages{cache: cache}
	const n = 2000
	at := func(i int) Cursor { return Cursor{ID: ID{Ms: uint64(i)}, Check: uint32(i)} }
	for i := n; i > 0; i-- {
		ps.insert(at(i-1), true, newHeld([]Entry{{Cursor: at(i)}, {Cursor: at(i + 1)}}))
	}
	if most := n*heldCharge/pageCharge*2 + 2; len(ps.list) > most {
		t.Errorf("%d entries are in %d pages, want %d at most", n, len(ps.list), most)
	}
	got := 0
	for entries := ps.after(at(0), false); entries != nil; entries = ps.after(at(got), false) {
		for _, e := range entries {
			if got++; e.Cursor != at(got) {
				t.Fatalf("entry %d is %v", got, e.Cursor)
			}
		}
	}
	if got != n+1 {
		t.Errorf("the pages lead to entry %d, want %d", got, n+1)
	}
	ps.drop()
	if bytes, _, _ := cache.Stats(); bytes != 0 || len(ps.list) != 0 {
		t.Errorf("%d pages with %d bytes are left", len(ps.list), bytes)
	}
}
