package source

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"sidecast/relay/access"
)

// maxMarker bounds the payload of a marker in bytes; whatever is longer on the service channel is none.
const maxMarker = 256

// markerVersion is the first field of a marker.
const markerVersion = "1"

// A marker is what relays publish on the service channel: version, id, run and settings, in hexadecimal with one space
// between them, 44 bytes:
//
//	1 0123456789000001 00112233aabbccdd 5f3c9a1b
//
// More fields may follow one day and are ignored; markers of another version are ignored.
type marker struct {
	id       [8]byte // never published twice
	run      [8]byte // the relay process that published it
	settings [4]byte // hash of what replicas must share
}

func (m marker) encode() string {
	return fmt.Sprintf("%s %x %x %x", markerVersion, m.id, m.run, m.settings)
}

// parseMarker reads what somebody published on the service channel.
func parseMarker(payload []byte) (m marker, ok bool) {
	fields := bytes.SplitN(payload, []byte(" "), 5)
	if len(fields) < 4 || string(fields[0]) != markerVersion {
		return m, false
	}
	ok = unhex(m.id[:], fields[1]) && unhex(m.run[:], fields[2]) && unhex(m.settings[:], fields[3])
	return m, ok
}

func unhex(to, digits []byte) bool {
	if len(digits) != hex.EncodedLen(len(to)) {
		return false
	}
	_, err := hex.Decode(to, digits)
	return err == nil
}

// settingsHash tells relays with other patterns or prefixes apart, which do not count the same messages. The order of
// the patterns does not matter: each channel is heard once, whoever owns it.
func settingsHash(names access.Names, patterns access.Patterns, durable ...access.Pattern) (sum [4]byte) {
	list := []string{names.Redis(""), strings.TrimSuffix(names.Marker(), "mark")}
	sorted := slices.Clone(subscriptions(names, patterns))
	for _, p := range durable {
		sorted = append(sorted, "durable "+p.String())
	}
	slices.Sort(sorted)
	h := sha256.New()
	for _, s := range append(list, sorted...) {
		var size [4]byte
		binary.BigEndian.PutUint32(size[:], uint32(len(s)))
		h.Write(size[:])
		h.Write([]byte(s))
	}
	copy(sum[:], h.Sum(nil))
	return sum
}
