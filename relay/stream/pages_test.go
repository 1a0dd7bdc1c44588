package stream

import (
	"slices"
	"testing"
	"time"

	"sidecast/relay/pagecache"
)

// Entries that were deleted do not keep a client from finding what follows its
// own: it would read the stream again and again.
func TestPagesWithDeletedEntries(t *testing.T) {
	at := func(i int) Cursor { return Cursor{ID: ID{Ms: uint64(i)}, Check: uint32(i)} }
	list := func(ids ...int) (entries []*Held) {
		for _, i := range ids {
			entries = append(entries, newHeld([]Entry{{Cursor: at(i)}})...)
		}
		return entries
	}
	for _, tt := range []struct {
		why  string
		kept func(*pages) // before 7 and 8 are found to follow 3
		then []int        // what follows 8
	}{
		{"nothing was kept", func(*pages) {}, nil},
		{"one between", func(ps *pages) {
			ps.insert(at(1), true, list(2, 3))
			ps.insert(Cursor{}, false, list(5))
		}, nil},
		{"several between, on pages of their own", func(ps *pages) {
			ps.insert(at(1), true, list(2, 3))
			ps.insert(Cursor{}, false, list(6))
			ps.insert(Cursor{}, false, list(4))
		}, nil},
		{"one between, and those that follow it", func(ps *pages) { ps.insert(Cursor{}, false, list(5, 7, 8)) }, nil},
		{"the entries are kept, after the one between", func(ps *pages) {
			ps.insert(Cursor{}, false, list(5))
			ps.insert(Cursor{}, false, list(7, 8, 9))
		}, []int{9}},
		{"one between, on the page of the client's entry", func(ps *pages) { ps.insert(at(1), true, list(2, 3, 5)) }, nil},
		{"the page of another entry with the client's id", func(ps *pages) {
			other := at(3)
			other.Check++
			ps.insert(other, true, list(4, 5))
		}, nil},
	} {
		cache := pagecache.New(64<<20, time.Hour, func() int64 { return 0 })
		ps := &pages{cache: cache}
		tt.kept(ps)
		ps.insert(at(3), true, list(7, 8))
		want := append([]int{7, 8}, tt.then...)
		entries := ps.after(at(3), false)
		if len(entries) == 2 {
			entries = append(entries, ps.after(at(8), false)...)
		}
		if !slices.EqualFunc(entries, want, func(e *Held, i int) bool { return e.Cursor == at(i) }) {
			t.Errorf("%s: %d entries follow, want %v", tt.why, len(entries), want)
		}
		ps.drop()
		if bytes, _, _ := cache.Stats(); bytes != 0 || len(ps.list) != 0 {
			t.Errorf("%s: %d pages with %d bytes are left", tt.why, len(ps.list), bytes)
		}
	}
}

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
