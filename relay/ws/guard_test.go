package ws

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"flag"
	"io"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"sidecast/relay/protocol"
)

// headers of every form, each with the payload that it announces not sent.
var guardHeaders = []struct {
	why   string
	limit int
	send  []byte
	want  protocol.CloseCode // 0: passes
}{
	{"empty", 0, frame(0x81, "")[:6], 0},
	{"one byte where none is allowed", 0, []byte{0x81, 0x81, 0, 0, 0, 0}, protocol.CloseTooBig},
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
	{"64 bits, where 32 are cut off to nothing", 1 << 20, header64(0x82, 1<<32), protocol.CloseTooBig},
	{"64 bits, the largest that is positive", 1 << 20, header64(0x82, 1<<63-1), protocol.CloseTooBig},
	{"64 bits, the smallest that is negative", 1 << 20, header64(0x82, 1<<63), protocol.CloseProtocol},
	{"64 bits, -1", 1 << 20, header64(0x82, 1<<64-1), protocol.CloseProtocol},
	{"the largest ping", 0, []byte{0x89, 0x80 | 125, 0, 0, 0, 0}, 0},
	{"a ping of 126 bytes", 1 << 20, header16(0x89, 126), protocol.CloseProtocol},
	{"a pong of 64 bits", 1 << 20, header64(0x8a, 1<<16), protocol.CloseProtocol},
	{"a close frame of 126 bytes", 1 << 20, header16(0x88, 126), protocol.CloseProtocol},
}

// Every form of header is judged at its bounds, in one piece and byte by byte.
func TestGuardHeaders(t *testing.T) {
	now := time.Unix(1, 0)
	for _, test := range guardHeaders {
		whole := guard{limit: uint32(test.limit)}
		n := whole.walk(test.send, now)
		if whole.code != test.want || (test.want == 0) != (n == len(test.send)) || test.want != 0 && n != 0 {
			t.Errorf("%s: code %d, want %d, after %d of %d bytes", test.why, whole.code, test.want, n, len(test.send))
		}
		pieces := guard{limit: uint32(test.limit)}
		for i := range test.send {
			if pieces.walk(test.send[i:i+1], now) == 0 {
				break
			}
		}
		if pieces.code != test.want {
			t.Errorf("%s: byte by byte the code is %d, want %d", test.why, pieces.code, test.want)
		}
		if test.want == 0 && pieces.skip != whole.skip {
			t.Errorf("%s: %d bytes are to follow, byte by byte %d", test.why, whole.skip, pieces.skip)
		}
	}
}

// Bounds that only a sequence of frames reaches.
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
		{"a new message counts anew", concat([][]byte{begin}, repeat(middle, 100), [][]byte{end, begin}, repeat(middle, 100), [][]byte{end}), 0},
		{"fragments up to the limit", [][]byte{frame(0x02, strings.Repeat("x", 500)), frame(0x00, ""), frame(0x80, strings.Repeat("x", 500))}, 0},
		{"fragments beyond the limit", [][]byte{frame(0x02, strings.Repeat("x", 500)), frame(0x80, strings.Repeat("x", 501))}, protocol.CloseTooBig},
		{"pings inside a fragmented message do not count for its size", [][]byte{frame(0x02, strings.Repeat("x", 999)), pingFrame, frame(0x80, "x")}, 0},
		{"as many control frames a second as allowed", repeat(pingFrame, maxControlPerSec), 0},
		{"one more", repeat(pingFrame, maxControlPerSec+1), protocol.ClosePolicy},
		{"messages do not count among them", concat(repeat(pingFrame, maxControlPerSec), repeat(text("x"), 100)), 0},
		{"a close frame counts among them", concat(repeat(pingFrame, maxControlPerSec), [][]byte{frame(0x88, "")}), protocol.ClosePolicy},
		{"a continuation after the message's end", [][]byte{begin, end, end}, protocol.CloseProtocol},
		{"a message that begins inside another", [][]byte{begin, begin}, protocol.CloseProtocol},
	} {
		g := guard{limit: 1000}
		for _, b := range test.send {
			if g.walk(b, time.Unix(1, 0)) < len(b) {
				break
			}
		}
		if g.code != test.want {
			t.Errorf("%s: code %d, want %d", test.why, g.code, test.want)
		}
	}
}

// The next second brings new control frames.
func TestGuardCountsBySecond(t *testing.T) {
	g := guard{limit: 1000}
	for second := range int64(5) {
		b := bytes.Join(repeat(frame(0x8a, ""), maxControlPerSec), nil)
		if n := g.walk(b, time.Unix(second, 0)); n < len(b) {
			t.Fatalf("second %d: code %d after %d of %d bytes", second, g.code, n, len(b))
		}
	}
}

