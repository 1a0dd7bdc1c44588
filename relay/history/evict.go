package history

// evictExtra bounds how many bytes more than requested evictFor frees: evicting
// many adjacent messages at once is faster than evicting one for each new
// message.
const evictExtra = 64 << 10

// evictFor evicts the oldest messages until n more bytes fit, or no message is
// left.
func (h *History[T]) evictFor(n int) {
	if h.Bytes()+n <= h.limit {
		return
	}
	n += min(evictExtra, h.limit/64)
	for h.Bytes()+n > h.limit && !h.ring.empty() {
		h.evict()
	}
}

// evict drops the oldest message. There must be one.
func (h *History[T]) evict() {
	e := h.ring.entry(h.ring.head)
	ch := h.channels[e.slot]
	ch.floor = e.Point
	if e.stepsOn == 0 {
		h.freeSlot(ch)
	} else {
		ch.oldest += uint64(e.stepsOn) * 8
		h.dropPages(ch)
	}
	h.ring.dropOldest(e.Size)
}

// expire drops messages and markers that are too old, and messages whose
// markers exceed the bound.
func (h *History[T]) expire() {
	oldest := h.clock - h.maxAge
	if oldest > 0 {
		for !h.ring.empty() && h.ring.entry(h.ring.head).storedAt < seconds(oldest) {
			h.evict()
		}
	}
	for len(h.markers.list) > maxMarkers && !h.ring.empty() && h.ring.entry(h.ring.head).Ord <= h.markers.firstOrd {
		h.evict()
	}
	needed := h.markers.current()
	if !h.ring.empty() {
		needed = h.ring.entry(h.ring.head).Ord
	}
	h.markers.expire(oldest, needed)
}
