package ws

import (
	"bytes"
	"context"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"sidecast/relay/protocol"
)

// hostileFrames has frames that violate RFC 6455 or exceed a limit.
var hostileFrames = []struct {
	name string
	send []byte
	want protocol.CloseCode
}{
	{"a length with the top bit set, which the library takes for negative", header64(0x81, 1<<63), protocol.CloseProtocol},
	{"the largest length", header64(0x81, 1<<64-1), protocol.CloseProtocol},
	{"the largest positive length", header64(0x81, 1<<63-1), protocol.CloseTooBig},
	{"16 MiB announced and nothing sent", header64(0x82, 16<<20), protocol.CloseTooBig},
	{"4 GiB announced", header64(0x82, 1<<32), protocol.CloseTooBig},
	{"one byte beyond the limit", header16(0x81, 16<<10+1), protocol.CloseTooBig},
	{"two fragments that exceed the limit together", append(frame(0x01, strings.Repeat("x", 16<<10)), frame(0x80, "x")...), protocol.CloseTooBig},
	{"a length in 16 bits that fits in 7", header16(0x81, 125), protocol.CloseProtocol},
	{"a length in 64 bits that fits in 16", header64(0x81, 0xffff), protocol.CloseProtocol},
	{"unmasked", []byte{0x81, 0x02, 'h', 'i'}, protocol.CloseProtocol},
	{"RSV1 without compression", frame(0xc1, "x"), protocol.CloseProtocol},
	{"RSV2", frame(0xa1, "x"), protocol.CloseProtocol},
	{"RSV3", frame(0x91, "x"), protocol.CloseProtocol},
	{"a reserved data opcode", frame(0x83, "x"), protocol.CloseProtocol},
	{"a reserved control opcode", frame(0x8b, "x"), protocol.CloseProtocol},
	{"a ping in fragments", frame(0x09, "x"), protocol.CloseProtocol},
	{"a ping of 126 bytes", header16(0x89, 126), protocol.CloseProtocol},
	{"a continuation without a message", frame(0x80, "x"), protocol.CloseProtocol},
	{"a message inside a fragmented one", append(frame(0x01, "a"), frame(0x81, "b")...), protocol.CloseProtocol},
	{"endless empty fragments", append(frame(0x01, ""), bytes.Repeat(frame(0x00, ""), 200)...), protocol.ClosePolicy},
	{"a flood of pings", bytes.Repeat(frame(0x89, ""), 100), protocol.ClosePolicy},
	{"a flood of unsolicited pongs", bytes.Repeat(frame(0x8a, "x"), 100), protocol.ClosePolicy},
	{"text that is not UTF-8", text("\xff\xfe"), protocol.CloseBadData},
	{"text that ends inside a character", text("caf\xc3"), protocol.CloseBadData},
	{"text that is not UTF-8 over two fragments", append(frame(0x01, "\xc3"), frame(0x80, "\x28")...), protocol.CloseBadData},
	{"a close frame with one byte", frame(0x88, "\x03"), protocol.CloseProtocol},
	{"a close frame with a code that must not be sent", frame(0x88, "\x03\xee"), protocol.CloseProtocol},
	{"a close reason that is not UTF-8", frame(0x88, "\x03\xe8\xff"), protocol.CloseBadData},
}

// Each hostile frame is answered with its close code, and another client is not
// affected.
func TestHostileFrames(t *testing.T) {
	r := newTestRelay(t)
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
		r.publish("chat", test.name)
		honest.want(1, test.name)
	}
	await(t, "the hostile clients to be disconnected", func() bool { return r.hub.Sessions() == 1 })
	if strings.Contains(r.log.String(), "panic") {
		t.Error("a panic in the log:\n" + r.log.String())
	}
}

// A message that has not arrived needs no memory, and one of which a part has
// arrived needs at most twice that.
func TestHalfMessagesAreSmall(t *testing.T) {
	const limit, part, clients = 1 << 20, 8 << 10, 200
	for _, test := range []struct {
		why  string
		send []byte
		most int // bytes for each client
	}{
		{"a header", append(frame(0x89, "seen"), header64(0x82, limit)...), 512},
		{"a header and a byte", append(frame(0x89, "seen"), append(header64(0x82, limit), 'x')...), 512},
		{"a fragment", slices.Concat(frame(0x02, strings.Repeat("x", part)), frame(0x89, "seen"), header64(0x80, limit-part)), 2*part + 512},
	} {
		t.Run(test.why, func(t *testing.T) {
			r := newTestRelay(t, func(c *relayConfig) { c.ws.MaxInbound = limit })
			var peers []*peer
			for range clients {
				peers = append(peers, r.dial("/"))
			}
			await(t, "the clients to join", func() bool { return r.hub.Sessions() == clients })
			before := heap()
			for _, p := range peers {
				p.write(test.send)
				p.want(10, "seen")
			}
			if grown := heap() - before; grown > clients*test.most+1<<20 {
				t.Errorf("%d clients need %d KiB", clients, grown>>10)
			}
		})
	}
}

// A client whose command waits keeps no buffer.
func TestWaitingCommandsAreSmall(t *testing.T) {
	const clients, most = 300, 4 << 10
	release := make(chan struct{})
	var waiting atomic.Int64
	r := newTestRelay(t, func(c *relayConfig) {
		c.hub.Publish = func(context.Context, string, []byte) (int64, error) {
			waiting.Add(1)
			<-release
			return 1, nil
		}
	})
	t.Cleanup(func() { close(release) })
	var peers []*peer
	for range clients {
		peers = append(peers, r.dial("/?channel=a"))
	}
	await(t, "the clients to join", func() bool { return r.hub.Sessions() == clients })
	before := heap()
	for _, p := range peers {
		p.write(text("x"))
	}
	await(t, "the commands to wait", func() bool { return waiting.Load() == clients })
	if grown := heap() - before; grown > clients*most {
		t.Errorf("a client that waits needs %d bytes", grown/clients)
	}
}

// heap returns how many bytes of the heap are in use.
func heap() int {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC() // the first one only empties pools
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

// The relay does not allocate the length that a header announces: 200 headers
// that announce 16 MiB each need little memory.
func TestAnnouncedBytesAreNotAllocated(t *testing.T) {
	r := newTestRelay(t, func(c *relayConfig) { c.ws.MaxInbound = 1 << 20; c.slots = 2000 })
	var peers []*peer
	for range 200 {
		peers = append(peers, r.dial("/"))
	}
	await(t, "the clients to join", func() bool { return r.hub.Sessions() == len(peers) })
	before := heap()
	for _, p := range peers {
		p.write(header64(0x82, 16<<20))
		p.wantClose(protocol.CloseTooBig)
	}
	await(t, "the clients to be disconnected", func() bool { return r.hub.Sessions() == 0 })
	if grown := heap() - before; grown > 16<<20 {
		t.Errorf("200 headers that announce 16 MiB each increase the heap by %d bytes", grown)
	}
}
