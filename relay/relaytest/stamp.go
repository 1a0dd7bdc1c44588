package relaytest

import (
	"encoding/hex"
	"fmt"
	"hash/crc32"
)

// A stamp is the beginning of a payload of a [Publisher] and says which message
// of which channel it is. It has a checksum over the whole payload, so that a
// payload that was cut, mixed or changed does not parse.
type stamp struct {
	kind    stampKind
	seq     uint32 // number in its channel, from 1; 0 in a payload that equals all others
	channel uint32 // [channelHash] of the channel's name
}

// stampKind is the kind of a payload.
type stampKind byte

// The kinds of payloads.
const (
	stampSeq   stampKind = 's' // unique in its channel
	stampEqual stampKind = 'e' // equal to all others of its channel
	stampEnd   stampKind = 'z' // unique, and the last of its channel: see [Publisher.Finish]
)

// StampSize is the length of a stamp, and therefore of the smallest unique
// payload: four letters, then channel, sequence number, size and checksum in
// hexadecimal.
const StampSize = len(stampMark) + 1 + 2*stampBytes

const (
	stampMark  = "rt1"
	stampBytes = 16
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// channelHash returns a channel's name as it is in a [stamp].
func channelHash(channel string) uint32 { return crc32.Checksum([]byte(channel), castagnoli) }

// parseStamp returns the stamp of a payload, and false if it is not a whole,
// unchanged payload of this package.
func parseStamp[T string | []byte](payload T) (stamp, bool) {
	f, ok := parseStampFields(payload)
	whole := ok && f.size == len(payload) && f.sum == f.checksum([]byte(payload[StampSize:]))
	return f.stamp, whole
}

// stampFields has all fields of a stamp.
type stampFields struct {
	stamp
	size int
	sum  uint32
}

// parseStampFields parses the first bytes of a payload, whether or not the rest
// is valid.
func parseStampFields[T string | []byte](payload T) (f stampFields, ok bool) {
	if len(payload) < StampSize || string(payload[:len(stampMark)]) != stampMark {
		return f, false
	}
	var raw [stampBytes]byte
	if _, err := hex.Decode(raw[:], []byte(payload[len(stampMark)+1:StampSize])); err != nil {
		return f, false
	}
	field := func(i int) uint32 {
		b := raw[4*i:]
		return uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
	}
	f.kind, f.channel, f.seq = stampKind(payload[len(stampMark)]), field(0), field(1)
	f.size, f.sum = int(field(2)), field(3)
	return f, true
}

func (f stampFields) append(b []byte) []byte {
	return fmt.Appendf(b, "%s%c%08x%08x%08x%08x", stampMark, f.kind, f.channel, f.seq, f.size, f.sum)
}

// checksum returns the checksum of the other fields and the body.
func (f stampFields) checksum(body []byte) uint32 {
	f.sum = 0
	return crc32.Update(crc32.Checksum(f.append(nil), castagnoli), castagnoli, body)
}

// describe returns a short description of a payload for reports. Payloads
// themselves are long and have hostile bytes.
func describe(payload string) string {
	f, ok := parseStampFields(payload)
	if !ok {
		return fmt.Sprintf("an unknown payload of %d bytes: %.40q", len(payload), payload)
	}
	if _, whole := parseStamp(payload); !whole {
		return fmt.Sprintf("a damaged payload: %d bytes that begin like seq %d of %d bytes", len(payload), f.seq, f.size)
	}
	return fmt.Sprintf("seq %d of %d bytes", f.seq, f.size)
}
