package history

import (
	"encoding/base64"
	"encoding/binary"
)

// A Cursor is a place in a live channel as clients hold it: base64url without
// padding of
//
//	version 1 B | node 4 B | marker 8 B | index, varint | check 4 B
//
// with version 1 and numbers in network order. It means the same on every relay
// that subscribes to the same Redis server: the channel's message number index
// since that marker, or the marker itself if index is 0. check is a CRC-32C
// (Castagnoli) over length and payload of the channel's messages since the
// marker. A cursor grants nothing: its client still needs the right to
// subscribe to the channel.
type Cursor struct {
	Node   uint32 // the Redis server
	Marker MarkerID
	Index  uint64
	Check  uint32
}

// A MarkerID is the id of a marker, or an id that a relay generated for itself
// until the next marker arrives. An id is never used twice.
type MarkerID [8]byte

const (
	cursorVersion = 1
	// maxCursor is the length of the longest cursor as text.
	maxCursor = (1 + 4 + 8 + binary.MaxVarintLen64 + 4) * 4 / 3
)

// AppendText appends the cursor in its wire form. It never fails.
func (c Cursor) AppendText(b []byte) ([]byte, error) {
	var binaryForm [1 + 4 + 8 + binary.MaxVarintLen64 + 4]byte
	raw := append(binaryForm[:0], cursorVersion)
	raw = binary.BigEndian.AppendUint32(raw, c.Node)
	raw = append(raw, c.Marker[:]...)
	raw = binary.AppendUvarint(raw, c.Index)
	raw = binary.BigEndian.AppendUint32(raw, c.Check)
	return base64.RawURLEncoding.AppendEncode(b, raw), nil
}

// ParseCursor parses a cursor that a client sent. ok is false unless
// [Cursor.AppendText] would write exactly this text.
func ParseCursor(text string) (c Cursor, ok bool) {
	if len(text) > maxCursor+1 {
		return c, false
	}
	raw, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || len(raw) < 1+4+8+1+4 || raw[0] != cursorVersion {
		return c, false
	}
	c.Node = binary.BigEndian.Uint32(raw[1:])
	copy(c.Marker[:], raw[5:])
	index, n := binary.Uvarint(raw[13:])
	if n <= 0 || 13+n+4 != len(raw) {
		return Cursor{}, false
	}
	c.Index, c.Check = index, binary.BigEndian.Uint32(raw[13+n:])
	var again [maxCursor + 1]byte
	if written, _ := c.AppendText(again[:0]); string(written) != text {
		return Cursor{}, false
	}
	return c, true
}
