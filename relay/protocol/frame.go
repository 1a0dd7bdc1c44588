package protocol

import (
	"encoding/binary"
	"unicode/utf8"
)

// An Opcode is a WebSocket opcode (RFC 6455 section 5.2).
type Opcode byte

// The opcodes that the relay sends.
const (
	OpText   Opcode = 0x1
	OpBinary Opcode = 0x2
	OpClose  Opcode = 0x8
	OpPing   Opcode = 0x9
	OpPong   Opcode = 0xa
)

// MaxFrameHeader is the size of the largest header that a server sends, in
// bytes.
const MaxFrameHeader = 10

// AppendFrameHeader appends the header of an unfragmented, unmasked frame with
// a payload of n bytes, as a server sends it (RFC 6455 section 5.2).
func AppendFrameHeader(dst []byte, op Opcode, n int) []byte {
	dst = append(dst, 0x80|byte(op))
	switch {
	case n < 126:
		return append(dst, byte(n))
	case n <= 0xffff:
		return binary.BigEndian.AppendUint16(append(dst, 126), uint16(n))
	default:
		return binary.BigEndian.AppendUint64(append(dst, 127), uint64(n))
	}
}

// frameHeaderSize returns the number of bytes that [AppendFrameHeader] appends.
func frameHeaderSize(n int) int {
	switch {
	case n < 126:
		return 2
	case n <= 0xffff:
		return 4
	}
	return MaxFrameHeader
}

// NewFrame returns a frame header with capacity for a payload of n bytes: one
// allocation of the exact size.
func NewFrame(op Opcode, n int) []byte {
	return AppendFrameHeader(make([]byte, 0, frameHeaderSize(n)+n), op, n)
}

// CloseFrame returns a new close frame with the code and its fixed reason.
func CloseFrame(code CloseCode) []byte {
	reason := code.Reason()
	frame := NewFrame(OpClose, 2+len(reason))
	return append(binary.BigEndian.AppendUint16(frame, code.Number()), reason...)
}

// PayloadOpcode returns OpText if the payload is valid UTF-8, or else OpBinary.
func PayloadOpcode(payload []byte) Opcode {
	if utf8.Valid(payload) {
		return OpText
	}
	return OpBinary
}
