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
	"testing"
	"time"

	"sidecast/relay/protocol"
)

// checkDecoder compares the decoder with RFC 6455, and where nothing is
// rejected with the library, for one sequence of bytes that is split in several
// ways.
func checkDecoder(t *testing.T, data []byte, limit int, splits ...[][]byte) {
	t.Helper()
	allowed, code := guardModel(data, limit)
	want := rfcResult(data[:allowed])
	if want.code == 0 {
		want.code = code.Number()
	}
	for at := range min(len(data), 300) {
		splits = append(splits, [][]byte{data[:at], data[at:]})
	}
	for _, chunks := range append(splits, [][]byte{data}, pieces(data, 1)) {
		if got := runDecoder(chunks, limit); !reflect.DeepEqual(got, want) {
			t.Fatalf("%d of %d bytes are valid\ndecoder: %+v\nRFC 6455: %+v", allowed, len(data), got, want)
		}
	}
	alone := runLibrary(t, &memConn{chunks: [][]byte{bytes.Clone(data)}, end: io.EOF}, limit)
	alone.peerCode = want.peerCode // the library reports one also for a payload of one byte
	switch {
	case code == 0 && !reflect.DeepEqual(alone, want):
		t.Fatalf("everything is valid, but the library differs from RFC 6455\nlibrary: %+v\nRFC 6455: %+v", alone, want)
	case len(alone.messages) < len(want.messages) || !slices.Equal(alone.messages[:len(want.messages)], want.messages):
		t.Fatalf("the decoder reports messages that the library does not report\ndecoder: %q\nlibrary: %q", want.messages, alone.messages)
	}
}

// runDecoder decodes chunks, one after the other.
func runDecoder(chunks [][]byte, limit int) (got result) {
	d := decoder{guard: guard{limit: uint32(limit)}}
	for _, chunk := range chunks {
		if got.code = decodeBytes(&d, bytes.Clone(chunk), time.Unix(1, 0), &got).Number(); got.code != 0 {
			break
		}
	}
	return got
}

// decodeBytes decodes bytes, and gives each message to to.
func decodeBytes(d *decoder, b []byte, now time.Time, to interface {
	controlHandler
	add(message []byte, text bool)
}) protocol.CloseCode {
	for len(b) > 0 {
		n, code := d.decode(b, now, to)
		if code != 0 {
			return code
		}
		b = b[n:]
		if d.whole {
			to.add(d.take())
		}
	}
	return 0
}

func (v *result) add(message []byte, text bool) {
	kind := protocol.OpBinary
	if text {
		kind = protocol.OpText
	}
	v.messages = append(v.messages, string('0'+byte(kind))+string(message))
}

func (v *result) receivePing(payload []byte) { v.pings = append(v.pings, string(payload)) }
func (v *result) receiveClose(code uint16)   { v.peerCode = code }

// guardModel returns how many bytes precede the first header that must be
// rejected, and the code for that.
func guardModel(data []byte, limit int) (allowed int, code protocol.CloseCode) {
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
			if fragments++; fragments > minFragments+limit/fragmentSize {
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
			return len(data), 0 // the header is incomplete
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

// pieces splits data into pieces of n bytes.
func pieces(data []byte, n int) (list [][]byte) {
	for piece := range slices.Chunk(data, n) {
		list = append(list, piece)
	}
	return list
}

// masked returns a client's frame with a mask.
func masked(first byte, mask uint32, payload []byte) []byte {
	b := frame(first, string(payload))
	at := len(b) - len(payload)
	binary.BigEndian.PutUint32(b[at-4:], mask)
	for i := range payload {
		b[at+i] ^= b[at-4+i&3]
	}
	return b
}

// guardLimits has limits on the size of a message. The library applies the
// limit to control frames too, so a limit below their 125 bytes would make it
// reject pings; the settings do not allow such a limit.
var guardLimits = []int{125, 126, 300, 1000, 16 << 10, 70_000}

// FuzzDecoder compares the decoder and the library with RFC 6455 for arbitrary
// bytes.
func FuzzDecoder(f *testing.F) {
	for _, test := range hostileFrames {
		if len(test.send) < 1000 {
			f.Add(test.send, uint8(6), uint8(7))
		}
	}
	for _, test := range guardHeaders {
		f.Add(slices.Concat(text("before"), test.send, text("after")), uint8(5), uint8(3))
	}
	random := rand.New(rand.NewPCG(1, 2))
	for range 60 {
		if data := randomFrames(random); len(data) < 1000 {
			f.Add(data, uint8(random.IntN(len(guardLimits))), uint8(1+random.IntN(20)))
		}
	}
	f.Fuzz(func(t *testing.T, data []byte, limit, split uint8) {
		if len(data) > 2000 {
			return // too slow byte by byte
		}
		checkDecoder(t, data, guardLimits[int(limit)%len(guardLimits)], pieces(data, int(max(split, 1))))
	})
}

// randomFrames returns random frames, most of them valid.
func randomFrames(random *rand.Rand) (b []byte) {
	firsts := []byte{0x81, 0x81, 0x82, 0x01, 0x02, 0x00, 0x00, 0x80, 0x80, 0x89, 0x8a, 0x88}
	sizes := []int{0, 1, 2, 3, 20, 99, 125, 126, 127, 301, 65_535, 65_536, 69_999}
	open := false
	for range 1 + random.IntN(12) {
		first := firsts[random.IntN(len(firsts))]
		if data := first&0x08 == 0; data && random.IntN(10) > 0 { // most frames are in a valid order
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

var decoderSeed = flag.Uint64("decoder.seed", 0, "seed of the random frames for the decoder; 0: a new seed for each run")

// Frames that are mostly valid reach code that arbitrary bytes do not reach.
func TestDecoderAgreesWithTheLibrary(t *testing.T) {
	seed := cmp.Or(*decoderSeed, rand.Uint64())
	t.Logf("go test -run %s -decoder.seed %d", t.Name(), seed)
	random := rand.New(rand.NewPCG(seed, 0))
	for range 2000 {
		data := randomFrames(random)
		if len(data) > 2000 && random.IntN(10) > 0 {
			continue // long ones are slow byte by byte
		}
		checkDecoder(t, data, guardLimits[random.IntN(len(guardLimits))], pieces(data, 1+random.IntN(300)))
	}
}
