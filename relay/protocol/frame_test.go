package protocol

import (
	"bytes"
	"testing"
)

// TestFrameHeader checks that headers are in their shortest form, final and
// unmasked (RFC 6455 section 5.2).
func TestFrameHeader(t *testing.T) {
	for _, test := range []struct {
		n    int
		want []byte
	}{
		{0, []byte{0x81, 0}},
		{1, []byte{0x81, 1}},
		{125, []byte{0x81, 125}},
		{126, []byte{0x81, 126, 0, 126}},
		{255, []byte{0x81, 126, 0, 255}},
		{256, []byte{0x81, 126, 1, 0}},
		{65535, []byte{0x81, 126, 0xff, 0xff}},
		{65536, []byte{0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0}},
		{1 << 30, []byte{0x81, 127, 0, 0, 0, 0, 0x40, 0, 0, 0}},
	} {
		if got := AppendFrameHeader(nil, OpText, test.n); !bytes.Equal(got, test.want) {
			t.Errorf("header for %d bytes = % x, want % x", test.n, got, test.want)
		}
		if test.n > 1<<20 {
			continue
		}
		frame := NewFrame(OpText, test.n)
		if !bytes.Equal(frame, test.want) || cap(frame) != len(test.want)+test.n || len(frame) > MaxFrameHeader {
			t.Errorf("NewFrame for %d bytes = % x with capacity %d", test.n, frame, cap(frame))
		}
	}
	if got := AppendFrameHeader([]byte("x"), OpBinary, 2); string(got) != "x\x82\x02" {
		t.Errorf("AppendFrameHeader to x = % x", got)
	}
}

func TestPayloadOpcode(t *testing.T) {
	for payload, want := range map[string]Opcode{"": OpText, "é": OpText, "\x00": OpText, "\xff": OpBinary, "caf\xc3": OpBinary} {
		if got := PayloadOpcode([]byte(payload)); got != want {
			t.Errorf("PayloadOpcode(%q) = %x, want %x", payload, got, want)
		}
	}
}
