package blackbox

import (
	"encoding/binary"
	"runtime/debug"
)

// A record begins with a byte: its kind, and two flags. If flagLater is set, the
// ms since the record before follow. The fields after that are variable-length
// integers, and texts: a byte for the length, and as many bytes.
const (
	kindMask  = 1<<6 - 1
	flagLater = 1 << 6 // later than the record before
	flagUsual = 1 << 7 // of a message: the next one after the last, on a live channel, not too large, on a known name
)

const (
	// maxText is the longest text; others are cut.
	maxText = 255
	// maxRecord is more than the longest record takes, with a name and a mark
	// before it.
	maxRecord = 1 << 10
)

// A Name is the number under which a box knows a channel. Its zero value is that
// of a channel that is not known yet.
type Name uint32

// nameCounts is set if the current segment has the place of a message on the
// channel, from which a reader counts. The other bits are the number.
const nameCounts Name = 1 << 31

// known returns the number of a name in the current segment, if that declares
// it. After 2^31 names, the numbers begin again.
func (w *writer) known(n *Name) (number uint32, ok bool) {
	if n == nil || *n == 0 {
		return 0, false
	}
	number = uint32(*n&^nameCounts-w.firstName) &^ uint32(nameCounts)
	return number, number < w.names
}

// begin makes room for a record, and locks the box.
func (b *Box) begin(l lane) *writer {
	b.mu.Lock()
	w := &b.lanes[l]
	if w.end+maxRecord > len(w.current) {
		b.nextSegment(w)
	}
	w.length = 0
	return w
}

// end makes the record visible for readers, and unlocks the box.
func (b *Box) end(w *writer) {
	b.publish(w)
	switch {
	case w.census:
		b.census += w.length
	case w.lane == laneMain:
		b.written += w.length
	}
	w.census = false
	b.mu.Unlock()
}

// publish writes the record into its segment.
func (b *Box) publish(w *writer) {
	if b.file != nil {
		defer b.survive(debug.SetPanicOnFault(true))
	}
	w.end += copy(w.current[w.end:], w.record[:w.length])
	w.current.lengthWord().Store(uint32(w.end - segmentHeader))
}

// open begins a record. The box is locked.
func (w *writer) open(b *Box, kind Kind, flags byte) {
	at := b.now()
	if at <= w.at {
		w.byte(byte(kind) | flags)
		return
	}
	w.byte(byte(kind) | flags | flagLater)
	w.uint(uint64(at - w.at))
	w.at = at
}

func (w *writer) byte(c byte) {
	w.record[w.length] = c
	w.length++
}

func (w *writer) uint(n uint64) { w.length += binary.PutUvarint(w.record[w.length:], n) }

func (w *writer) place(p Place) {
	w.uint(p.Major)
	w.uint(p.Minor)
}

// writeText writes a text.
func writeText[T string | []byte](w *writer, s T) {
	s = s[:min(len(s), maxText)]
	w.byte(byte(len(s)))
	w.length += copy(w.record[w.length:], s)
}

// declare makes the channel known in the current segment, and returns its number
// there. It comes before the record that needs it. name may be nil.
func declare[T string | []byte](w *writer, name *Name, channel T) uint64 {
	if n, ok := w.known(name); ok {
		return uint64(n)
	}
	w.byte(byte(kindName))
	writeText(w, channel)
	n := w.names
	w.names++
	if name != nil {
		*name = (w.firstName + Name(n)) &^ nameCounts // if it is 0, it is declared again the next time
	}
	return uint64(n)
}

// onChannel begins a record that has a session and a channel.
func (b *Box) onChannel(kind Kind, session uint32, name *Name, channel string, durable bool) *writer {
	w := b.begin(laneMain)
	n := declare(w, name, channel)
	w.open(b, kind, 0)
	w.uint(uint64(session))
	w.uint(n<<1 | bit(durable))
	return w
}

func bit(b bool) uint64 {
	if b {
		return 1
	}
	return 0
}
