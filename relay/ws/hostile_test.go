package ws

import (
	"bytes"
	"encoding/binary"
	"runtime"
	"strings"
	"testing"

	"sidecast/relay/protocol"
)

// header builds a frame header with a 64-bit length.
func header64(first byte, length uint64) []byte {
	return append(binary.BigEndian.AppendUint64([]byte{first, 0x80 | 127}, length), 0, 0, 0, 0)
}

func header16(first byte, length uint16) []byte {
	return append(binary.BigEndian.AppendUint16([]byte{first, 0x80 | 126}, length), 0, 0, 0, 0)
}

var hostileFrames = []struct {
	name string
	send []byte
	want protocol.CloseCode
}{
	{"a length with the top bit set, which the library takes for negative", header64(0x81, 1<<63), protocol.CloseProtocol},
	{"the largest length", header64(0x81, 1<<64-1), protocol.CloseProtocol},
	{"the largest length that is positive", header64(0x81, 1<<63-1), protocol.CloseTooBig},
	{"16 MiB declared and nothing sent", header64(0x82, 16<<20), protocol.CloseTooBig},
	{"4 GiB declared", header64(0x82, 1<<32), protocol.CloseTooBig},
	{"one byte beyond the limit", header16(0x81, 16<<10+1), protocol.CloseTooBig},
	{"two fragments that are too big together", append(frame(0x01, strings.Repeat("x", 16<<10)), frame(0x80, "x")...), protocol.CloseTooBig},
	{"a length of 16 bits that fits 7", header16(0x81, 125), protocol.CloseProtocol},
	{"a length of 64 bits that fits 16", header64(0x81, 0xffff), protocol.CloseProtocol},
	{"unmasked", []byte{0x81, 0x02, 'h', 'i'}, protocol.CloseProtocol},
	{"RSV1 without compression", frame(0xc1, "x"), protocol.CloseProtocol},
	{"RSV2", frame(0xa1, "x"), protocol.CloseProtocol},
	{"RSV3", frame(0x91, "x"), protocol.CloseProtocol},
	{"a reserved data opcode", frame(0x83, "x"), protocol.CloseProtocol},
	{"a reserved control opcode", frame(0x8b, "x"), protocol.CloseProtocol},
	{"a ping in fragments", frame(0x09, "x"), protocol.CloseProtocol},
	{"a ping of 126 bytes", header16(0x89, 126), protocol.CloseProtocol},
	{"a continuation of nothing", frame(0x80, "x"), protocol.CloseProtocol},
	{"a message inside a fragmented one", append(frame(0x01, "a"), frame(0x81, "b")...), protocol.CloseProtocol},
	{"endless empty fragments", append(frame(0x01, ""), bytes.Repeat(frame(0x00, ""), 200)...), protocol.ClosePolicy},
	{"a flood of pings", bytes.Repeat(frame(0x89, ""), 100), protocol.ClosePolicy},
	{"a flood of pongs nobody asked for", bytes.Repeat(frame(0x8a, "x"), 100), protocol.ClosePolicy},
	{"text that is not UTF-8", text("\xff\xfe"), protocol.CloseBadData},
	{"text cut inside a letter", text("caf\xc3"), protocol.CloseBadData},
	{"text that is not UTF-8 over two fragments", append(frame(0x01, "\xc3"), frame(0x80, "\x28")...), protocol.CloseBadData},
	{"a close frame with one byte", frame(0x88, "\x03"), protocol.CloseProtocol},
	{"a close frame with a code nobody may send", frame(0x88, "\x03\xee"), protocol.CloseProtocol},
	{"a close reason that is not UTF-8", frame(0x88, "\x03\xe8\xff"), protocol.CloseBadData},
}

// Each hostile frame gets its close code, and an honest client beside notices nothing.
func TestHostileFrames(t *testing.T) {
	r := newRig(t)
	honest := r.dial("/?channel=chat")
	for _, test := range hostileFrames {
		t.Run(test.name, func(t *testing.T) {
			p := r.dial("/?channel=elsewhere")
			p.t = t
			p.write(test.send)
			p.wantClose(test.want)
		})
		t.Run(test.name+", a byte at a time", func(t *testing.T) {
			p := r.dial("/?channel=elsewhere")
			p.t = t
			for i := range min(len(test.send), 300) {
				p.write(test.send[i : i+1])
			}
			p.write(test.send[min(len(test.send), 300):])
			p.wantClose(test.want)
		})
		r.say("chat", test.name)
		honest.want(1, test.name)
	}
	await(t, "hostile clients to be gone", func() bool { return r.hub.Sessions() == 1 })
	if strings.Contains(r.log.String(), "panic") {
		t.Error("something panicked:\n" + r.log.String())
	}
	if strings.Contains(r.log.String(), "127.0.0.1:"+"0") {
		t.Error("an address leaked")
	}
}

// What a header announces is not allocated: a thousand announced 16 KiB messages (the limit itself) cost next to nothing.
func TestAnnouncedBytesAreNotAllocated(t *testing.T) {
	r := newRig(t, func(c *rigConfig) { c.ws.MaxInbound = 1 << 20; c.slots = 2000 })
	var peers []*peer
	for range 200 {
		peers = append(peers, r.dial("/"))
	}
	await(t, "clients to join", func() bool { return r.hub.Sessions() == len(peers) })
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for _, p := range peers {
		p.write(header64(0x82, 16<<20))
		p.wantClose(protocol.CloseTooBig)
	}
	await(t, "clients to be gone", func() bool { return r.hub.Sessions() == 0 })
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 16<<20 {
		t.Errorf("200 headers that announce 16 MiB each made the heap grow by %d bytes", grown)
	}
}
