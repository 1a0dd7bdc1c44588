package main

import (
	"encoding/binary"
	"errors"
)

// Opcodes of RFC 6455.
const (
	opText   = 1
	opBinary = 2
	opClose  = 8
	opPing   = 9
	opPong   = 10
)

// maxFrame is the largest frame that a relay may send.
const maxFrame = 32 << 20

var errFrame = errors.New("the relay broke the rules of WebSocket")

// A frame is one WebSocket frame from the relay. Its payload is a part of what was read.
type frame struct {
	opcode  byte
	payload []byte
}

// nextFrame takes the first frame off b. A size of 0 means that more bytes are needed. Fragments, extensions and masks,
// which no relay needs, are errors.
func nextFrame(b []byte) (f frame, size int, err error) {
	if len(b) < 2 {
		return frame{}, 0, nil
	}
	if b[0]&0xf0 != 0x80 || b[1]&0x80 != 0 {
		return frame{}, 0, errFrame
	}
	head, length := 2, uint64(b[1])
	switch {
	case length == 126 && len(b) >= 4:
		head, length = 4, uint64(binary.BigEndian.Uint16(b[2:]))
	case length == 127 && len(b) >= 10:
		head, length = 10, binary.BigEndian.Uint64(b[2:])
	case length >= 126:
		return frame{}, 0, nil
	}
	f.opcode = b[0] & 0x0f
	switch f.opcode {
	case opText, opBinary:
	case opClose, opPing, opPong:
		if head > 2 {
			return frame{}, 0, errFrame
		}
	default:
		return frame{}, 0, errFrame
	}
	if length > maxFrame {
		return frame{}, 0, errFrame
	}
	if size = head + int(length); len(b) < size {
		return frame{}, 0, nil
	}
	f.payload = b[head:size]
	return f, size, nil
}

// maskedFrame appends a frame to the relay. The mask, which the rules want, is zero: it leaves the payload as it is.
func maskedFrame(b []byte, opcode byte, payload []byte) []byte {
	b = append(b, 0x80|opcode)
	switch n := len(payload); {
	case n < 126:
		b = append(b, 0x80|byte(n))
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, 0x80|126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 0x80|127), uint64(n))
	}
	return append(append(b, 0, 0, 0, 0), payload...)
}
