package protocol

import (
	"encoding/base64"
	"strings"
)

// An EventPosition is a position that the id of an event names.
type EventPosition struct {
	Cursor string
	Tag    string // the [ChannelTag] of the cursor's channel; empty if the cursor is valid for all channels
}

const (
	tagSize = 8
	// maxCursor is more than the size of any cursor, in bytes.
	maxCursor = 64
)

// AppendEventID appends a position to an id: the id of an event of several
// channels is cursor~tag, or a list of them, one for each channel, separated by
// commas. A browser repeats it unchanged in the header Last-Event-ID.
func AppendEventID(id, cursor []byte, channel string) []byte {
	if len(id) > 0 {
		id = append(id, ',')
	}
	return appendTag(append(append(id, cursor...), '~'), channel)
}

// ParseEventID returns the positions that an id names: several only if each has
// a tag. ok is false if it is not the id of an event.
func ParseEventID(id string) (positions []EventPosition, ok bool) {
	for item := range strings.SplitSeq(id, ",") {
		cursor, tag, tagged := strings.Cut(item, "~")
		if len(cursor) > maxCursor || !isBase64URL(cursor) || tagged && (len(tag) != tagSize || !isBase64URL(tag)) {
			return nil, false
		}
		if !tagged && len(item) < len(id) {
			return nil, false
		}
		positions = append(positions, EventPosition{Cursor: cursor, Tag: tag})
	}
	return positions, true
}

// isBase64URL reports whether s is not empty and has only the characters of
// base64url.
func isBase64URL(s string) bool {
	for i := range len(s) {
		c := s[i]
		if (c|0x20 < 'a' || c|0x20 > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' {
			return false
		}
	}
	return s != ""
}

// ChannelTag returns a short text that stands for a channel in the ids of
// events: 48 bits of a hash. Two channels with the same tag are unlikely, and
// then a client that resumes gets a gap.
func ChannelTag(channel string) string { return string(appendTag(nil, channel)) }

// appendTag appends the channel's FNV-1a hash of 64 bits, folded by XOR to 48
// bits, in base64url.
func appendTag(b []byte, channel string) []byte {
	hash := uint64(0xcbf29ce484222325)
	for i := range len(channel) {
		hash = (hash ^ uint64(channel[i])) * 0x100000001b3
	}
	hash = hash>>48 ^ hash&(1<<48-1)
	return base64.RawURLEncoding.AppendEncode(b, []byte{
		byte(hash >> 40), byte(hash >> 32), byte(hash >> 24), byte(hash >> 16), byte(hash >> 8), byte(hash),
	})
}
