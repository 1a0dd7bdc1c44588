package blackbox

import (
	"os"
	"runtime/debug"
	"slices"
	"time"
)

// A Reader reads records, the oldest first. Only one goroutine at a time may use
// it.
type Reader struct {
	lanes  [numLanes]*laneReader
	missed bool
	live   bool
}

// NewReader returns a reader of all records of a box, also of those that will be
// written. With a time, it may omit those before. The methods of a reader of a
// nil *Box find nothing.
func (b *Box) NewReader(since time.Time) *Reader {
	if b == nil {
		return new(Reader)
	}
	r := newReader(b, since)
	r.live = true
	return r
}

// ReadFile returns a reader of the records in a file that a box has written, or
// is writing. It reads the file once, without later records.
func ReadFile(path string) (*Reader, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // nothing was written
	s, err := readSnapshot(f)
	if err != nil {
		return nil, err
	}
	r := newReader(s, time.Time{})
	r.live = isLocked(f)
	return r, nil
}

func newReader(from source, since time.Time) *Reader {
	r := new(Reader)
	for l := range r.lanes {
		r.lanes[l] = &laneReader{source: from, lane: lane(l), number: firstSince(from.list(lane(l)), since.UnixMilli()) - 1}
	}
	return r
}

// firstSince returns the number of the first segment that may have a record of a
// time.
func firstSince(list []segmentID, since int64) uint64 {
	first := uint64(1)
	for i, s := range list {
		if i == 0 || s.time <= since {
			first = s.number
		}
	}
	return first
}

// Next returns the next record. If there is none, it returns false: there may be
// one later.
func (r *Reader) Next() (Record, bool) {
	var next *laneReader
	for _, l := range r.lanes {
		if l != nil && l.peek() && (next == nil || l.head.At.Before(next.head.At)) {
			next = l
		}
	}
	if next == nil {
		return Record{}, false
	}
	r.missed = r.missed || next.missed
	next.missed, next.hasHead = false, false
	return next.head, true
}

// Missed reports whether records were overwritten before they could be read,
// since the last call. It does not concern those of refused clients.
func (r *Reader) Missed() bool {
	missed := r.missed
	r.missed = false
	return missed
}

// Live reports whether the relay that wrote the newest records was running when
// the reader was made.
func (r *Reader) Live() bool { return r.live }

// A source has the segments of a ring.
type source interface {
	// list returns the segments of a lane, by number.
	list(lane) []segmentID
	// more appends what is in the segment with that number from a byte on, at most
	// maxCopy bytes, if the segment is still there. It begins with the header.
	more(l lane, number uint64, from int, into []byte) (data []byte, exists bool)
}

type segmentID struct {
	number uint64
	time   int64 // of its first record, or before
}

// maxCopy bounds how many bytes are copied while the box is locked.
const maxCopy = 64 << 10

func (b *Box) list(l lane) (list []segmentID) {
	list = make([]segmentID, 0, segments) // before the box is locked
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.file != nil {
		defer b.survive(debug.SetPanicOnFault(true))
	}
	return listSegments(list, b.lanes[l].ring)
}

func (b *Box) more(l lane, number uint64, from int, into []byte) (data []byte, exists bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	data = into
	if b.file != nil {
		defer b.survive(debug.SetPanicOnFault(true))
	}
	ring := b.lanes[l].ring
	return ring[number%uint64(len(ring))].more(number, from, into)
}

func (s segment) more(number uint64, from int, into []byte) (data []byte, exists bool) {
	if s.number() != number {
		return into, false
	}
	if end := min(segmentHeader+s.length(), len(s)); from < end {
		into = append(into, s[from:min(end, from+maxCopy)]...)
	}
	return into, true
}

// listSegments appends the segments of a ring to list.
func listSegments(list []segmentID, ring []segment) []segmentID {
	for _, s := range ring {
		if s.number() != 0 {
			list = append(list, segmentID{s.number(), s.time()})
		}
	}
	slices.SortFunc(list, func(a, b segmentID) int { return int(int64(a.number - b.number)) })
	return list
}

// A laneReader reads the records of a lane. Only one goroutine at a time uses
// it.
type laneReader struct {
	source source
	lane   lane
	number uint64 // of the segment that is being read, or was
	offset int    // of the decoder's data in it
	decoder
	reading bool // otherwise the segment has ended

	head    Record // the next record
	hasHead bool
	missed  bool // some before head were overwritten: see miss
}

// peek reads the next record into head, and reports whether there is one.
func (r *laneReader) peek() bool {
	for !r.hasHead {
		if r.reading && r.decode(&r.head) {
			r.hasHead = true
			return true
		}
		if !r.advance() {
			return false
		}
	}
	return true
}

// advance reads more of the segment, or the next one. It reports false if there
// is nothing more.
func (r *laneReader) advance() bool {
	if r.reading && !r.broken {
		r.dropDecoded()
		data, exists := r.source.more(r.lane, r.number, r.offset+len(r.data), r.data)
		if exists && len(data) > len(r.data) {
			r.data = data
			return true
		}
		r.miss(!exists)
	}
	list := r.source.list(r.lane)
	i := slices.IndexFunc(list, func(s segmentID) bool { return s.number > r.number })
	if i < 0 {
		return false // nothing follows the end of this segment yet
	}
	r.miss(r.number > 0 && list[i].number > r.number+1)
	r.number, r.offset = list[i].number, 0
	if r.data == nil {
		r.data = make([]byte, 0, maxCopy+maxRecord)
	}
	data, exists := r.source.more(r.lane, r.number, 0, r.data[:0])
	if r.reading = exists && len(data) >= segmentHeader; r.reading {
		r.start(data)
	}
	return true
}

// dropDecoded drops the data that was decoded, so that there is room for more.
func (r *laneReader) dropDecoded() {
	r.offset += r.next
	r.data, r.next = append(r.data[:0], r.data[r.next:]...), 0
}

// miss records that records may have been overwritten before they were read.
// Clients can overwrite those of refusals at will.
func (r *laneReader) miss(some bool) {
	r.missed = r.missed || some && r.lane == laneMain
}
