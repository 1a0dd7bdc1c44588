package stream_test

import (
	"testing"

	"sidecast/relay/stream"
)

// TestFollow checks the rule for gaps case by case. TestStreamHistories checks
// it against Redis.
func TestFollow(t *testing.T) {
	entry := func(seq uint64, check uint32) stream.Entry {
		return stream.Entry{Cursor: stream.Cursor{ID: stream.ID{Ms: 5, Seq: seq}, Check: check}}
	}
	at := entry(2, 22).Cursor
	last := func(seq uint64) *stream.State {
		return &stream.State{Exists: true, Last: stream.ID{Ms: 5, Seq: seq}, Added: 9, Length: 1}
	}
	absent := &stream.State{}
	tail := func(seq uint64) *stream.State {
		s := last(seq)
		s.Tail = entry(seq, 1).Cursor
		return s
	}
	first := entry(1, 1).Cursor
	for _, test := range []struct {
		name  string
		at    stream.Cursor
		page  stream.Page
		first *stream.Cursor
		n     int // number of entries
		gap   string
		again bool
	}{
		{"its entry exists, and no later one", at, stream.Page{Entries: []stream.Entry{entry(2, 22)}}, nil, 0, "", false},
		{"its entry and later ones exist", at, stream.Page{Entries: []stream.Entry{entry(2, 22), entry(3, 1), entry(7, 1)}}, nil, 2, "", false},
		{"another entry has the same id", at, stream.Page{Entries: []stream.Entry{entry(2, 23), entry(3, 1)}}, nil, 2, "reset", false},
		{"the id of a deleted entry is used again", stream.Cursor{ID: at.ID},
			stream.Page{Entries: []stream.Entry{entry(2, 23), entry(3, 1)}}, nil, 1, "reset", false},
		{"its entry was trimmed", at, stream.Page{Entries: []stream.Entry{entry(3, 1)}, State: last(3)}, nil, 1, "trimmed", false},
		{"everything was trimmed", at, stream.Page{State: last(3)}, nil, 0, "trimmed", false},
		{"an entry was added after the read", at, stream.Page{State: tail(3)}, nil, 0, "", true},
		{"its entry was the last and was deleted, and its id was used again after the read", at, stream.Page{State: tail(2)}, nil, 0, "", true},
		{"its entry was the last and was deleted", at, stream.Page{State: last(2)}, nil, 0, "", false},
		{"the ids are lower than before", at, stream.Page{State: last(1)}, nil, 0, "reset", false},
		{"the key was deleted", at, stream.Page{State: absent}, nil, 0, "reset", false},
		{"the key still does not exist", stream.Cursor{}, stream.Page{State: absent}, nil, 0, "", false},
		{"the key was created", stream.Cursor{}, stream.Page{Entries: []stream.Entry{entry(1, 1), entry(2, 2)}, State: last(2)}, nil, 2, "reset", false},
		{"the key was created, and the relay has read all of it", stream.Cursor{},
			stream.Page{Entries: []stream.Entry{entry(1, 1), entry(2, 2)}, State: last(2)}, &first, 2, "", false},
		{"the same, and the first entry was trimmed", stream.Cursor{},
			stream.Page{Entries: []stream.Entry{entry(2, 2)}, State: last(2)}, &first, 1, "reset", false},
		{"the same, and everything was trimmed", stream.Cursor{}, stream.Page{State: last(2)}, &first, 0, "reset", false},
		{"the key was created after the read", stream.Cursor{}, stream.Page{State: tail(2)}, nil, 0, "", true},
	} {
		entries, gap, _, again := test.page.Follow(test.at, test.first)
		if len(entries) != test.n || gap != test.gap || again != test.again {
			t.Errorf("%s: follow = %d entries, gap %q, again %v", test.name, len(entries), gap, again)
		}
	}
}
