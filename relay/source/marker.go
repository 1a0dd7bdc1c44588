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

// maxMarker bounds the payload of a marker, in bytes. A longer payload on the
// marker channel is not a marker.
const maxMarker = 256

// markerVersion is the first field of a marker.
const markerVersion = "1"

// A marker is a message that relays publish on the marker channel: version, id,
// run and settings, in hexadecimal with one space between them, 44 bytes:
//
//	1 0123456789000001 00112233aabbccdd 5f3c9a1b
//
// Further fields are ignored, and so are markers of another version.
type marker struct {
	id       [8]byte // never published twice
	run      [8]byte // identifies the relay process that published it
	settings [4]byte // hash of the settings that all replicas must share
}

func (m marker) encode() string {
	return fmt.Sprintf("%s %x %x %x", markerVersion, m.id, m.run, m.settings)
}

// parseMarker parses the payload of a message on the marker channel, which may
// be anything.
func parseMarker(payload []byte) (m marker, ok bool) {
	fields := bytes.SplitN(payload, []byte(" "), 5)
	if len(fields) < 4 || string(fields[0]) != markerVersion {
		return m, false
	}
	ok = decodeHex(m.id[:], fields[1]) && decodeHex(m.run[:], fields[2]) && decodeHex(m.settings[:], fields[3])
	return m, ok
}

// decodeHex reports whether digits filled to exactly.
func decodeHex(to, digits []byte) bool {
	if len(digits) != hex.EncodedLen(len(to)) {
		return false
	}
	_, err := hex.Decode(to, digits)
	return err == nil
}

// settingsHash differs between relays with different patterns or prefixes,
// which do not count the same messages. The order of the patterns does not
// matter: each channel is received once, whichever pattern owns it.
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
