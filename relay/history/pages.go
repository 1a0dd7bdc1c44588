package history

import "slices"

const (
	// pageSize is about how many bytes of the ring the messages of a page have.
	pageSize = 8 << 10
	// pageCharge is the memory of a pageStart, in bytes.
	pageCharge = 64
)

// A page is a run of messages of one channel, and a pageStart is its first
// message. Clients that resume at different points get the same pages, so their frames
// are encoded once, and a point is found without reading all messages. The page
// of the oldest messages has no pageStart.
type pageStart struct {
	Point
	offset uint64
}

// An index has what few channels need, so that the others are small.
type index struct {
	pages   []pageStart
	dropped int   // the first so many of pages are not held any more
	missing Point // the newest message whose payload was not kept
}

// held returns the pages that are held. x may be nil.
func (x *index) held() []pageStart {
	if x == nil {
		return nil
	}
	return x.pages[x.dropped:]
}

// add adds a page. It reuses the memory of pages that were dropped.
func (x *index) add(p pageStart) {
	if len(x.pages) == cap(x.pages) && x.dropped > len(x.pages)/2 {
		x.pages = x.pages[:copy(x.pages, x.held())]
		x.dropped = 0
	}
	x.pages = append(x.pages, p)
}

// indexOf returns the channel's index, and makes one if there is none.
func (ch *Channel[T]) indexOf() *index {
	if ch.index == nil {
		ch.index = new(index)
	}
	return ch.index
}

// extendPage counts the newest message of a channel, which has size bytes of
// payload, and begins another page with it if there is no space in this one.
func (h *History[T]) extendPage(ch *Channel[T], size int) {
	ch.pageBytes += uint32(entrySize + size)
	if ch.pageBytes <= pageSize || ch.newest == ch.oldest {
		return
	}
	ch.pageBytes = uint32(entrySize + size)
	ch.indexOf().add(pageStart{ch.At(), ch.newest})
	h.channelBytes += pageCharge
}

// dropPages forgets the pages that begin before the channel's oldest message.
func (h *History[T]) dropPages(ch *Channel[T]) {
	for _, p := range ch.index.held() {
		if p.offset > ch.oldest {
			return
		}
		ch.index.dropped++
		h.channelBytes -= pageCharge
	}
}

// Locate returns the offset of the newest held message at or before p, or 0,
// and whether p is a place in the channel from which nothing is missing: then
// [History.After] continues there.
func (h *History[T]) Locate(ch *Channel[T], p Point) (last uint64, ok bool) {
	switch {
	case p.Before(ch.floor), ch.index != nil && p.Before(ch.index.missing):
		return 0, false
	case !p.Before(ch.At()):
		return ch.newest, p.Index == 0 || p == ch.At() // a marker or the newest message; otherwise one that this relay has not received
	}
	at := ch.floor
	for offset := h.pageOf(ch, func(s pageStart) bool { return !p.Before(s.Point) }); offset != 0; {
		e := h.ring.entry(offset)
		if p.Before(e.Point) {
			break
		}
		h.walked++
		last, at = offset, e.Point
		offset = h.ring.following(offset, e)
	}
	// The place is the message itself, or a marker after it. If not, this relay
	// received other messages than the client.
	return last, p.Index == 0 || p == at
}

// LocateAfter returns the place of a channel that continues after a held entry
// of any channel, the one at offset: the channel's newest message up to there,
// the offset of that message or 0 if it is not held, and whether nothing is
// missing after it.
func (h *History[T]) LocateAfter(ch *Channel[T], offset uint64) (p Point, last uint64, ok bool) {
	// Entries are dropped in their order, so all that follow offset are held.
	switch p = ch.floor; {
	case ch.newest == 0:
		return p, 0, true
	case ch.newest <= offset:
		return ch.At(), ch.newest, true
	}
	next := h.pageOf(ch, func(s pageStart) bool { return s.offset <= offset })
	for next != 0 && next <= offset {
		e := h.ring.entry(next)
		h.walked++
		last, p = next, e.Point
		next = h.ring.following(next, e)
	}
	return p, last, next == 0 || ch.index == nil || ch.index.missing.Before(h.ring.entry(next).Point)
}

// Page returns the offsets of the first held message in the page of the message
// at offset, and of the first message in the next page. next is 0 if this is the
// newest page, to which messages may still be added.
func (h *History[T]) Page(ch *Channel[T], offset uint64) (first, next uint64) {
	if pages := ch.index.held(); len(pages) > 0 {
		if n := ch.pagesUntil(func(s pageStart) bool { return s.offset <= offset }); n < len(pages) {
			next = pages[n].offset
		}
	}
	return h.pageOf(ch, func(s pageStart) bool { return s.offset <= offset }), next
}

// pageOf returns the offset of the first held message in the last page whose
// start satisfies before.
func (h *History[T]) pageOf(ch *Channel[T], before func(pageStart) bool) uint64 {
	if n := ch.pagesUntil(before); n > 0 {
		return ch.index.held()[n-1].offset
	}
	return ch.oldest
}

// pagesUntil returns how many page starts satisfy before.
func (ch *Channel[T]) pagesUntil(before func(pageStart) bool) int {
	n, _ := slices.BinarySearchFunc(ch.index.held(), struct{}{}, func(s pageStart, _ struct{}) int {
		if before(s) {
			return -1
		}
		return 1
	})
	return n
}
