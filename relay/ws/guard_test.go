package ws

import (
	"bytes"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"sidecast/relay/protocol"
)

// guardHeaders has headers of all forms. The payload that each announces is not
// sent.
var guardHeaders = []struct {
	why   string
	limit int
	send  []byte
	want  protocol.CloseCode // 0: passes
}{
	{"empty", 0, frame(0x81, "")[:6], 0},
	{"one byte if the limit is 0", 0, []byte{0x81, 0x81, 0, 0, 0, 0}, protocol.CloseTooBig},
	{"7 bits, the limit", 100, []byte{0x82, 0x80 | 100, 0, 0, 0, 0}, 0},
	{"7 bits, beyond the limit", 100, []byte{0x82, 0x80 | 101, 0, 0, 0, 0}, protocol.CloseTooBig},
	{"7 bits, the largest", 1 << 20, []byte{0x82, 0x80 | 125, 0, 0, 0, 0}, 0},
	{"16 bits for 0", 1 << 20, header16(0x82, 0), protocol.CloseProtocol},
	{"16 bits for 125", 1 << 20, header16(0x82, 125), protocol.CloseProtocol},
	{"16 bits, the smallest", 1 << 20, header16(0x82, 126), 0},
	{"16 bits, the limit", 16 << 10, header16(0x82, 16<<10), 0},
	{"16 bits, beyond the limit", 16 << 10, header16(0x82, 16<<10+1), protocol.CloseTooBig},
	{"16 bits, the largest", 1 << 20, header16(0x82, 0xffff), 0},
	{"64 bits for 0", 1 << 20, header64(0x82, 0), protocol.CloseProtocol},
	{"64 bits for 65,535", 1 << 20, header64(0x82, 0xffff), protocol.CloseProtocol},
	{"64 bits, the smallest", 1 << 20, header64(0x82, 0x10000), 0},
	{"64 bits, the limit", 1 << 20, header64(0x82, 1<<20), 0},
	{"64 bits, beyond the limit", 1 << 20, header64(0x82, 1<<20+1), protocol.CloseTooBig},
	{"64 bits, 0 if cut to 32 bits", 1 << 20, header64(0x82, 1<<32), protocol.CloseTooBig},
	{"64 bits, the largest positive", 1 << 20, header64(0x82, 1<<63-1), protocol.CloseTooBig},
	{"64 bits, the smallest negative", 1 << 20, header64(0x82, 1<<63), protocol.CloseProtocol},
	{"64 bits, -1", 1 << 20, header64(0x82, 1<<64-1), protocol.CloseProtocol},
	{"the largest ping", 0, []byte{0x89, 0x80 | 125, 0, 0, 0, 0}, 0},
	{"a ping of 126 bytes", 1 << 20, header16(0x89, 126), protocol.CloseProtocol},
	{"a pong of 64 bits", 1 << 20, header64(0x8a, 1<<16), protocol.CloseProtocol},
	{"a close frame of 126 bytes", 1 << 20, header16(0x88, 126), protocol.CloseProtocol},
}

// The guard checks each form of header at its limits, in one piece and byte by
// byte.
func TestGuardHeaders(t *testing.T) {
	for _, test := range guardHeaders {
		whole, pieced := guard{limit: uint32(test.limit)}, guard{limit: uint32(test.limit)}
		n, code := whole.read(test.send, time.Unix(1, 0))
		if code != test.want || code == 0 && n != len(test.send) {
			t.Errorf("%s: code %d after %d bytes, want %d", test.why, code, n, test.want)
		}
		for _, b := range pieces(test.send, 1) {
			if _, code = pieced.read(b, time.Unix(1, 0)); code != 0 {
				break
			}
		}
		if code != test.want || pieced.left != whole.left {
			t.Errorf("%s: byte by byte the code is %d, want %d, and the payload has %d bytes, not %d",
				test.why, code, test.want, pieced.left, whole.left)
		}
	}
}

