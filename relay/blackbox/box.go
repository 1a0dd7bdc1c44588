package blackbox

import (
	"errors"
	"runtime/debug"
	"sync"
	"time"
)

const (
	// MinBytes is the size of the smallest ring.
	MinBytes = 1 << 20
	// segments is how many there are, and refusalSegments how many of these are
	// for refused clients.
	segments        = 16
	refusalSegments = 2
)

// A Box records what happens in a relay. Its methods may be called concurrently,
// with the exception that calls with the same [Name] must not overlap. They do
// not wait for anything but each other. The methods of a nil *Box do nothing.
type Box struct {
	started time.Time // has a monotonic reading
	boot    uint32
	file    *file // nil: in memory

	mu       sync.Mutex
	base     int64 // ms since 1970 when it started, by the clock as it is set now
	lanes    [numLanes]writer
	sessions uint32 // the number of the last one
	failed   error  // why it records in memory, although it has a file
	written  int    // bytes of the main lane since the last census, without those of a census
	census   int    // bytes of the last census
}

// Open returns a box of so many bytes, at least [MinBytes]. With a path, it is
// the file there, which is created with the mode 0600, and which no other
// process may use at the same time. A file with another size, or in which
// something else is, is an error. The caller has to call [Box.Close].
func Open(bytes int, path string) (*Box, error) {
	if bytes < MinBytes {
		return nil, errors.New("too small")
	}
	b := &Box{started: time.Now()}
	b.base = b.started.UnixMilli()
	size := bytes / segments &^ (pageSize - 1)
	var memory []byte
	if path == "" {
		memory = make([]byte, segments*size)
		b.boot = 1
	} else {
		f, err := openFile(path, fileHeader{segment: uint64(size), segments: segments})
		if err != nil {
			return nil, err
		}
		b.file, b.boot, memory = f, f.boot, f.segments()
	}
	for l := range b.lanes {
		b.lanes[l] = writer{lane: lane(l), size: size}
	}
	const main = segments - refusalSegments
	b.lanes[laneMain].resume(memory[:main*size])
	b.lanes[laneRefusals].resume(memory[main*size:])
	for l := range b.lanes {
		b.nextSegment(&b.lanes[l])
	}
	return b, nil
}

// Close releases the file. Later records are lost.
func (b *Box) Close() error {
	if b == nil || b.file == nil {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for l := range b.lanes {
		w := &b.lanes[l]
		w.ring = []segment{make(segment, w.size)} // a session may end later
		b.nextSegment(w)
	}
	return b.file.close()
}

// now returns ms since 1970, from a clock that nobody sets. The box is locked.
func (b *Box) now() int64 { return b.base + time.Since(b.started).Milliseconds() }

// Census reports whether the caller must record all sessions with [Box.Is] and
// [Box.On], because the ring is about to forget when they began: it is due after
// every half of the ring. It must be called every second or so, because it also
// compares the clocks.
func (b *Box) Census() bool {
	if b == nil {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.adjust()
	due := b.written > b.halfBytes()
	if due {
		b.written, b.census = 0, 0
	}
	return due
}

// CensusIsFull reports whether the caller must end the census, although not all
// sessions are recorded: it takes half of the ring, and would soon overwrite what
// it is for.
func (b *Box) CensusIsFull() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.census > b.halfBytes()
}

// halfBytes is half of the main lane.
func (b *Box) halfBytes() int { return b.lanes[laneMain].size * (segments - refusalSegments) / 2 }

// clockSlack is how far the times of records may be from the clock of the machine.
const clockSlack = time.Second

// adjust follows the clock of the machine if that was set, or if the machine
// slept. Times in a segment only increase, so another one begins if the clock was
// set back. The box is locked.
func (b *Box) adjust() {
	ahead := time.Now().UnixMilli() - b.now()
	if (time.Duration(ahead) * time.Millisecond).Abs() < clockSlack {
		return
	}
	b.base += ahead
	if ahead > 0 {
		return
	}
	for l := range b.lanes {
		b.nextSegment(&b.lanes[l])
	}
}

// A writer writes the records of one lane. It is guarded by the box's mu.
type writer struct {
	lane lane
	size int       // of a segment, in bytes
	ring []segment // overwritten in turn
	next uint64    // number of the next segment

	current   segment
	end       int             // of the records in current
	record    [maxRecord]byte // that is being written
	length    int             // of it
	at        int64           // time of the last record
	seq       uint64          // of the last message on a live channel
	streamSeq uint64
	major     uint64 // of the last place on a live channel
	firstName Name   // without nameCounts
	names     uint32 // declared in current
	census    bool   // the record that is being written is of a census
}

// resume continues after the newest segment in memory.
func (w *writer) resume(memory []byte) {
	for at := 0; at < len(memory); at += w.size {
		s := segment(memory[at:][:w.size:w.size])
		w.ring = append(w.ring, s)
		w.next = max(w.next, s.number())
	}
	w.next++
	w.firstName = 1
}

// nextSegment begins the segment in which the next record will be.
func (b *Box) nextSegment(w *writer) {
	if b.file != nil {
		defer b.survive(debug.SetPanicOnFault(true))
	}
	w.current = w.ring[w.next%uint64(len(w.ring))]
	w.at, w.end, w.major = b.now(), segmentHeader, 0
	w.firstName = (w.firstName + Name(w.names)) &^ nameCounts
	w.names = 0
	w.current.begin(segmentStart{w.next, b.boot, w.lane, w.at, w.seq, w.streamSeq})
	w.next++
}
