package ws

import (
	"encoding/binary"
	"time"

	"sidecast/relay/protocol"
)

// Limits on the frames that a client sends, in addition to the size of a
// message.
const (
	maxFragments      = 128 // frames of one message
	maxControlPerSec  = 20  // pings, pongs and close frames
	maxControlPayload = 125 // RFC 6455 section 5.5
)

// A guard checks the frame headers that a client sends before the WebSocket
// library sees them. It stops at the first header that violates RFC 6455 or
// exceeds a limit. Without it, the library panics on a length with the top bit
// set, which it takes for a negative size, and allocates as many bytes as a
// header announces. A guard is not safe for concurrent use.
type guard struct {
	skip  uint64 // remaining bytes of the current payload
	limit uint32 // maximum bytes of a message, with all its fragments
	size  uint32 // bytes of the current message so far

	second    uint32 // the second in which control frames are counted
	controls  uint16
	fragments uint16 // frames of the current message so far
	open      bool   // a fragmented message is not complete
	closing   bool   // the client sent a close frame: nothing may follow

	have   uint8 // bytes of header that have arrived
	header [14]byte
	code   protocol.CloseCode
}

// inspect checks the next bytes and returns how many of them the library may
// see. If it returns less than len(b), the caller stops reading: g.code is the
// reason, or 0 if the client has sent a close frame.
func (g *guard) inspect(b []byte, now time.Time) int {
	for i := 0; i < len(b); {
		if g.closing && g.skip == 0 && g.have == 0 {
			return i // bytes after a close frame are ignored
		}
		if g.skip > 0 {
			n := min(g.skip, uint64(len(b)-i))
			g.skip -= n
			i += int(n)
			continue
		}
		start := i
		for i < len(b) && g.have < g.headerLen() {
			g.header[g.have] = b[i]
			g.have++
			i++
			if g.have == 2 {
				if g.code = g.checkStart(now); g.code != 0 {
					return start
				}
			}
		}
		if g.have < g.headerLen() {
			return i
		}
		if g.code = g.checkLength(); g.code != 0 {
			return start
		}
	}
	return len(b)
}

// headerLen returns the length of the current header, or 2 if its first two
// bytes have not arrived.
func (g *guard) headerLen() uint8 {
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

// checkStart checks the first two bytes of a header. It returns 0 if they are
// valid.
func (g *guard) checkStart(now time.Time) protocol.CloseCode {
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

// checkLength checks the length in a complete header. If it is valid,
// checkLength returns 0 and the payload is next.
func (g *guard) checkLength() protocol.CloseCode {
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
