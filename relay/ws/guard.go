package ws

import (
	"encoding/binary"
	"time"

	"sidecast/relay/protocol"
)

// Bounds on what a client sends, beside the size of a message.
const (
	maxFragments      = 128 // frames of one message
	maxControlPerSec  = 20  // pings, pongs and closes
	maxControlPayload = 125 // RFC 6455 section 5.5
)

// A guard walks the frame headers of what a client sends, before the WebSocket library sees a byte of it, and stops at the
// first that breaks RFC 6455 or a bound. The library takes a length with the top bit set for a negative size and panics,
// and allocates what a header announces; nothing that the guard lets through does either. Not safe for concurrent use.
type guard struct {
	skip  uint64 // bytes of payload still to come
	limit uint32 // bytes of a message, all its fragments together
	size  uint32 // bytes of the message so far

	second    uint32 // the second in which control frames are counted
	controls  uint16
	fragments uint16 // frames of the message so far
	open      bool   // a fragmented message has begun
	closing   bool   // a close frame came: nothing may follow

	have   uint8 // bytes of header that are there
	header [14]byte
	code   protocol.CloseCode
}

// walk reads the next bytes and returns how many the library may see. Fewer than len(b) means that nothing after them is
// to be read: g.code says why, and is 0 where the client has said its last.
func (g *guard) walk(b []byte, now time.Time) int {
	for i := 0; i < len(b); {
		if g.closing && g.skip == 0 && g.have == 0 {
			return i // what follows a close frame is nobody's
		}
		if g.skip > 0 {
			n := min(g.skip, uint64(len(b)-i))
			g.skip -= n
			i += int(n)
			continue
		}
		start := i
		for i < len(b) && g.have < g.need() {
			g.header[g.have] = b[i]
			g.have++
			i++
			if g.have == 2 {
				if g.code = g.judgeStart(now); g.code != 0 {
					return start
				}
			}
		}
		if g.have < g.need() {
			return i
		}
		if g.code = g.judgeLength(); g.code != 0 {
			return start
		}
	}
	return len(b)
}

// need is how long the header is, as far as its first two bytes tell.
func (g *guard) need() uint8 {
	if g.have < 2 {
		return 2
	}
	switch g.header[1] & 0x7f {
	case 126:
		return 2 + 2 + 4
	case 127:
		return 2 + 8 + 4
	}
	return 2 + 4
}

// judgeStart judges the two bytes that every frame has.
func (g *guard) judgeStart(now time.Time) protocol.CloseCode {
	final, reserved, opcode := g.header[0]&0x80 != 0, g.header[0]&0x70, g.header[0]&0x0f
	masked, length := g.header[1]&0x80 != 0, g.header[1]&0x7f
	if reserved != 0 || !masked {
		return protocol.CloseProtocol
	}
	switch opcode {
	case 0: // continuation
		if !g.open {
			return protocol.CloseProtocol
		}
	case 1, 2: // text, binary
		if g.open {
			return protocol.CloseProtocol
		}
		g.fragments, g.size = 0, 0
	case 8, 9, 10: // close, ping, pong
		if !final || length > maxControlPayload {
			return protocol.CloseProtocol
		}
		g.closing = opcode == 8
		return g.countControl(now)
	default:
		return protocol.CloseProtocol
	}
	g.open = !final
	if g.fragments++; g.fragments > maxFragments {
		return protocol.ClosePolicy
	}
	return 0
}

func (g *guard) countControl(now time.Time) protocol.CloseCode {
	if second := uint32(now.Unix()); second != g.second {
		g.second, g.controls = second, 0
	}
	if g.controls++; g.controls > maxControlPerSec {
		return protocol.ClosePolicy
	}
	return 0
}

// judgeLength judges the length once the header is whole, and goes on to the payload.
func (g *guard) judgeLength() protocol.CloseCode {
	length := uint64(g.header[1] & 0x7f)
	switch length {
	case 126:
		length = uint64(binary.BigEndian.Uint16(g.header[2:]))
		if length < 126 {
			return protocol.CloseProtocol
		}
	case 127:
		length = binary.BigEndian.Uint64(g.header[2:])
		if length <= 0xffff || length>>63 != 0 {
			return protocol.CloseProtocol
		}
	}
	if g.header[0]&0x08 == 0 { // a data frame
		if length > uint64(g.limit) || uint64(g.size)+length > uint64(g.limit) {
			return protocol.CloseTooBig
		}
		g.size += uint32(length)
	}
	g.have, g.skip = 0, length
	return 0
}
