package history

import (
	"encoding/binary"
	"math/bits"
)

// A ring holds the recent messages of all channels, oldest first, in a circle of pages that are allocated when they are
// needed and released when their entries leave. Entries lie one after the other at offsets that only rise, aligned to 8
// bytes; an entry's head never crosses a page, its payload may. Each entry knows its neighbours in its channel.
type ring struct {
	shift uint     // 1<<shift bytes are a page
	pages [][]byte // by the page's number, modulo theirs, which is a power of two; nil where nothing is
	head  uint64   // offset of the oldest entry; tail if there is none
	tail  uint64   // where the next entry begins
	spare []byte   // a page that was given back
}

// entrySize is how long the head of an entry is.
const entrySize = 48

// An Entry is the head of one message in the ring. Its memory form, in words of 8 bytes unless a size is given:
//
//	number of the marker | index since it | channel's slot (4) payload bytes (4) |
//	check (4) age (4) | steps back (4) steps on (4) | flags
//
// Steps are distances to the channel's neighbours, in units of 8 bytes; 0 means that there is no neighbour.
type Entry struct {
	Point
	Size  uint32 // of the payload, in bytes
	Empty bool   // the payload was not kept, because it was too large to be relayed or to be held

	slot uint32
	age  uint32
	back uint32
	on   uint32
}

const (
	pageMin = 4 << 10
	pageMax = 256 << 10
)

// newRing returns a ring whose pages suit a memory of limit bytes. Offset 0 is never used.
func newRing(limit int) ring {
	shift := uint(bits.Len(pageMin - 1))
	for 1<<shift < pageMax && 64<<shift <= limit {
		shift++
	}
	pages := 1 << bits.Len(uint(limit>>shift+2))
	return ring{shift: shift, pages: make([][]byte, pages), head: 1 << shift, tail: 1 << shift}
}

// number returns which page an offset lies in, and inside where in it.
func (r *ring) number(offset uint64) uint64 { return offset >> r.shift }
func (r *ring) inside(offset uint64) uint64 { return offset & (1<<r.shift - 1) }

// slot returns where page number n is kept.
func (r *ring) slot(n uint64) *[]byte { return &r.pages[n&uint64(len(r.pages)-1)] }

// empty reports whether there is no entry.
func (r *ring) empty() bool { return r.head == r.tail }

// bytes returns how much is held. The pages take up to two pages more.
func (r *ring) bytes() int { return int(r.tail - r.head) }

// page returns the page of an offset, taking one where there is none.
func (r *ring) page(offset uint64) []byte {
	slot := r.slot(r.number(offset))
	if *slot == nil {
		if *slot, r.spare = r.spare, nil; *slot == nil {
			*slot = make([]byte, 1<<r.shift)
		}
	}
	return *slot
}

// next returns where an entry begins whose place would be offset: heads do not cross pages.
func (r *ring) next(offset uint64) uint64 {
	if rest := 1<<r.shift - r.inside(offset); rest < entrySize {
		return offset + rest
	}
	return offset
}

// span returns how much further the tail goes when an entry with size bytes of payload comes, the page that it would begin
// included.
func (r *ring) span(size int) int { return int(r.next(r.tail)-r.tail) + entrySize + size + 7 }

// append adds an entry and returns its offset. There has to be room: span more bytes than there are pages for are not.
func (r *ring) append(e Entry, payload []byte) uint64 {
	offset := r.next(r.tail)
	if r.empty() {
		r.free(r.number(r.head), r.number(offset))
		r.head = offset
	}
	r.put(offset, e)
	at := offset + entrySize
	for len(payload) > 0 {
		n := copy(r.page(at)[r.inside(at):], payload)
		payload = payload[n:]
		at += uint64(n)
	}
	r.tail = (at + 7) &^ 7
	return offset
}

// put writes the head of an entry.
func (r *ring) put(offset uint64, e Entry) {
	b := r.page(offset)[r.inside(offset):][:entrySize]
	binary.NativeEndian.PutUint64(b[0:], e.Ord)
	binary.NativeEndian.PutUint64(b[8:], e.Index)
	binary.NativeEndian.PutUint32(b[16:], e.slot)
	binary.NativeEndian.PutUint32(b[20:], e.Size)
	binary.NativeEndian.PutUint32(b[24:], e.Check)
	binary.NativeEndian.PutUint32(b[28:], e.age)
	binary.NativeEndian.PutUint32(b[32:], e.back)
	binary.NativeEndian.PutUint32(b[36:], e.on)
	b[40] = 0
	if e.Empty {
		b[40] = 1
	}
}

// at reads the head of the Entry at offset, which has to be held.
func (r *ring) at(offset uint64) (e Entry) {
	b := r.page(offset)[r.inside(offset):][:entrySize]
	e.Ord = binary.NativeEndian.Uint64(b[0:])
	e.Index = binary.NativeEndian.Uint64(b[8:])
	e.slot = binary.NativeEndian.Uint32(b[16:])
	e.Size = binary.NativeEndian.Uint32(b[20:])
	e.Check = binary.NativeEndian.Uint32(b[24:])
	e.age = binary.NativeEndian.Uint32(b[28:])
	e.back = binary.NativeEndian.Uint32(b[32:])
	e.on = binary.NativeEndian.Uint32(b[36:])
	e.Empty = b[40] != 0
	return e
}

// link makes the Entry at offset know which one follows it in its channel.
func (r *ring) link(offset, next uint64) {
	b := r.page(offset)[r.inside(offset):][:entrySize]
	binary.NativeEndian.PutUint32(b[36:], uint32((next-offset)/8))
}

// back returns the offset of the Entry before e, which lies at offset, in its channel, or 0 if that is not held.
func (r *ring) back(offset uint64, e Entry) uint64 {
	before := offset - uint64(e.back)*8
	if e.back == 0 || before < r.head {
		return 0
	}
	return before
}

// on returns the offset of the Entry that follows e, which lies at offset, in its channel, or 0.
func (r *ring) on(offset uint64, e Entry) uint64 {
	if e.on == 0 {
		return 0
	}
	return offset + uint64(e.on)*8
}

// payload appends the payload of the Entry at offset.
func (r *ring) payload(b []byte, offset uint64, size uint32) []byte {
	for at, left := offset+entrySize, uint64(size); left > 0; {
		page := r.page(at)[r.inside(at):]
		n := min(left, uint64(len(page)))
		b = append(b, page[:n]...)
		at, left = at+n, left-n
	}
	return b
}

// drop lets go of the oldest entry, which has size bytes of payload, and of the pages that it leaves.
func (r *ring) drop(size uint32) {
	was := r.number(r.head)
	r.head = (r.head + entrySize + uint64(size) + 7) &^ 7
	if r.head < r.tail {
		r.head = r.next(r.head)
	}
	r.free(was, r.number(r.head))
}

// free gives pages number n to m, m excluded, back.
func (r *ring) free(n, m uint64) {
	for ; n < m; n++ {
		slot := r.slot(n)
		if *slot != nil {
			r.spare, *slot = *slot, nil
		}
	}
}

// reset lets go of everything.
func (r *ring) reset() {
	clear(r.pages)
	r.spare = nil
	r.tail = r.number(r.tail+1<<r.shift-1) << r.shift
	r.head = r.tail
}
