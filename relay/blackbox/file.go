package blackbox

import (
	"encoding/binary"
	"errors"
)

// pageSize is the size of the header of a file. The size of a segment is a
// multiple of it.
const pageSize = 4 << 10

// A fileHeader is the first page of a file, in the byte order of the machine:
//
//	magic (16) | bytes of a segment (8) | number of segments (4) | boot (4)
type fileHeader struct {
	segment  uint64
	segments uint32
	boot     uint32
}

const (
	magic      = "sidecast box v1\n"
	bootOffset = len(magic) + 12
)

func (h fileHeader) size() int64 { return pageSize + int64(h.segment)*int64(h.segments) }

func (h fileHeader) write(page []byte) {
	copy(page, magic)
	binary.NativeEndian.PutUint64(page[len(magic):], h.segment)
	binary.NativeEndian.PutUint32(page[len(magic)+8:], h.segments)
	binary.NativeEndian.PutUint32(page[bootOffset:], h.boot)
}

// errNotABox is the error of a file that is something else.
var errNotABox = errors.New("not the black box of a relay, or of another version")

// parseHeader reads the header of a file that may be anything.
func parseHeader(page []byte) (h fileHeader, err error) {
	if len(page) < pageSize || string(page[:len(magic)]) != magic {
		return h, errNotABox
	}
	h.segment = binary.NativeEndian.Uint64(page[len(magic):])
	h.segments = binary.NativeEndian.Uint32(page[len(magic)+8:])
	h.boot = binary.NativeEndian.Uint32(page[bootOffset:])
	if h.segment < segmentHeader+maxRecord || h.segment > 1<<30 || h.segment%pageSize != 0 || h.segments != segments {
		return h, errNotABox
	}
	return h, nil
}
