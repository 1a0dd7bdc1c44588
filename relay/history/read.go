package history

import "crypto/rand"

// Now returns the newest point of a channel.
func (h *History[T]) Now(ch *Channel[T]) Point {
	if ord := h.markers.current(); ch.at.Ord != ord {
		return Point{Ord: ord}
	}
	return ch.at
}

// Resolve finds the point of a cursor. It is unknown if the cursor is of another server or another epoch, and if this
// relay does not know its marker: not yet, or no longer.
func (h *History[T]) Resolve(c Cursor) (p Point, known bool) {
	ord, known := h.markers.number[c.Marker]
	return Point{Ord: ord, Index: c.Index, Check: c.Check}, known && c.Node == h.node
}

// AppendCursor appends the cursor of a point in its wire form, or nothing if the history is off. The point's marker must
// be known.
func (h *History[T]) AppendCursor(b []byte, p Point) []byte {
	if !h.On() {
		return b
	}
	b, _ = Cursor{Node: h.node, Marker: h.markers.id(p.Ord), Index: p.Index, Check: p.Check}.AppendText(b) // it never fails
	return b
}

// MarkerCursor returns the cursor of the newest marker at or before seq that other relays know too, in its wire form, or
// nothing.
func (h *History[T]) MarkerCursor(seq uint64) []byte {
	id, ok := h.markers.passed(seq)
	if !ok || !h.On() {
		return nil
	}
	text, _ := Cursor{Node: h.node, Marker: id}.AppendText(nil) // it never fails
	return text
}

// UnknownCursor returns a cursor that no relay knows, so that no client can resume from it, or nothing if the history is
// off.
func (h *History[T]) UnknownCursor() []byte {
	if !h.On() {
		return nil
	}
	c := Cursor{Node: h.node}
	_, _ = rand.Read(c.Marker[:]) // it never fails: crypto/rand says so
	text, _ := c.AppendText(nil)
	return text
}

// Holds reports whether the entry at offset is still held.
func (h *History[T]) Holds(offset uint64) bool { return offset >= h.ring.head }

// Entry returns the entry at offset, which must be held.
func (h *History[T]) Entry(offset uint64) Entry { return h.ring.at(offset) }

// Payload appends the payload of the entry at offset, which must be held.
func (h *History[T]) Payload(b []byte, offset uint64, e Entry) []byte {
	return h.ring.payload(b, offset, e.Size)
}

// Next returns the offset of the entry that follows e, at offset, in its channel, or 0.
func (h *History[T]) Next(offset uint64, e Entry) uint64 { return h.ring.on(offset, e) }

// Previous returns the offset of the entry before e, at offset, in its channel, or 0 if that is not held.
func (h *History[T]) Previous(offset uint64, e Entry) uint64 { return h.ring.back(offset, e) }

// After returns the offset of the channel's first entry after the one at offset, which may have left the history, or 0.
func (h *History[T]) After(ch *Channel[T], offset uint64) uint64 {
	if h.Holds(offset) {
		return h.ring.on(offset, h.ring.at(offset))
	}
	return ch.oldest
}
