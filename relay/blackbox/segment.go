package blackbox

import (
	"encoding/binary"
	"sync/atomic"
	"unsafe"
)

// A segment is a part of the ring, with this header, in the byte order of the
// machine:
//
//	number (8) | boot (4) | length of the records (4) | time in ms (8) | lane (4) | 4 unused | Seq (8) | StreamSeq (8) |
//	16 unused
//
// The number counts the segments of a lane, from 1; while a segment is being
// prepared, it is 0. Time, Seq and StreamSeq are those from which the first
// record counts.
type segment []byte

const segmentHeader = 64

// A lane is a part of the ring that is overwritten in turn.
type lane uint32

const (
	laneMain lane = iota
	laneRefusals
	numLanes
)

func (s segment) number() uint64    { return binary.NativeEndian.Uint64(s[0:]) }
func (s segment) boot() uint32      { return binary.NativeEndian.Uint32(s[8:]) }
func (s segment) length() int       { return int(s.lengthWord().Load()) }
func (s segment) time() int64       { return int64(binary.NativeEndian.Uint64(s[16:])) }
func (s segment) lane() lane        { return lane(binary.NativeEndian.Uint32(s[24:])) }
func (s segment) seq() uint64       { return binary.NativeEndian.Uint64(s[32:]) }
func (s segment) streamSeq() uint64 { return binary.NativeEndian.Uint64(s[40:]) }

// lengthWord returns the length, which another process may read at any time.
// Segments are aligned.
func (s segment) lengthWord() *atomic.Uint32 { return (*atomic.Uint32)(unsafe.Pointer(&s[12])) }

// A segmentStart is the content of a new segment's header.
type segmentStart struct {
	number         uint64
	boot           uint32
	lane           lane
	time           int64
	seq, streamSeq uint64
}

// begin drops the records of a segment.
func (s segment) begin(h segmentStart) {
	binary.NativeEndian.PutUint64(s[0:], 0)
	s.lengthWord().Store(0)
	binary.NativeEndian.PutUint32(s[8:], h.boot)
	binary.NativeEndian.PutUint64(s[16:], uint64(h.time))
	binary.NativeEndian.PutUint32(s[24:], uint32(h.lane))
	binary.NativeEndian.PutUint64(s[32:], h.seq)
	binary.NativeEndian.PutUint64(s[40:], h.streamSeq)
	binary.NativeEndian.PutUint64(s[0:], h.number)
}
