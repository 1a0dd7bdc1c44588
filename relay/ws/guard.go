package ws

import (
	"encoding/binary"
	"math/bits"
	"time"

	"sidecast/relay/protocol"
)

// Limits on the frames that a client sends, in addition to the size of a
// message.
const (
	minFragments      = 128 // frames of one message that are always allowed
	maxControlPerSec  = 20  // pings, pongs and close frames
	maxControlPayload = 125 // RFC 6455 section 5.5

	// fragmentSize allows more frames of larger messages, at least twice as many as
	// Chromium sends: its frames have about 128 KiB, and the first ones less.
	fragmentSize = 32 << 10
)

// A guard checks the frame headers that a client sends. It stops at the first
// header that violates RFC 6455 or exceeds a limit, before anything is
// allocated for the frame. A guard is not safe for concurrent use.
type guard struct {
	left  uint64 // bytes of the current payload that have not arrived
	began int64  // when the current message, or a frame between two, began; Unix time in nanoseconds, or 0
	limit uint32 // maximum bytes of a message, with all its fragments
	size  uint32 // bytes of the current message, as far as they are announced

	second    uint32 // the second in which control frames are counted
	controls  uint16
	fragments uint16 // frames of the current message so far
	open      bool   // a fragmented message is not complete

	have   uint8 // bytes of header that have arrived
	header [14]byte
}

// read reads and checks the next bytes of a header. It returns how many of b
// belong to it, or the code to close the connection with.
func (g *guard) read(b []byte, now time.Time) (n int, code protocol.CloseCode) {
	if g.began == 0 {
		g.began = now.UnixNano()
	}
	for n < len(b) && g.have < g.headerLen() {
		g.header[g.have] = b[n]
		g.have++
		n++
		if g.have == 2 {
			if code = g.checkStart(now); code != 0 {
				return n, code
			}
		}
	}
	if g.complete() {
		code = g.checkLength()
	}
	return n, code
}

// complete reports whether the current header has arrived. Then left is valid.
func (g *guard) complete() bool { return g.have >= g.headerLen() }

// next ends a frame: another header follows.
func (g *guard) next() {
	g.have = 0
	if !g.open {
		g.size, g.began = 0, 0
	}
}

func (g *guard) opcode() protocol.Opcode { return protocol.Opcode(g.header[0] & 0x0f) }

// mask returns the mask of the current payload from its byte at on, modulo 4.
func (g *guard) mask(at uint8) uint32 {
	mask := binary.LittleEndian.Uint32(g.header[g.headerLen()-4:])
	return bits.RotateLeft32(mask, -8*int(at))
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
		return g.countControl(now)
	default:
		return protocol.CloseProtocol
	}
	g.open = !final
	if g.fragments++; g.fragments > g.maxFragments() {
		return protocol.ClosePolicy.Because(protocol.ReasonFragments)
	}
	return 0
}

// maxFragments returns how many frames a message may have.
func (g *guard) maxFragments() uint16 { return minFragments + uint16(g.limit/fragmentSize) }

func (g *guard) countControl(now time.Time) protocol.CloseCode {
	if second := uint32(now.Unix()); second != g.second {
		g.second, g.controls = second, 0
	}
	if g.controls++; g.controls > maxControlPerSec {
		return protocol.ClosePolicy.Because(protocol.ReasonControl)
	}
	return 0
}

// checkLength checks the length in a complete header. It returns 0 if it is
// valid.
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
	g.left = length
	return 0
}
