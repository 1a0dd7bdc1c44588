package history

import (
	"crypto/rand"
	"iter"
)

// Now returns the newest point of a channel.
func (h *History[T]) Now(ch *Channel[T]) Point {
	if ord := h.markers.current(); ch.lastOrd != ord {
		return Point{Ord: ord}
	}
	return ch.At()
}

// Resolve returns the point of a cursor. known is false if the cursor is from
// another Redis server or another epoch, or if this relay does not know its
// marker yet or any more.
func (h *History[T]) Resolve(c Cursor) (p Point, known bool) {
	ord, known := h.markers.ordByID[c.Marker]
	return Point{Ord: ord, Index: c.Index, Check: c.Check}, known && c.Node == h.node
}

// AppendCursor appends the cursor of a point in its wire form, or nothing if
// the history keeps no messages. The point's marker must be known.
func (h *History[T]) AppendCursor(b []byte, p Point) []byte {
	if !h.On() {
		return b
	}
	b, _ = h.Cursor(p).AppendText(b) // never fails
	return b
}

// Shared reports whether other relays know the marker of a point, so that its
// cursor means the same for them. The marker must be known.
func (h *History[T]) Shared(p Point) bool { return !h.markers.list[p.Ord-h.markers.firstOrd].local }

// Cursor returns the cursor of a point, whose marker must be known.
func (h *History[T]) Cursor(p Point) Cursor {
	return Cursor{Node: h.node, Marker: h.markers.id(p.Ord), Index: p.Index, Check: p.Check}
}

// MarkerCursor returns the cursor of the newest marker at or before seq, in its
// wire form. It returns nil if only this relay knows that marker, or if the
// history keeps no messages.
func (h *History[T]) MarkerCursor(seq Seq) []byte {
	id, ok := h.markers.sharedBefore(seq)
	if !ok || !h.On() {
		return nil
	}
	text, _ := Cursor{Node: h.node, Marker: id}.AppendText(nil) // never fails
	return text
}

// UnknownCursor returns a cursor that no relay knows, so that a client that
// presents it gets a gap. It returns nil if the history keeps no messages.
func (h *History[T]) UnknownCursor() []byte {
	if !h.On() {
		return nil
	}
	c := Cursor{Node: h.node}
	_, _ = rand.Read(c.Marker[:]) // never fails
	text, _ := c.AppendText(nil)
	return text
}

// NewestOf returns the newest message of any of these channels since the newest
// marker, and its channel; or the marker, and nil.
func (h *History[T]) NewestOf(channels iter.Seq[*Channel[T]]) (ch *Channel[T], p Point) {
	p = Point{Ord: h.markers.current()}
	for other := range channels {
		if other.lastOrd == p.Ord && (ch == nil || other.newest > ch.newest) {
			ch = other
		}
	}
	if ch != nil {
		p = ch.At()
	}
	return ch, p
}

// MarkerIsNewest reports whether the newest marker at or before seq is newer
// than all messages of these channels.
func (h *History[T]) MarkerIsNewest(seq Seq, channels iter.Seq[*Channel[T]]) bool {
	ord, _ := h.markers.before(seq)
	for ch := range channels {
		if ch.lastOrd >= ord {
			return false
		}
	}
	return true
}

// End returns the offset after the newest entry of any channel.
func (h *History[T]) End() uint64 { return h.ring.tail }

// Holds reports whether the entry at offset is still held.
func (h *History[T]) Holds(offset uint64) bool { return offset >= h.ring.head }

// Entry returns the entry at offset, which must be held.
func (h *History[T]) Entry(offset uint64) Entry { return h.ring.entry(offset) }

// Payload appends the payload of e, the entry at offset, which must be held.
func (h *History[T]) Payload(b []byte, offset uint64, e Entry) []byte {
	return h.ring.payload(b, offset, e.Size)
}

// Next returns the offset of the entry that follows e in its channel, or 0 if e
// is the newest one. offset is that of e.
func (h *History[T]) Next(offset uint64, e Entry) uint64 { return h.ring.following(offset, e) }

// After returns the offset of the channel's first held entry after the one at
// offset, or 0. The one at offset need not be held any more.
func (h *History[T]) After(ch *Channel[T], offset uint64) uint64 {
	if h.Holds(offset) {
		return h.ring.following(offset, h.ring.entry(offset))
	}
	return ch.oldest
}

// Channels returns all channels. Those that are added meanwhile may be missing.
// The owner may change the history between two of them.
func (h *History[T]) Channels() iter.Seq[*Channel[T]] {
	return func(yield func(*Channel[T]) bool) {
		for _, ch := range h.table.first {
			for ; ch != nil; ch = ch.next {
				if !yield(ch) {
					return
				}
			}
		}
	}
}

// NewestTime returns when the newest message of a channel was added, as in
// [History.Expire] and to the second, or false if the channel holds no message.
func (h *History[T]) NewestTime(ch *Channel[T]) (at int64, ok bool) {
	if ch.newest == 0 {
		return 0, false
	}
	return int64(h.ring.entry(ch.newest).storedAt) * 1e9, true
}