// decodeAll returns the code for a client that sends chunks.
func decodeAll(d *decoder, chunks [][]byte) (code protocol.CloseCode) {
	for _, b := range chunks {
		if code = decodeBytes(d, bytes.Clone(b), time.Unix(1, 0), new(result)); code != 0 {
			return code
		}
	}
	return 0
}

// Some limits are reached only by a sequence of frames.
func TestGuardSequences(t *testing.T) {
	begin, middle, end := frame(0x01, "ab"), frame(0x00, "cd"), frame(0x80, "ef")
	pingFrame := frame(0x89, "p")
	for _, test := range []struct {
		why  string
		send [][]byte
		want protocol.CloseCode
	}{
		{"as many fragments as allowed", concat([][]byte{begin}, repeat(middle, minFragments-2), [][]byte{end}), 0},
		{"one more", concat([][]byte{begin}, repeat(middle, minFragments-1), [][]byte{end}), protocol.ClosePolicy},
		{"a new message has its own count", concat([][]byte{begin}, repeat(middle, 100), [][]byte{end, begin}, repeat(middle, 100), [][]byte{end}), 0},
		{"fragments up to the limit", [][]byte{frame(0x02, strings.Repeat("x", 500)), frame(0x00, ""), frame(0x80, strings.Repeat("x", 500))}, 0},
		{"fragments beyond the limit", [][]byte{frame(0x02, strings.Repeat("x", 500)), frame(0x80, strings.Repeat("x", 501))}, protocol.CloseTooBig},
		{"the size of a fragmented message does not include pings", [][]byte{frame(0x02, strings.Repeat("x", 999)), pingFrame, frame(0x80, "x")}, 0},
		{"as many control frames a second as allowed", repeat(pingFrame, maxControlPerSec), 0},
		{"one more", repeat(pingFrame, maxControlPerSec+1), protocol.ClosePolicy},
		{"messages are not counted as control frames", concat(repeat(pingFrame, maxControlPerSec), repeat(text("x"), 100)), 0},
		{"a close frame is counted as a control frame", concat(repeat(pingFrame, maxControlPerSec), [][]byte{frame(0x88, "")}), protocol.ClosePolicy},
		{"a continuation after the end of the message", [][]byte{begin, end, end}, protocol.CloseProtocol},
		{"a message inside another", [][]byte{begin, begin}, protocol.CloseProtocol},
	} {
		d := decoder{guard: guard{limit: 1000}}
		if code := decodeAll(&d, test.send).Plain(); code != test.want {
			t.Errorf("%s: code %d, want %d", test.why, code, test.want)
		}
	}
}

// Control frames are counted for each second.
func TestGuardCountsBySecond(t *testing.T) {
	d := decoder{guard: guard{limit: 1000}}
	for second := range int64(5) {
		b := bytes.Join(repeat(frame(0x8a, ""), maxControlPerSec), nil)
		if code := decodeBytes(&d, b, time.Unix(second, 0), new(result)); code != 0 {
			t.Fatalf("second %d: code %d", second, code)
		}
	}
}

// The bytes after a close frame are ignored, even if they are invalid.
func TestDecoderStopsAfterClose(t *testing.T) {
	closing := frame(0x88, "\x03\xe8bye")
	for _, after := range [][]byte{text("more"), {0xff, 0xff, 0xff}, header64(0x82, 1<<63)} {
		for _, split := range []int{0, 1, len(closing) - 1, len(closing), len(closing) + 1} {
			b := slices.Concat(closing, after)
			got := runDecoder([][]byte{b[:split], b[split:]}, 1000)
			if want := (result{code: 1000, peerCode: 1000}); !reflect.DeepEqual(got, want) {
				t.Errorf("split at %d: %+v, want %+v", split, got, want)
			}
		}
	}
}

func concat(parts ...[][]byte) [][]byte { return slices.Concat(parts...) }

func repeat(b []byte, n int) [][]byte { return slices.Repeat([][]byte{b}, n) }
