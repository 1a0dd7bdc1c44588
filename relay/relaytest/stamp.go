package relaytest

import (
	"encoding/hex"
	"fmt"
	"hash/crc32"
)

// A Stamp is what a payload made here says of itself: which message of which channel it is. The first bytes of the
// payload carry it, sealed by a checksum over all of it, so that a payload that was cut, mixed or changed does not parse.
type Stamp struct {
	Kind    StampKind
	Seq     uint32 // position in its channel, from 1; 0 in a payload that equals all others
	Channel uint32 // [ChannelHash] of the channel's name
}

// StampKind says what a payload is for.
type StampKind byte

// The kinds of payloads.
const (
	StampSeq   StampKind = 's' // unique in its channel
	StampEqual StampKind = 'e' // equal to all others of its channel
	StampEnd   StampKind = 'z' // unique, and the last of its channel: see [Publisher.Finish]
)

// StampSize is the length of a stamp, and so of the smallest unique payload: four letters, then channel, sequence
// number, size and checksum in hexadecimal.
const StampSize = len(stampMark) + 1 + 2*stampBytes

const (
	stampMark  = "rt1"
	stampBytes = 16
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// ChannelHash is the form in which a channel's name stands in a [Stamp].
func ChannelHash(channel string) uint32 { return crc32.Checksum([]byte(channel), castagnoli) }

// ParseStamp reads the stamp of a payload, and false where it is not a whole, unchanged payload of this package.
func ParseStamp[T string | []byte](payload T) (Stamp, bool) {
	f, ok := parseStampFields(payload)
	whole := ok && f.size == len(payload) && f.sum == f.checksum([]byte(payload[StampSize:]))
	return f.Stamp, whole
}

// stampFields are a stamp and the seal around it.
type stampFields struct {
	Stamp
	size int
	sum  uint32
}

// parseStampFields reads the first bytes, whatever became of the rest.
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
	f.Kind, f.Channel, f.Seq = StampKind(payload[len(stampMark)]), field(0), field(1)
	f.size, f.sum = int(field(2)), field(3)
	return f, true
}

func (f stampFields) append(b []byte) []byte {
	return fmt.Appendf(b, "%s%c%08x%08x%08x%08x", stampMark, f.Kind, f.Channel, f.Seq, f.size, f.sum)
}

// checksum seals the fields and the body together.
func (f stampFields) checksum(body []byte) uint32 {
	f.sum = 0
	return crc32.Update(crc32.Checksum(f.append(nil), castagnoli), castagnoli, body)
}

// describe says in words what a payload is, for reports: payloads themselves are long and hostile.
func describe(payload string) string {
	f, ok := parseStampFields(payload)
	if !ok {
		return fmt.Sprintf("%d bytes that no publisher of this run made: %.40q", len(payload), payload)
	}
	if _, whole := ParseStamp(payload); !whole {
		return fmt.Sprintf("a damaged payload: %d bytes that begin like seq %d of %d bytes", len(payload), f.Seq, f.size)
	}
	return fmt.Sprintf("seq %d of %d bytes", f.Seq, f.size)
}