// What follows a close frame is kept from everybody, and is no fault.
func TestGuardEndsWithClose(t *testing.T) {
	closing := frame(0x88, "\x03\xe8bye")
	for _, behind := range [][]byte{text("more"), {0xff, 0xff, 0xff}, header64(0x82, 1<<63)} {
		for _, split := range []int{0, 1, len(closing) - 1, len(closing), len(closing) + 1} {
			b := slices.Concat(closing, behind)
			g := guard{limit: 1000}
			n := g.walk(b[:split], time.Time{})
			n += g.walk(b[split:], time.Time{})
			if n != len(closing) || g.code != 0 {
				t.Errorf("split at %d: %d bytes pass with code %d, want %d", split, n, g.code, len(closing))
			}
		}
	}
}

func concat(parts ...[][]byte) [][]byte { return slices.Concat(parts...) }

func repeat(b []byte, n int) [][]byte { return slices.Repeat([][]byte{b}, n) }

// compare holds the guard, and the library behind it, to RFC 6455: for one sequence of bytes in several splits.
func compare(t *testing.T, data []byte, limit int, splits ...[][]byte) {
	t.Helper()
	once := guard{limit: uint32(limit)}
	allowed := once.walk(data, time.Unix(1, 0))
	if rightly, code := judged(data, limit); rightly != allowed || code != once.code {
		t.Fatalf("%d bytes pass with code %d; by the rules it is %d with %d", allowed, once.code, rightly, code)
	}
	for at := range min(len(data), 300) {
		g := guard{limit: uint32(limit)}
		n := g.walk(data[:at], time.Unix(1, 0))
		if n == at {
			n += g.walk(data[at:], time.Unix(1, 0))
		}
		// A header that begins in an earlier piece has been let through in part.
		if g.code != once.code || n < allowed || n >= allowed+14 {
			t.Fatalf("split at %d: %d bytes pass with code %d; in one piece %d with %d", at, n, g.code, allowed, once.code)
		}
	}
	for _, chunks := range append(splits, [][]byte{data}, pieces(data, 1)) {
		w := &wire{chunks: slices.Clone(chunks), end: io.EOF, guard: &guard{limit: uint32(limit)}}
		got := library(t, w, limit)
		want := rfc(data[:w.passed])
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("%d of %d bytes pass, code %d\nlibrary: %+v\nRFC 6455: %+v", w.passed, len(data), w.guard.code, got, want)
		}
	}
	alone := library(t, &wire{chunks: [][]byte{bytes.Clone(data)}, end: io.EOF}, limit)
	want := rfc(data[:allowed])
	switch {
	case once.code == 0 && !reflect.DeepEqual(alone, want):
		t.Fatalf("the guard lets everything through, and the library does not agree\nlibrary: %+v\nRFC 6455: %+v", alone, want)
	case len(alone.messages) < len(want.messages) || !slices.Equal(alone.messages[:len(want.messages)], want.messages):
		t.Fatalf("with the guard the library hears what it does not hear without\nwith: %q\nwithout: %q", want.messages, alone.messages)
	}
}

// judged is what the guard should say of data in one piece: how much of it passes, and the code for what does not.
func judged(data []byte, limit int) (allowed int, code protocol.CloseCode) {
	fragments, size, controls, open := 0, 0, 0, false
	for b := data; len(b) >= 2; {
		final, op, control := b[0]&0x80 != 0, b[0]&0x0f, b[0]&0x08 != 0
		switch {
		case b[0]&0x70 != 0, b[1]&0x80 == 0, op > 2 && op < 8, op > 10:
			return len(data) - len(b), protocol.CloseProtocol
		case control && (!final || b[1]&0x7f > 125), !control && (op == 0) != open:
			return len(data) - len(b), protocol.CloseProtocol
		case control:
			if controls++; controls > maxControlPerSec {
				return len(data) - len(b), protocol.ClosePolicy
			}
		default:
			if op != 0 {
				fragments, size = 0, 0
			}
			if fragments++; fragments > maxFragments {
				return len(data) - len(b), protocol.ClosePolicy
			}
			open = !final
		}
		need, length := 6, uint64(b[1]&0x7f)
		switch {
		case length == 126 && len(b) >= 8:
			need, length = 8, uint64(binary.BigEndian.Uint16(b[2:]))
		case length == 127 && len(b) >= 14:
			need, length = 14, binary.BigEndian.Uint64(b[2:])
		case length >= 126, len(b) < need:
			return len(data), 0 // the header is not all there
		}
		switch {
		case need == 8 && length < 126, need == 14 && (length < 1<<16 || length >= 1<<63):
			return len(data) - len(b), protocol.CloseProtocol
		case !control && (length > uint64(limit) || size+int(length) > limit):
			return len(data) - len(b), protocol.CloseTooBig
		case !control:
			size += int(length)
		}
		if uint64(len(b)-need) < length {
			break
		}
		if b = b[need+int(length):]; op == 8 {
			return len(data) - len(b), 0
		}
	}
	return len(data), 0
}

