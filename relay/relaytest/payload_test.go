package relaytest

import (
	"bytes"
	"testing"
	"unicode/utf8"
)

func TestPayload(t *testing.T) {
	sizes := []int{0, StampSize, StampSize + 1, 40, 41, 42, 43, 44, 45, 126, 4096, 70000}
	for _, kind := range []Bytes{BytesPlain, BytesHostile, BytesBinary} {
		p := Payloads{Sizes: sizes, Bytes: kind}
		seen := make(map[string]bool)
		for seq := uint32(1); seq <= 60; seq++ {
			b := p.Payload("chat:1", seq)
			if want := max(sizes[int(seq-1)%len(sizes)], StampSize); len(b) != want {
				t.Errorf("kind %d, seq %d: %d bytes, want %d", kind, seq, len(b), want)
			}
			if !bytes.Equal(b, p.Payload("chat:1", seq)) || bytes.Equal(b, p.Payload("chat:2", seq)) || seen[string(b)] {
				t.Errorf("kind %d, seq %d: the bytes are not constant and unique", kind, seq)
			}
			seen[string(b)] = true
			if valid := utf8.Valid(b); valid != (kind != BytesBinary || len(b) == StampSize) {
				t.Errorf("kind %d, seq %d, %d bytes: UTF-8 %v", kind, seq, len(b), valid)
			}
			want := stamp{kind: stampSeq, seq: seq, channel: channelHash("chat:1")}
			if s, ok := parseStamp(b); !ok || s != want {
				t.Errorf("kind %d, seq %d: stamp %+v, %v", kind, seq, s, ok)
			}
		}
	}
}

func TestPayloadEqual(t *testing.T) {
	for _, size := range []int{0, 1, StampSize - 1, StampSize, 64, 1000} {
		p := Payloads{Sizes: []int{size}, Equal: true}
		first := p.Payload("chat:1", 1)
		if len(first) != size || !bytes.Equal(first, p.Payload("chat:1", 2)) {
			t.Errorf("size %d: %q", size, first)
		}
		if size >= StampSize && bytes.Equal(first, p.Payload("chat:2", 1)) {
			t.Errorf("size %d: channels share a payload", size)
		}
	}
}

// TestParseStampRejects: a payload with any change does not parse.
func TestParseStampRejects(t *testing.T) {
	whole := Payloads{Sizes: []int{80}, Bytes: BytesHostile}.Payload("chat:1", 7)
	for i := range whole {
		changed := bytes.Clone(whole)
		changed[i] ^= 1
		if s, ok := parseStamp(changed); ok {
			t.Errorf("byte %d changed: parsed as %+v", i, s)
		}
		if s, ok := parseStamp(whole[:i]); ok {
			t.Errorf("cut at %d: parsed as %+v", i, s)
		}
	}
	if _, ok := parseStamp(append(whole, 'x')); ok {
		t.Error("a payload with one more byte was parsed")
	}
}

func FuzzParseStamp(f *testing.F) {
	f.Add([]byte("rt1s"))
	f.Add(Payloads{}.Payload("chat:1", 1))
	f.Fuzz(func(t *testing.T, b []byte) {
		_ = describe(string(b))
		if s, ok := parseStamp(b); ok {
			fields, _ := parseStampFields(b)
			if fields.checksum(b[StampSize:]) != fields.sum || fields.stamp != s {
				t.Errorf("%q: %+v", b, s)
			}
		}
	})
}
