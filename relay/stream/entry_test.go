package stream_test

import (
	"testing"

	"sidecast/relay/stream"
)

func TestNewEntry(t *testing.T) {
	tests := []struct {
		fields []string
		want   string // the payload
		check  uint32 // golden: clients hold cursors that contain it
	}{
		{[]string{"data", "hello"}, "hello", 0x217f3279},
		{[]string{"data", "\xff\x00"}, "\xff\x00", 0x1680e1a8},                          // bytes are not changed
		{[]string{"a", "1", "data", "x", "data", "y"}, "x", 0x80d52857},                 // the first data field is the payload
		{[]string{"event", "paid", "id", "5"}, `{"event":"paid","id":"5"}`, 0x1b0a4582}, // fields keep their order
		{[]string{"b", "1", "a", "2", "b", "3"}, `{"b":"1","a":"2","b":"3"}`, 0x2a834e45},
		{[]string{"<&>", "\"\\\n\x01é"}, `{"<&>":"\"\\\n\u0001é"}`, 0xc38e73be}, // nothing is escaped for HTML
		{[]string{"x", "a\xffb"}, `{"x":"a\ufffdb"}`, 0x8ff416cf},
	}
	for _, tt := range tests {
		e := stream.NewEntry(stream.ID{Ms: 1}, tt.fields, 100)
		if string(e.Payload) != tt.want || e.TooLarge {
			t.Errorf("payload of %q = %q, want %q", tt.fields, e.Payload, tt.want)
		}
		if e.Check != tt.check {
			t.Errorf("check of %q = %#x, want %#x", tt.fields, e.Check, tt.check)
		}
	}
	if e := stream.NewEntry(stream.ID{}, []string{"data", "12345"}, 4); !e.TooLarge || e.Payload != nil || e.Check == 0 {
		t.Errorf("an entry that is too large = %+v", e)
	}
	// The check depends on the boundaries between fields.
	if stream.NewEntry(stream.ID{}, []string{"a", "bc"}, 9).Check == stream.NewEntry(stream.ID{}, []string{"ab", "c"}, 9).Check {
		t.Error("different fields have the same check")
	}
}
