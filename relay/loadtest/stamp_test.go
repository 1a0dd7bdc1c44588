package main

import (
	"strings"
	"testing"
)

func payloadOf(s stamp, size int) []byte {
	p := newPayload(size)
	s.put(p)
	return p
}

func TestStampComesBack(t *testing.T) {
	tests := []stamp{
		{},
		{run: 1, channel: 2, sequence: 3, sent: 4},
		{run: 1<<32 - 1, channel: 1<<32 - 1, sequence: 1<<48 - 1, sent: 1<<63 - 1}, // the largest of each
	}
	for _, want := range tests {
		for _, size := range []int{stampSize, stampSize + 1, 128, 5000} {
			p := payloadOf(want, size)
			if got, err := readStamp(p); err != nil || got != want {
				t.Errorf("size %d: got %+v, %v; want %+v", size, got, err, want)
			}
			if len(p) != size || strings.ContainsAny(string(p), "\"\\<>&\x00") {
				t.Errorf("size %d: %d bytes that JSON has to escape: %q", size, len(p), p)
			}
		}
	}
}

func TestStampTellsEveryChangedByte(t *testing.T) {
	good := payloadOf(stamp{run: 7, channel: 8, sequence: 9, sent: 10}, 200)
	for i := range good {
		for _, bit := range []byte{1, 0x20, 0x80} {
			bad := append([]byte(nil), good...)
			bad[i] ^= bit
			if _, err := readStamp(bad); err == nil {
				t.Errorf("byte %d changed by %#x is not told", i, bit)
			}
		}
	}
	for n := range good {
		if _, err := readStamp(good[:n]); err == nil {
			t.Errorf("cut to %d bytes is not told", n)
		}
	}
	if _, err := readStamp(append(good, ' ')); err == nil {
		t.Error("a byte too many is not told")
	}
}

func FuzzReadStamp(f *testing.F) {
	f.Add(payloadOf(stamp{run: 7, channel: 8, sequence: 9, sent: 10}, 100))
	f.Add([]byte("hello"))
	f.Fuzz(func(t *testing.T, p []byte) {
		s, err := readStamp(p)
		if err != nil {
			return
		}
		again := append([]byte(nil), p...)
		s.put(again)
		if got, err := readStamp(again); err != nil || got != s {
			t.Errorf("%q is read as %+v, and again as %+v, %v", p, s, got, err)
		}
	})
}

func BenchmarkReadStamp(b *testing.B) {
	p := payloadOf(stamp{run: 7, channel: 8, sequence: 9, sent: 10}, 128)
	for b.Loop() {
		if _, err := readStamp(p); err != nil {
			b.Fatal(err)
		}
	}
}
