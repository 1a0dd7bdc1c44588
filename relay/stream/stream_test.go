package stream_test

import (
	"math"
	"testing"

	"sidecast/relay/history"
	"sidecast/relay/protocol"
	"sidecast/relay/stream"
)

func TestStreamID(t *testing.T) {
	// in order
	ids := []string{"0-0", "0-1", "0-18446744073709551615", "1-0", "1526919030474-55", "18446744073709551615-18446744073709551615"}
	var before stream.ID
	for i, text := range ids {
		id, ok := stream.ParseID(text)
		if !ok || id.String() != text {
			t.Errorf("%s is read as %v (%v)", text, id, ok)
		}
		if i > 0 && (before.Compare(id) >= 0 || id.Compare(before) <= 0 || id.Compare(id) != 0) {
			t.Errorf("%v does not come before %v", before, id)
		}
		before = id
	}
	for _, text := range []string{"", "-", "1", "1-", "-1", "1-2-3", "a-1", "1-a", "+1-1", "18446744073709551616-0", "1--1", " 1-1"} {
		if id, ok := stream.ParseID(text); ok {
			t.Errorf("%q is read as %v", text, id)
		}
	}
	nexts := map[stream.ID]stream.ID{
		{}:                           {Seq: 1},
		{Ms: 7, Seq: math.MaxUint64}: {Ms: 8},
		{Ms: 1526919030474, Seq: 54}: {Ms: 1526919030474, Seq: 55},
	}
	for id, want := range nexts {
		if got, ok := id.Next(); !ok || got != want {
			t.Errorf("behind %v comes %v", id, got)
		}
	}
	if id, ok := (stream.ID{Ms: math.MaxUint64, Seq: math.MaxUint64}).Next(); ok {
		t.Errorf("behind the last id comes %v", id)
	}
}

func TestNewEntry(t *testing.T) {
	tests := []struct {
		fields []string
		want   string // the payload
		check  uint32 // golden: cursors that clients hold depend on it
	}{
		{[]string{"data", "hello"}, "hello", 0x217f3279},
		{[]string{"data", "\xff\x00"}, "\xff\x00", 0x1680e1a8},                          // not a byte is changed
		{[]string{"a", "1", "data", "x", "data", "y"}, "x", 0x80d52857},                 // the first counts
		{[]string{"event", "paid", "id", "5"}, `{"event":"paid","id":"5"}`, 0x1b0a4582}, // in order
		{[]string{"b", "1", "a", "2", "b", "3"}, `{"b":"1","a":"2","b":"3"}`, 0x2a834e45},
		{[]string{"<&>", "\"\\\n\x01é"}, `{"<&>":"\"\\\n\u0001é"}`, 0xc38e73be}, // nothing is escaped for HTML
		{[]string{"x", "a\xffb"}, `{"x":"a\ufffdb"}`, 0x8ff416cf},
	}
	for _, tt := range tests {
		e := stream.NewEntry(stream.ID{Ms: 1}, tt.fields, 100)
		if string(e.Payload) != tt.want || e.TooLarge {
			t.Errorf("%q is %q, want %q", tt.fields, e.Payload, tt.want)
		}
		if e.Check != tt.check {
			t.Errorf("%q has the check %#x, want %#x", tt.fields, e.Check, tt.check)
		}
	}
	if e := stream.NewEntry(stream.ID{}, []string{"data", "12345"}, 4); !e.TooLarge || e.Payload != nil || e.Check == 0 {
		t.Errorf("what is too large is %+v", e)
	}
	// Where one field ends and the next begins makes a difference.
	if stream.NewEntry(stream.ID{}, []string{"a", "bc"}, 9).Check == stream.NewEntry(stream.ID{}, []string{"ab", "c"}, 9).Check {
		t.Error("other fields have the same check")
	}
}

