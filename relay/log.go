package relay

import (
	"encoding/binary"
	"math/bits"
)

// The log is the memory of what was said lately, on all channels, oldest first: a circle of pages that are taken as they
// are needed and given back as their entries leave. Entries lie one behind the other at offsets that only rise, aligned
// to 8 bytes; their heads never cross a page, their payloads may. Each entry knows its neighbours in its channel.
//
// It is a part of [history] and guarded like it.
type log struct {
	shift uint     // 1<<shift bytes are a page
	pages [][]byte // by the page's number, modulo theirs, which is a power of two; nil where nothing is
	head  uint64   // offset of the oldest entry; tail if there is none
	tail  uint64   // where the next entry begins
	spare []byte   // a page that was given back
}

// entrySize is how long the head of an entry is.
const entrySize = 48

// An entry is the head of one message in the log, in words of 8 bytes unless said otherwise:
//
//	number of the mark | index since it | channel's slot (4) payload bytes (4) |
//	check (4) age (4) | steps back (4) steps on (4) | flags
//
// Steps are distances to the channel's neighbours, in units of 8 bytes; 0 is none.
type entry struct {
	point
	slot  uint32
	size  uint32
	age   uint32
	back  uint32
	on    uint32
	empty bool // the payload was not kept: it was too large to be relayed, or to be held
}

const (
	pageMin = 4 << 10
	pageMax = 256 << 10
)

// newLog returns a log of pages that suit a memory of limit bytes. Offset 0 is never used.
func newLog(limit int) log {
	shift := uint(bits.Len(pageMin - 1))
	for 1<<shift < pageMax && 64<<shift <= limit {
		shift++
	}
	pages := 1 << bits.Len(uint(limit>>shift+2))
	return log{shift: shift, pages: make([][]byte, pages), head: 1 << shift, tail: 1 << shift}
}

// number returns which page an offset lies in, and inside where in it.
func (l *log) number(offset uint64) uint64 { return offset >> l.shift }
func (l *log) inside(offset uint64) uint64 { return offset & (1<<l.shift - 1) }

// slot returns where page number n is kept.
func (l *log) slot(n uint64) *[]byte { return &l.pages[n&uint64(len(l.pages)-1)] }

// empty reports whether there is no entry.
func (l *log) empty() bool { return l.head == l.tail }

// bytes returns how much is held. The pages take up to two pages more.
func (l *log) bytes() int { return int(l.tail - l.head) }

// page returns the page of an offset, taking one where there is none.
func (l *log) page(offset uint64) []byte {
	slot := l.slot(l.number(offset))
	if *slot == nil {
		if *slot, l.spare = l.spare, nil; *slot == nil {
			*slot = make([]byte, 1<<l.shift)
		}
	}
	return *slot
}

// next returns where an entry begins whose place would be offset: heads do not cross pages.
func (l *log) next(offset uint64) uint64 {
	if rest := 1<<l.shift - l.inside(offset); rest < entrySize {
		return offset + rest
	}
	return offset
}

// span returns how much further the tail goes when an entry with size bytes of payload comes, the page that it would begin
// included.
func (l *log) span(size int) int { return int(l.next(l.tail)-l.tail) + entrySize + size + 7 }

// append adds an entry and returns its offset. There has to be room: span more bytes than there are pages for are not.
func (l *log) append(e entry, payload []byte) uint64 {
	offset := l.next(l.tail)
	if l.empty() {
		l.free(l.number(l.head), l.number(offset))
		l.head = offset
	}
	l.put(offset, e)
	at := offset + entrySize
	for len(payload) > 0 {
		n := copy(l.page(at)[l.inside(at):], payload)
		payload = payload[n:]
		at += uint64(n)
	}
	l.tail = (at + 7) &^ 7
	return offset
}

// put writes the head of an entry.
func (l *log) put(offset uint64, e entry) {
	b := l.page(offset)[l.inside(offset):][:entrySize]
	binary.NativeEndian.PutUint64(b[0:], e.ord)
	binary.NativeEndian.PutUint64(b[8:], e.index)
	binary.NativeEndian.PutUint32(b[16:], e.slot)
	binary.NativeEndian.PutUint32(b[20:], e.size)
	binary.NativeEndian.PutUint32(b[24:], e.check)
	binary.NativeEndian.PutUint32(b[28:], e.age)
	binary.NativeEndian.PutUint32(b[32:], e.back)
	binary.NativeEndian.PutUint32(b[36:], e.on)
	b[40] = 0
	if e.empty {
		b[40] = 1
	}
}

// at reads the head of the entry at offset, which has to be held.
func (l *log) at(offset uint64) (e entry) {
	b := l.page(offset)[l.inside(offset):][:entrySize]
	e.ord = binary.NativeEndian.Uint64(b[0:])
	e.index = binary.NativeEndian.Uint64(b[8:])
	e.slot = binary.NativeEndian.Uint32(b[16:])
	e.size = binary.NativeEndian.Uint32(b[20:])
	e.check = binary.NativeEndian.Uint32(b[24:])
	e.age = binary.NativeEndian.Uint32(b[28:])
	e.back = binary.NativeEndian.Uint32(b[32:])
	e.on = binary.NativeEndian.Uint32(b[36:])
	e.empty = b[40] != 0
	return e
}

// link makes the entry at offset know which one follows it in its channel.
func (l *log) link(offset, next uint64) {
	b := l.page(offset)[l.inside(offset):][:entrySize]
	binary.NativeEndian.PutUint32(b[36:], uint32((next-offset)/8))
}

// back returns the offset of the entry before e, which lies at offset, in its channel, or 0 if that is not held.
func (l *log) back(offset uint64, e entry) uint64 {
	before := offset - uint64(e.back)*8
	if e.back == 0 || before < l.head {
		return 0
	}
	return before
}

// on returns the offset of the entry that follows e, which lies at offset, in its channel, or 0.
func (l *log) on(offset uint64, e entry) uint64 {
	if e.on == 0 {
		return 0
	}
	return offset + uint64(e.on)*8
}

// payload appends the payload of the entry at offset.
func (l *log) payload(b []byte, offset uint64, size uint32) []byte {
	for at, left := offset+entrySize, uint64(size); left > 0; {
		page := l.page(at)[l.inside(at):]
		n := min(left, uint64(len(page)))
		b = append(b, page[:n]...)
		at, left = at+n, left-n
	}
	return b
}

// drop lets go of the oldest entry, which has size bytes of payload, and of the pages that it leaves.
func (l *log) drop(size uint32) {
	was := l.number(l.head)
	l.head = (l.head + entrySize + uint64(size) + 7) &^ 7
	if l.head < l.tail {
		l.head = l.next(l.head)
	}
	l.free(was, l.number(l.head))
}

// free gives pages number n to m, m excluded, back.
func (l *log) free(n, m uint64) {
	for ; n < m; n++ {
		slot := l.slot(n)
		if *slot != nil {
			l.spare, *slot = *slot, nil
		}
	}
}

// reset lets go of everything.
func (l *log) reset() {
	clear(l.pages)
	l.spare = nil
	l.tail = l.number(l.tail+1<<l.shift-1) << l.shift
	l.head = l.tail
}
