package history

import (
	"encoding/binary"
	"math/bits"
)

// A ring holds the recent messages of all channels, oldest first, in a circle
// of pages. A page is allocated when it is needed and released when its entries
// are dropped. Entries follow each other at increasing offsets, aligned to 8
// bytes. The head of an entry never crosses a page boundary, but its payload
// may. Each entry refers to the next entry of its channel.
// Offset 0 is never used.
type ring struct {
	shift     uint     // a page has 1<<shift bytes
	pages     [][]byte // by page number modulo their count, which is a power of two; nil if not allocated
	head      uint64   // offset of the oldest entry; equal to tail if the ring is empty
	tail      uint64   // end of the newest entry
	sparePage []byte   // a released page to use next
}

// entrySize is the size of the head of an entry, in bytes.
const entrySize = 40

// An Entry is the head of one message in the ring. Its memory form, in words of
// 8 bytes unless a size is given:
//
//	marker number | index since the marker | channel's slot (4) payload bytes (4) |
//	check (4) time stored (4) | steps on (4) flags
//
// Steps on are the distance to the next entry of the channel, in units of 8
// bytes; 0 means that there is none.
type Entry struct {
	Point
	Size  uint32 // of the payload, in bytes
	Empty bool   // the payload was not kept, because it was too large to be relayed or to be held

	slot     uint32
	storedAt uint32
	stepsOn  uint32
}

const (
	pageMin = 4 << 10
	pageMax = 256 << 10
)

// newRing returns a ring with a page size suitable for limit bytes.
func newRing(limit int) ring {
	shift := uint(bits.Len(pageMin - 1))
	for 1<<shift < pageMax && 64<<shift <= limit {
		shift++
	}
	pages := 1 << bits.Len(uint(limit>>shift+2))
	return ring{shift: shift, pages: make([][]byte, pages), head: 1 << shift, tail: 1 << shift}
}

// pageNumber returns the number of the page of an offset, and pageOffset the
// place in that page.
func (r *ring) pageNumber(offset uint64) uint64 { return offset >> r.shift }
func (r *ring) pageOffset(offset uint64) uint64 { return offset & (1<<r.shift - 1) }

// pageSlot returns the element of pages for page number n.
func (r *ring) pageSlot(n uint64) *[]byte { return &r.pages[n&uint64(len(r.pages)-1)] }

// empty reports whether there is no entry.
func (r *ring) empty() bool { return r.head == r.tail }

// bytes returns how many bytes are held. The allocated pages are up to two
// pages more.
func (r *ring) bytes() int { return int(r.tail - r.head) }

// page returns the page of an offset, and allocates it if necessary.
func (r *ring) page(offset uint64) []byte {
	slot := r.pageSlot(r.pageNumber(offset))
	if *slot == nil {
		if *slot, r.sparePage = r.sparePage, nil; *slot == nil {
			*slot = make([]byte, 1<<r.shift)
		}
	}
	return *slot
}

// entryStart returns the first offset from offset on at which an entry may
// begin, so that its head does not cross a page boundary.
func (r *ring) entryStart(offset uint64) uint64 {
	if rest := 1<<r.shift - r.pageOffset(offset); rest < entrySize {
		return offset + rest
	}
	return offset
}

// span returns how many bytes, at most, the tail moves when an entry with size
// bytes of payload is appended.
func (r *ring) span(size int) int { return int(r.entryStart(r.tail)-r.tail) + entrySize + size + 7 }

// append adds an entry and returns its offset. The pages must have space for
// span more bytes.
func (r *ring) append(e Entry, payload []byte) uint64 {
	offset := r.entryStart(r.tail)
	if r.empty() {
		r.freePages(r.pageNumber(r.head), r.pageNumber(offset))
		r.head = offset
	}
	r.writeEntry(offset, e)
	at := offset + entrySize
	for len(payload) > 0 {
		n := copy(r.page(at)[r.pageOffset(at):], payload)
		payload = payload[n:]
		at += uint64(n)
	}
	r.tail = (at + 7) &^ 7
	return offset
}

// writeEntry writes the head of an entry.
func (r *ring) writeEntry(offset uint64, e Entry) {
	b := r.page(offset)[r.pageOffset(offset):][:entrySize]
	binary.NativeEndian.PutUint64(b[0:], e.Ord)
	binary.NativeEndian.PutUint64(b[8:], e.Index)
	binary.NativeEndian.PutUint32(b[16:], e.slot)
	binary.NativeEndian.PutUint32(b[20:], e.Size)
	binary.NativeEndian.PutUint32(b[24:], e.Check)
	binary.NativeEndian.PutUint32(b[28:], e.storedAt)
	binary.NativeEndian.PutUint32(b[32:], e.stepsOn)
	b[36] = 0
	if e.Empty {
		b[36] = 1
	}
}

// entry reads the head of the entry at offset, which must be held.
func (r *ring) entry(offset uint64) (e Entry) {
	b := r.page(offset)[r.pageOffset(offset):][:entrySize]
	e.Ord = binary.NativeEndian.Uint64(b[0:])
	e.Index = binary.NativeEndian.Uint64(b[8:])
	e.slot = binary.NativeEndian.Uint32(b[16:])
	e.Size = binary.NativeEndian.Uint32(b[20:])
	e.Check = binary.NativeEndian.Uint32(b[24:])
	e.storedAt = binary.NativeEndian.Uint32(b[28:])
	e.stepsOn = binary.NativeEndian.Uint32(b[32:])
	e.Empty = b[36] != 0
	return e
}

// link records that next is the offset of the entry that follows the one at
// offset in its channel.
func (r *ring) link(offset, next uint64) {
	b := r.page(offset)[r.pageOffset(offset):][:entrySize]
	binary.NativeEndian.PutUint32(b[32:], uint32((next-offset)/8))
}

// following returns the offset of the entry after e in its channel, or 0.
// offset is that of e.
func (r *ring) following(offset uint64, e Entry) uint64 {
	if e.stepsOn == 0 {
		return 0
	}
	return offset + uint64(e.stepsOn)*8
}

// payload appends the payload of the entry at offset, which has size bytes.
func (r *ring) payload(b []byte, offset uint64, size uint32) []byte {
	for at, left := offset+entrySize, uint64(size); left > 0; {
		page := r.page(at)[r.pageOffset(at):]
		n := min(left, uint64(len(page)))
		b = append(b, page[:n]...)
		at, left = at+n, left-n
	}
	return b
}

// dropOldest drops the oldest entry, which has size bytes of payload, and
// releases the pages that have no entry any more.
func (r *ring) dropOldest(size uint32) {
	oldPage := r.pageNumber(r.head)
	r.head = (r.head + entrySize + uint64(size) + 7) &^ 7
	if r.head < r.tail {
		r.head = r.entryStart(r.head)
	}
	r.freePages(oldPage, r.pageNumber(r.head))
}

// freePages releases the pages with the numbers n to m-1.
func (r *ring) freePages(n, m uint64) {
	for ; n < m; n++ {
		slot := r.pageSlot(n)
		if *slot != nil {
			r.sparePage, *slot = *slot, nil
		}
	}
}

// reset drops all entries and releases all pages.
func (r *ring) reset() {
	clear(r.pages)
	r.sparePage = nil
	r.tail = r.pageNumber(r.tail+1<<r.shift-1) << r.shift
	r.head = r.tail
}
