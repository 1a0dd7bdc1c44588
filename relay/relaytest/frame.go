package relaytest

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
)

// Opcodes of RFC 6455, for [Client.SendFrame].
const (
	OpContinuation byte = 0x0
	OpText         byte = 0x1
	OpBinary       byte = 0x2
	OpClose        byte = 0x8
	OpPing         byte = 0x9
	OpPong         byte = 0xa
)

// A wireError says how a peer broke RFC 6455 or the protocol above it.
type wireError string

func (e wireError) Error() string { return string(e) }

func wireErrorf(format string, args ...any) error { return wireError(fmt.Sprintf(format, args...)) }

// frame is one WebSocket frame, unmasked.
type frame struct {
	fin     bool
	op      byte
	payload []byte
}

func (f frame) control() bool { return f.op&0x8 != 0 }

// readFrame reads a frame and checks it against RFC 6455 without extensions:
// reserved bits, opcodes, masking, minimal lengths, and the rules of control
// frames. A frame that breaks one is a wireError. limit bounds the payload.
func readFrame(r *bufio.Reader, masked bool, limit uint64) (f frame, err error) {
	var head [2]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return f, err
	}
	f = frame{fin: head[0]&0x80 != 0, op: head[0] & 0x0f}
	switch {
	case head[0]&0x70 != 0:
		return f, wireErrorf("reserved bits are set: first byte %#x", head[0])
	case f.op > OpBinary && f.op < OpClose, f.op > OpPong:
		return f, wireErrorf("opcode %#x does not exist", f.op)
	case head[1]&0x80 != 0 != masked:
		return f, wireErrorf("masked is %v, must be %v", !masked, masked)
	case f.control() && (!f.fin || head[1]&0x7f > 125):
		return f, wireErrorf("control frame %#x is fragmented or longer than 125 bytes", f.op)
	}
	size, err := readLength(r, head[1]&0x7f)
	switch {
	case err != nil:
		return f, err
	case size > limit:
		return f, wireErrorf("frame of %d bytes, more than %d", size, limit)
	}
	var mask [4]byte
	if masked {
		if _, err := io.ReadFull(r, mask[:]); err != nil {
			return f, unexpected(err)
		}
	}
	f.payload = make([]byte, size)
	if _, err := io.ReadFull(r, f.payload); err != nil {
		return f, unexpected(err)
	}
	if masked {
		applyMask(f.payload, mask)
	}
	return f, nil
}

// unexpected makes io.EOF inside a frame different from io.EOF between frames.
func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

func readLength(r *bufio.Reader, short byte) (uint64, error) {
	var b [8]byte
	switch short {
	case 126:
		if _, err := io.ReadFull(r, b[:2]); err != nil {
			return 0, unexpected(err)
		}
		n := uint64(binary.BigEndian.Uint16(b[:]))
		if n < 126 {
			return 0, wireErrorf("length %d is not written in its shortest form", n)
		}
		return n, nil
	case 127:
		if _, err := io.ReadFull(r, b[:]); err != nil {
			return 0, unexpected(err)
		}
		n := binary.BigEndian.Uint64(b[:])
		if n < 1<<16 || n >= 1<<63 {
			return 0, wireErrorf("length %d is not written in its shortest form, or negative", n)
		}
		return n, nil
	}
	return uint64(short), nil
}

// appendFrame appends a frame, masked with *mask if mask is not nil.
func appendFrame(b []byte, f frame, mask *[4]byte) []byte {
	first, bit := f.op, byte(0)
	if f.fin {
		first |= 0x80
	}
	if mask != nil {
		bit = 0x80
	}
	switch n := len(f.payload); {
	case n < 126:
		b = append(b, first, bit|byte(n))
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, first, bit|126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, first, bit|127), uint64(n))
	}
	if mask == nil {
		return append(b, f.payload...)
	}
	b = append(b, mask[:]...)
	start := len(b)
	b = append(b, f.payload...)
	applyMask(b[start:], *mask)
	return b
}

func applyMask(b []byte, mask [4]byte) {
	for i := range b {
		b[i] ^= mask[i&3]
	}
}

// AppendFrame appends the bytes of a masked frame, valid or not, for
// [Client.SendRaw].
func AppendFrame(b []byte, fin bool, op byte, payload []byte) []byte {
	return appendFrame(b, frame{fin: fin, op: op, payload: payload}, &[4]byte{0x37, 0xfa, 0x21, 0x3d})
}
