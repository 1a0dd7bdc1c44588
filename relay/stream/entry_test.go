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
		// Bytes that are not UTF-8 are base64, and so is a text that looks like it.
		{[]string{"x", "a\xffb"}, `{"x":{"base64":"Yf9i"}}`, 0x8ff416cf},
		{[]string{"x\xff", "b"}, `{"base64:eP8=":"b"}`, 0x948d2b09},
		{[]string{"base64:eP8=", `{"base64":"Yf9i"}`}, `{"base64:YmFzZTY0OmVQOD0=":"{\"base64\":\"Yf9i\"}"}`, 0xc2fba253},
		{[]string{"\xed\xa0\x80", "\xfe"}, `{"base64:7aCA":{"base64":"/g=="}}`, 0x620a029b},
		{[]string{"\ufffd", "\ufffd"}, "{\"\ufffd\":\"\ufffd\"}", 0xad168507},
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
