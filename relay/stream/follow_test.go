package stream_test

import (
	"testing"

	"sidecast/relay/protocol"
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
	state := func(exists bool, length, added int64) *stream.State {
		return &stream.State{Exists: exists, Last: stream.ID{Ms: 5, Seq: 9}, Length: length, Added: added}
	}
	tests := []struct {
		name      string
		at        stream.Cursor
		page      stream.Page
		sawAbsent bool
		missed    int // number of entries; -1 for a gap
		why       protocol.GapReason
	}{
		{"its entry exists, and no later one", at, stream.Page{Entries: []stream.Entry{entry(2, 22)}}, false, 0, 0},
		{"its entry and later ones exist", at, stream.Page{Entries: []stream.Entry{entry(2, 22), entry(3, 1), entry(7, 1)}}, false, 2, 0},
		{"another entry has the same id", at, stream.Page{Entries: []stream.Entry{entry(2, 23), entry(3, 1)}}, false, -1, protocol.GapReset},
		{"its entry was trimmed", at, stream.Page{Entries: []stream.Entry{entry(3, 1)}, State: last(3)}, false, -1, protocol.GapTrimmed},
		{"everything was trimmed", at, stream.Page{State: last(3)}, false, -1, protocol.GapTrimmed},
		{"its entry was the last and was deleted", at, stream.Page{State: last(2)}, false, 0, 0},
		{"the ids are lower than before", at, stream.Page{State: last(1)}, false, -1, protocol.GapReset},
		{"the key was deleted", at, stream.Page{State: state(false, 0, -1)}, false, -1, protocol.GapReset},
		{"the key still does not exist", stream.Cursor{}, stream.Page{State: state(false, 0, -1)}, false, 0, 0},
		{"the key was created, and nothing was removed", stream.Cursor{},
			stream.Page{Entries: []stream.Entry{entry(1, 1), entry(2, 2)}, State: state(true, 2, 2)}, false, 2, 0},
		{"the key was created, and an entry was removed", stream.Cursor{},
			stream.Page{Entries: []stream.Entry{entry(2, 2)}, State: state(true, 1, 2)}, true, -1, protocol.GapTrimmed},
		{"the key was created, and the server does not count", stream.Cursor{},
			stream.Page{Entries: []stream.Entry{entry(2, 2)}, State: state(true, 1, -1)}, false, -1, protocol.GapTrimmed},
		{"the key was created, the server does not count, and the relay saw that it was absent", stream.Cursor{},
			stream.Page{Entries: []stream.Entry{entry(2, 2)}, State: state(true, 1, -1)}, true, 1, 0},
	}
	for _, tt := range tests {
		missed, why, ok := tt.page.Follow(tt.at, tt.sawAbsent)
		if ok != (tt.missed >= 0) || ok && len(missed) != tt.missed || !ok && why != tt.why {
			t.Errorf("%s: follow = %d entries, %v, %v", tt.name, len(missed), why, ok)
		}
	}
}
