package stream

import (
	"encoding/base64"
	"encoding/binary"
)

// A StreamCursor is a place in a durable channel as clients hold it: base64url without padding of
//
//	version 1 B | milliseconds, varint | sequence, varint | check 4 B
//
// with version 2. It names the last entry that the client has: by its id, and by a CRC-32C (Castagnoli) of its fields,
// because an id may be given twice where a stream was made again. Zero means that there was no stream yet. A cursor opens
// nothing: whoever shows one has to be allowed to hear the channel.
type Cursor struct {
	ID    ID
	Check uint32
}

const (
	cursorVersion = 2
	maxCursor     = 1 + 2*binary.MaxVarintLen64 + 4 // bytes
)

// AppendText appends the cursor as it stands on the wire. It never fails.
func (c Cursor) AppendText(b []byte) ([]byte, error) {
	var binaryForm [maxCursor]byte
	raw := append(binaryForm[:0], cursorVersion)
	raw = binary.AppendUvarint(raw, c.ID.Ms)
	raw = binary.AppendUvarint(raw, c.ID.Seq)
	raw = binary.BigEndian.AppendUint32(raw, c.Check)
	return base64.RawURLEncoding.AppendEncode(b, raw), nil
}

// text returns the cursor as it stands on the wire.
func (c Cursor) Text() []byte {
	b, _ := c.AppendText(nil)
	return b
}

// ParseStreamCursor reads a cursor of a client. What is no cursor of this version names no place: ok is false.
func ParseCursor(text string) (c Cursor, ok bool) {
	if len(text) > base64.RawURLEncoding.EncodedLen(maxCursor) {
		return c, false
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(raw) < 1+1+1+4 || raw[0] != cursorVersion {
		return c, false
	}
	numbers, check := raw[1:len(raw)-4], raw[len(raw)-4:]
	ms, n := binary.Uvarint(numbers)
	if n <= 0 {
		return c, false
	}
	seq, m := binary.Uvarint(numbers[n:])
	if m <= 0 || n+m != len(numbers) {
		return c, false
	}
	return Cursor{ID: ID{Ms: ms, Seq: seq}, Check: binary.BigEndian.Uint32(check)}, true
}