// Golden: clients bring cursors back to newer relays.
func TestStreamCursor(t *testing.T) {
	golden := map[string]stream.Cursor{
		"AgAAAAAAAA":       {},
		"AsrN3Zu4LDcSNFZ4": {ID: stream.ID{Ms: 1526919030474, Seq: 55}, Check: 0x12345678},
	}
	for text, cursor := range golden {
		if got, _ := cursor.AppendText(nil); string(got) != text {
			t.Errorf("%+v is written %s, want %s", cursor, got, text)
		}
		if got, ok := stream.ParseCursor(text); !ok || got != cursor {
			t.Errorf("%s is read as %+v (%v)", text, got, ok)
		}
	}
	live, _ := history.Cursor{Node: 1, Index: 2}.AppendText(nil)
	for _, text := range []string{"", "A", "Ag", "AgAAAAAAA", "AgAAAAAAAAA", "AQAAAAAAAA", "AgAAAAAAAA==", "Ag AAAAAAA", string(live),
		"Av___________wEA____________AAAAAAAAAAAAAAAAAAAAAAAA"} {
		if c, ok := stream.ParseCursor(text); ok {
			t.Errorf("%q is read as %+v", text, c)
		}
	}
}

func FuzzStreamCursor(f *testing.F) {
	f.Add("AgAAAAAAAA", uint64(1526919030474), uint64(55), uint32(7))
	f.Fuzz(func(t *testing.T, foreign string, ms, seq uint64, check uint32) {
		if c, ok := stream.ParseCursor(foreign); ok {
			text, _ := c.AppendText(nil)
			if again, ok := stream.ParseCursor(string(text)); !ok || again != c {
				t.Errorf("%q is read as %+v, and that as %+v", foreign, c, again)
			}
		}
		c := stream.Cursor{ID: stream.ID{Ms: ms, Seq: seq}, Check: check}
		text, _ := c.AppendText(nil)
		if got, ok := stream.ParseCursor(string(text)); !ok || got != c {
			t.Errorf("%+v is read as %+v", c, got)
		}
	})
}

// The rule, case by case; TestStreamHistories tries it on Redis.
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
		missed    int // -1: a gap
		why       protocol.GapReason
	}{
		{"its entry is there, and nothing behind it", at, stream.Page{Entries: []stream.Entry{entry(2, 22)}}, false, 0, 0},
		{"its entry is there", at, stream.Page{Entries: []stream.Entry{entry(2, 22), entry(3, 1), entry(7, 1)}}, false, 2, 0},
		{"the same id, another entry", at, stream.Page{Entries: []stream.Entry{entry(2, 23), entry(3, 1)}}, false, -1, protocol.GapReset},
		{"its entry was trimmed", at, stream.Page{Entries: []stream.Entry{entry(3, 1)}, State: last(3)}, false, -1, protocol.GapTrimmed},
		{"everything was trimmed", at, stream.Page{State: last(3)}, false, -1, protocol.GapTrimmed},
		{"its entry was deleted, and was the last", at, stream.Page{State: last(2)}, false, 0, 0},
		{"the ids went back", at, stream.Page{State: last(1)}, false, -1, protocol.GapReset},
		{"the key is gone", at, stream.Page{State: state(false, 0, -1)}, false, -1, protocol.GapReset},
		{"there was no key and is none", stream.Cursor{}, stream.Page{State: state(false, 0, -1)}, false, 0, 0},
		{"there was no key, and nothing was taken from it since", stream.Cursor{},
			stream.Page{Entries: []stream.Entry{entry(1, 1), entry(2, 2)}, State: state(true, 2, 2)}, false, 2, 0},
		{"there was no key, and something was", stream.Cursor{},
			stream.Page{Entries: []stream.Entry{entry(2, 2)}, State: state(true, 1, 2)}, true, -1, protocol.GapTrimmed},
		{"there was no key, and nobody counts", stream.Cursor{},
			stream.Page{Entries: []stream.Entry{entry(2, 2)}, State: state(true, 1, -1)}, false, -1, protocol.GapTrimmed},
		{"there was no key, nobody counts, and it was seen", stream.Cursor{},
			stream.Page{Entries: []stream.Entry{entry(2, 2)}, State: state(true, 1, -1)}, true, 1, 0},
	}
	for _, tt := range tests {
		missed, why, ok := tt.page.Follow(tt.at, tt.sawAbsent)
		if ok != (tt.missed >= 0) || ok && len(missed) != tt.missed || !ok && why != tt.why {
			t.Errorf("%s: %d entries, %v, %v", tt.name, len(missed), why, ok)
		}
	}
}
