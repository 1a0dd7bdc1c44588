package stream

import (
	"encoding/base64"
	"encoding/binary"
)

// A Cursor is a place in a durable channel as clients hold it: base64url
// without padding of
//
//	version 1 B | milliseconds, varint | sequence, varint | check 4 B
//
// with version 2, or version 3 for the place before that entry. It identifies the last entry that the client has by its id
// and by a CRC-32C (Castagnoli) of its fields, because an id may be used twice
// if a stream was deleted and created again. The zero Cursor means that the
// stream did not exist yet. A cursor grants nothing: its client still needs the
// right to subscribe to the channel.
type Cursor struct {
	ID    ID
	Check uint32
}

const (
	cursorVersion = 2
	beforeVersion = 3
	maxCursor     = 1 + 2*binary.MaxVarintLen64 + 4 // bytes
)

// AppendText appends the cursor in its wire form. It never fails.
func (c Cursor) AppendText(b []byte) ([]byte, error) {
	return c.appendText(b, cursorVersion), nil
}

// TextBefore returns the wire form of the place before the entry, which must
// exist. The place before an entry is as good as that after it: if the entry
// still exists, no later one was trimmed.
func (c Cursor) TextBefore() []byte { return c.appendText(nil, beforeVersion) }

func (c Cursor) appendText(b []byte, version byte) []byte {
	var binaryForm [maxCursor]byte
	raw := append(binaryForm[:0], version)
	raw = binary.AppendUvarint(raw, c.ID.Ms)
	raw = binary.AppendUvarint(raw, c.ID.Seq)
	raw = binary.BigEndian.AppendUint32(raw, c.Check)
	return base64.RawURLEncoding.AppendEncode(b, raw)
}

// Text returns the cursor in its wire form.
func (c Cursor) Text() []byte {
	b, _ := c.AppendText(nil)
	return b
}

// Hash returns a number by which a session recognizes the entries that it added
// itself. It includes the check, because an id alone may be used again after a
// stream was deleted. It is never 0.
func (c Cursor) Hash() uint64 {
	return (c.ID.Ms<<20 ^ c.ID.Seq ^ uint64(c.Check)<<31) | 1<<63
}

// ParseCursor parses a cursor that a client sent. ok is false if the text is
// not a cursor of this version.
func ParseCursor(text string) (c Cursor, ok bool) { return parseCursor(text, cursorVersion) }

// ParseBefore parses a text of [Cursor.TextBefore].
func ParseBefore(text string) (c Cursor, ok bool) { return parseCursor(text, beforeVersion) }

func parseCursor(text string, version byte) (c Cursor, ok bool) {
	if len(text) > base64.RawURLEncoding.EncodedLen(maxCursor) {
		return c, false
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(raw) < 1+1+1+4 || raw[0] != version {
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
