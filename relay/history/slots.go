package history

// takeSlot returns the channel's slot number, and assigns one if the channel
// holds no messages yet.
func (h *History[T]) takeSlot(ch *Channel[T]) uint32 {
	if ch.newest != 0 {
		return ch.slot
	}
	h.charge(ch)
	if last := len(h.unusedSlots) - 1; last >= 0 {
		ch.slot, h.unusedSlots = h.unusedSlots[last], h.unusedSlots[:last]
		h.channels[ch.slot] = ch
		return ch.slot
	}
	ch.slot = uint32(len(h.channels))
	h.channels = append(h.channels, ch)
	return ch.slot
}

// freeSlot frees the slot number of a channel that holds no messages any more.
func (h *History[T]) freeSlot(ch *Channel[T]) {
	h.channels[ch.slot] = nil
	h.unusedSlots = append(h.unusedSlots, ch.slot)
	ch.oldest, ch.newest = 0, 0
	if ch.index != nil {
		h.channelBytes -= len(ch.index.held()) * pageCharge
		ch.index.pages, ch.index.dropped = nil, 0
	}
	h.Release(ch)
}

// Release removes a channel if nothing refers to it and it holds no messages.
// If it had a message since the current marker, it is removed after the next
// marker, because the count since the marker would be lost.
func (h *History[T]) Release(ch *Channel[T]) {
	switch {
	case ch.newest != 0:
	case ch.Refs > 0:
		h.discharge(ch)
	case ch.lastOrd < h.markers.current():
		h.discharge(ch)
		h.floor = max(h.floor, ch.lastOrd)
		h.table.remove(ch)
	case !ch.lingering:
		ch.lingering = true
		h.charge(ch)
		h.lingering = append(h.lingering, ch)
	}
}

// reapLingering releases the channels that stayed until a new marker.
func (h *History[T]) reapLingering() {
	list := h.lingering
	h.lingering = nil
	for _, ch := range list {
		ch.lingering = false
		h.Release(ch)
	}
}

func (h *History[T]) charge(ch *Channel[T]) {
	if !ch.charged {
		ch.charged = true
		h.channelBytes += channelCharge + len(ch.name)
	}
}

func (h *History[T]) discharge(ch *Channel[T]) {
	if ch.charged {
		ch.charged = false
		h.channelBytes -= channelCharge + len(ch.name)
	}
}