// pieces cuts data into pieces of n bytes.
func pieces(data []byte, n int) (list [][]byte) {
	for piece := range slices.Chunk(data, n) {
		list = append(list, piece)
	}
	return list
}

// masked builds a client's frame with a mask.
func masked(first byte, mask uint32, payload []byte) []byte {
	b := frame(first, string(payload))
	at := len(b) - len(payload)
	binary.BigEndian.PutUint32(b[at-4:], mask)
	for i := range payload {
		b[at+i] ^= b[at-4+i&3]
	}
	return b
}

// guardLimits are bounds on a message. The library holds control frames to the same bound, so one below their 125 bytes
// would make it refuse pings; settings do not go as low.
var guardLimits = []int{125, 126, 300, 1000, 16 << 10, 70_000}

// FuzzGuard holds the guard against the library that it guards, on whatever bytes.
func FuzzGuard(f *testing.F) {
	for _, test := range hostileFrames {
		if len(test.send) < 1000 {
			f.Add(test.send, uint8(6), uint8(7))
		}
	}
	for _, test := range guardHeaders {
		f.Add(slices.Concat(text("before"), test.send, text("behind")), uint8(5), uint8(3))
	}
	random := rand.New(rand.NewPCG(1, 2))
	for range 60 {
		if data := conversation(random); len(data) < 1000 {
			f.Add(data, uint8(random.IntN(len(guardLimits))), uint8(1+random.IntN(20)))
		}
	}
	f.Fuzz(func(t *testing.T, data []byte, limit, split uint8) {
		if len(data) > 2000 {
			return // too slow byte by byte
		}
		compare(t, data, guardLimits[int(limit)%len(guardLimits)], pieces(data, int(max(split, 1))))
	})
}

// conversation is what a client might send, more or less well.
func conversation(random *rand.Rand) (b []byte) {
	firsts := []byte{0x81, 0x81, 0x82, 0x01, 0x02, 0x00, 0x00, 0x80, 0x80, 0x89, 0x8a, 0x88}
	sizes := []int{0, 1, 2, 3, 20, 99, 125, 126, 127, 301, 65_535, 65_536, 69_999}
	open := false
	for range 1 + random.IntN(12) {
		first := firsts[random.IntN(len(firsts))]
		if data := first&0x08 == 0; data && random.IntN(10) > 0 { // mostly in a right place
			if continues := first&0x0f == 0; continues != open {
				continue
			}
			open = first&0x80 == 0
		}
		size := sizes[random.IntN(len(sizes)-3*min(random.IntN(20), 1))]
		if first&0x08 != 0 {
			size = min(size, 125)
		}
		payload := bytes.Repeat([]byte("aé"), size/3+1)[:size]
		switch random.IntN(8) {
		case 0:
			payload = bytes.Repeat([]byte{0xff}, size)
		case 1:
			if size >= 2 {
				binary.BigEndian.PutUint16(payload, uint16(990+random.IntN(4100)))
			}
		}
		b = append(b, masked(first, random.Uint32(), payload)...)
	}
	if len(b) > 0 && random.IntN(3) == 0 {
		b[random.IntN(min(len(b), 200))] ^= 1 << random.IntN(8)
	}
	if len(b) > 0 && random.IntN(4) == 0 {
		b = b[:random.IntN(len(b))]
	}
	return b
}

var guardSeed = flag.Uint64("guard.seed", 0, "seed of the conversations that the guard is tried with; 0: another one each time")

// Conversations that are mostly right reach what random bytes do not.
func TestGuardAgreesWithTheLibrary(t *testing.T) {
	seed := cmp.Or(*guardSeed, rand.Uint64())
	t.Logf("go test -run %s -guard.seed %d", t.Name(), seed)
	random := rand.New(rand.NewPCG(seed, 0))
	for range 2000 {
		data := conversation(random)
		if len(data) > 2000 && random.IntN(10) > 0 {
			continue // long ones are slow byte by byte
		}
		compare(t, data, guardLimits[random.IntN(len(guardLimits))], pieces(data, 1+random.IntN(300)))
	}
}
