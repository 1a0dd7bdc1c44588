package ws

import (
	"encoding/binary"
	"time"
	"unicode/utf8"

	"sidecast/relay/protocol"
)

// A decoder turns the bytes that a client sends into messages, however they are
// split. It keeps only the part of a message that has arrived, not the size that
// a header has announced, and nothing between two messages. It is not safe for
// concurrent use.
type decoder struct {
	guard
	message []byte // of the current message, without masks
	control []byte // of the current control frame, if it arrived in parts
	masked  uint8  // bytes of the current payload so far, modulo 4
	text    bool   // the current message is text
	whole   bool   // the current message has arrived: see [decoder.take]
}

// A controlHandler is called for control frames. The bytes are only valid during
// the call.
type controlHandler interface {
	receivePing(payload []byte)
	// receiveClose is called for the first close frame, with the code in it, or 0
	// if it has none. Nothing follows.
	receiveClose(code uint16)
}

// decode decodes the next bytes, and removes the masks from them. It stops at
// the end of the first whole message, which must be taken, and returns how many
// bytes it has decoded. A code says why the client must be disconnected, and is
// CloseNormal, or the client's own code, after a close frame; 0 means that the
// decoder expects more.
func (d *decoder) decode(b []byte, now time.Time, to controlHandler) (decoded int, code protocol.CloseCode) {
	for decoded < len(b) && !d.whole {
		n, code := d.decodeFrame(b[decoded:], now, to)
		if code != 0 {
			return decoded, code
		}
		decoded += n
	}
	return decoded, 0
}

// decodeFrame decodes bytes of one frame, and returns how many.
func (d *decoder) decodeFrame(b []byte, now time.Time, to controlHandler) (decoded int, code protocol.CloseCode) {
	if !d.complete() {
		decoded, code = d.read(b, now)
		if code != 0 || !d.complete() {
			return decoded, code
		}
	}
	payload := b[decoded:]
	payload = payload[:min(uint64(len(payload)), d.left)]
	d.unmask(payload)
	d.left -= uint64(len(payload))
	if code = d.add(payload, to); code == 0 && d.left == 0 {
		d.next()
		d.masked = 0
	}
	return decoded + len(payload), code
}

// take returns the message that has arrived.
func (d *decoder) take() (message []byte, text bool) {
	message = d.message
	d.message, d.whole = nil, false
	return message, d.text
}

// add adds a part of a payload to its frame, and handles the frame if that was
// the last part.
func (d *decoder) add(payload []byte, to controlHandler) protocol.CloseCode {
	if d.opcode() >= protocol.OpClose {
		if d.left > 0 || d.control != nil {
			d.control = append(d.control, payload...)
			payload = d.control
		}
		if d.left > 0 {
			return 0
		}
		d.control = nil
		return receiveControl(d.opcode(), payload, to)
	}
	if d.opcode() != 0 {
		d.text = d.opcode() == protocol.OpText
	}
	d.message = append(d.message, payload...)
	if d.left > 0 || d.open {
		return 0
	}
	if d.text && !utf8.Valid(d.message) {
		return protocol.CloseBadData
	}
	d.whole = true
	return 0
}

func receiveControl(op protocol.Opcode, payload []byte, to controlHandler) protocol.CloseCode {
	switch op {
	case protocol.OpPing:
		to.receivePing(payload)
	case protocol.OpClose:
		var code uint16
		if len(payload) >= 2 {
			code = binary.BigEndian.Uint16(payload)
		}
		to.receiveClose(code)
		return closeAnswer(payload)
	}
	return 0
}

// closeAnswer returns the code that answers a close frame (RFC 6455 sections
// 5.5.1 and 7.4). Codes for applications are returned to the client.
func closeAnswer(payload []byte) protocol.CloseCode {
	switch len(payload) {
	case 0:
		return protocol.CloseNormal
	case 1:
		return protocol.CloseProtocol
	}
	if !utf8.Valid(payload[2:]) {
		return protocol.CloseBadData
	}
	switch code := binary.BigEndian.Uint16(payload); {
	case code >= 3000 && code < 5000:
		return protocol.CloseCode(code)
	case code < 1000, code > 1014, code == 1004, code == 1005, code == 1006: // the registry of RFC 6455 section 11.7
		return protocol.CloseProtocol
	}
	return protocol.CloseNormal
}

// unmask removes the mask from the next part of a payload (RFC 6455 section
// 5.3).
func (d *decoder) unmask(b []byte) {
	mask := d.mask(d.masked)
	d.masked += uint8(len(b))
	d.masked &= 3
	wide := uint64(mask)<<32 | uint64(mask)
	for ; len(b) >= 8; b = b[8:] {
		binary.LittleEndian.PutUint64(b, binary.LittleEndian.Uint64(b)^wide)
	}
	for i := range b {
		b[i] ^= byte(wide >> (8 * i))
	}
}
