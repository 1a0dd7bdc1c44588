package ws

import (
	"bytes"
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
	now := time.Unix(1, 0)
	for _, test := range guardHeaders {
		whole := guard{limit: uint32(test.limit)}
		n := whole.inspect(test.send, now)
		if whole.code != test.want || (test.want == 0) != (n == len(test.send)) || test.want != 0 && n != 0 {
			t.Errorf("%s: code %d, want %d, and %d of %d bytes pass", test.why, whole.code, test.want, n, len(test.send))
		}
		pieces := guard{limit: uint32(test.limit)}
		for i := range test.send {
			if pieces.inspect(test.send[i:i+1], now) == 0 {
				break
			}
		}
		if pieces.code != test.want {
			t.Errorf("%s: byte by byte the code is %d, want %d", test.why, pieces.code, test.want)
		}
		if test.want == 0 && pieces.skip != whole.skip {
			t.Errorf("%s: the payload has %d bytes, byte by byte %d", test.why, whole.skip, pieces.skip)
		}
	}
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
		{"as many fragments as allowed", concat([][]byte{begin}, repeat(middle, maxFragments-2), [][]byte{end}), 0},
		{"one more", concat([][]byte{begin}, repeat(middle, maxFragments-1), [][]byte{end}), protocol.ClosePolicy},
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
		g := guard{limit: 1000}
		for _, b := range test.send {
			if g.inspect(b, time.Unix(1, 0)) < len(b) {
				break
			}
		}
		if g.code != test.want {
			t.Errorf("%s: code %d, want %d", test.why, g.code, test.want)
		}
	}
}

// Control frames are counted for each second.
func TestGuardCountsBySecond(t *testing.T) {
	g := guard{limit: 1000}
	for second := range int64(5) {
		b := bytes.Join(repeat(frame(0x8a, ""), maxControlPerSec), nil)
		if n := g.inspect(b, time.Unix(second, 0)); n < len(b) {
			t.Fatalf("second %d: code %d, and %d of %d bytes pass", second, g.code, n, len(b))
		}
	}
}

// The bytes after a close frame are ignored, even if they are invalid.
func TestGuardStopsAfterClose(t *testing.T) {
	closing := frame(0x88, "\x03\xe8bye")
	for _, after := range [][]byte{text("more"), {0xff, 0xff, 0xff}, header64(0x82, 1<<63)} {
		for _, split := range []int{0, 1, len(closing) - 1, len(closing), len(closing) + 1} {
			b := slices.Concat(closing, after)
			g := guard{limit: 1000}
			n := g.inspect(b[:split], time.Time{})
			n += g.inspect(b[split:], time.Time{})
			if n != len(closing) || g.code != 0 {
				t.Errorf("split at %d: %d bytes pass with code %d, want %d", split, n, g.code, len(closing))
			}
		}
	}
}

func concat(parts ...[][]byte) [][]byte { return slices.Concat(parts...) }

func repeat(b []byte, n int) [][]byte { return slices.Repeat([][]byte{b}, n) }
