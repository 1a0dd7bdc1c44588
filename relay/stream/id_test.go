package stream_test

import (
	"math"
	"testing"

	"sidecast/relay/stream"
)

func TestStreamID(t *testing.T) {
	// in ascending order
	ids := []string{"0-0", "0-1", "0-18446744073709551615", "1-0", "1526919030474-55", "18446744073709551615-18446744073709551615"}
	var before stream.ID
	for i, text := range ids {
		id, ok := stream.ParseID(text)
		if !ok || id.String() != text {
			t.Errorf("ParseID(%q) = %v, %v", text, id, ok)
		}
		if i > 0 && (before.Compare(id) >= 0 || id.Compare(before) <= 0 || id.Compare(id) != 0) {
			t.Errorf("%v is not before %v", before, id)
		}
		before = id
	}
	for _, text := range []string{"", "-", "1", "1-", "-1", "1-2-3", "a-1", "1-a", "+1-1", "18446744073709551616-0", "1--1", " 1-1"} {
		if id, ok := stream.ParseID(text); ok {
			t.Errorf("ParseID(%q) = %v, want an error", text, id)
		}
	}
	nexts := map[stream.ID]stream.ID{
		{}:                           {Seq: 1},
		{Ms: 7, Seq: math.MaxUint64}: {Ms: 8},
		{Ms: 1526919030474, Seq: 54}: {Ms: 1526919030474, Seq: 55},
	}
	for id, want := range nexts {
		if got, ok := id.Next(); !ok || got != want {
			t.Errorf("Next of %v = %v, want %v", id, got, want)
		}
	}
	if id, ok := (stream.ID{Ms: math.MaxUint64, Seq: math.MaxUint64}).Next(); ok {
		t.Errorf("Next of the highest id = %v", id)
	}
}
