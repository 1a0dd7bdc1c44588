package relaytest

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"testing"
)

func TestFrame(t *testing.T) {
	mask := &[4]byte{1, 2, 3, 4}
	// Lengths around each form of the length field.
	for _, size := range []int{0, 1, 125, 126, 127, 65535, 65536, 70000} {
		for _, m := range []*[4]byte{nil, mask} {
			want := frame{fin: true, op: OpBinary, payload: bytes.Repeat([]byte{0xa5, 7}, size)[:size]}
			b := appendFrame(nil, want, m)
			got, err := readFrame(bufio.NewReader(bytes.NewReader(b)), m != nil, 1<<20)
			if err != nil || !bytes.Equal(got.payload, want.payload) || !got.fin || got.op != want.op {
				t.Errorf("size %d, masked %v: %v", size, m != nil, err)
			}
			// A frame that is cut is an unexpected end.
			for _, n := range []int{1, min(5, len(b)-1), len(b) - 1} {
				_, err := readFrame(bufio.NewReader(bytes.NewReader(b[:n])), m != nil, 1<<20)
				if !errors.Is(err, io.ErrUnexpectedEOF) {
					t.Errorf("size %d, masked %v, cut at %d: %v", size, m != nil, n, err)
				}
			}
		}
	}
	if _, err := readFrame(bufio.NewReader(bytes.NewReader(nil)), false, 1); err != io.EOF {
		t.Errorf("an end between frames: %v", err)
	}
}

func TestFrameRejects(t *testing.T) {
	tests := []struct {
		why   string
		bytes []byte
	}{
		{"RSV1 without an extension", []byte{0xc1, 0x00}},
		{"opcode 3", []byte{0x83, 0x00}},
		{"opcode 11", []byte{0x8b, 0x00}},
		{"a masked frame from a server", []byte{0x81, 0x80, 1, 2, 3, 4}},
		{"a fragmented ping", []byte{0x09, 0x00}},
		{"a ping of 126 bytes", append([]byte{0x89, 126, 0, 126}, make([]byte, 126)...)},
		{"125 bytes written in 16 bits", append([]byte{0x82, 126, 0, 125}, make([]byte, 125)...)},
		{"65535 bytes written in 64 bits", append([]byte{0x82, 127, 0, 0, 0, 0, 0, 0, 255, 255}, make([]byte, 65535)...)},
		{"a length with the top bit set", []byte{0x82, 127, 0x80, 0, 0, 0, 0, 0, 0, 0}},
		{"more than the limit", append([]byte{0x82, 127, 0, 0, 0, 0, 0, 2, 0, 0}, make([]byte, 1<<17)...)},
	}
	for _, test := range tests {
		var broken wireError
		_, err := readFrame(bufio.NewReader(bytes.NewReader(test.bytes)), false, 1<<16)
		if !errors.As(err, &broken) {
			t.Errorf("%s: %v", test.why, err)
		}
	}
}

func FuzzReadFrame(f *testing.F) {
	f.Add([]byte{0x81, 0x01, 'x'}, false)
	f.Add([]byte{0x81, 0x81, 1, 2, 3, 4, 'x'}, true)
	f.Add([]byte{0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0}, false)
	f.Fuzz(func(t *testing.T, b []byte, masked bool) {
		got, err := readFrame(bufio.NewReader(bytes.NewReader(b)), masked, 1<<17)
		if err != nil {
			return
		}
		var mask *[4]byte
		if masked {
			mask = new([4]byte)
			head := len(appendFrame(nil, frame{payload: got.payload}, nil)) - len(got.payload)
			copy(mask[:], b[head:])
		}
		if again := appendFrame(nil, got, mask); !bytes.HasPrefix(b, again) {
			t.Errorf("%x read and written again is %x", b, again)
		}
	})
}
