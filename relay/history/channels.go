package history

import "hash/maphash"

// Hash returns the hash of a channel name for First and Find. It may be called
// concurrently.
func (h *History[T]) Hash(name []byte) uint64 { return maphash.Bytes(h.table.seed, name) }

// First returns a channel whose name has that hash, or nil. [Channel.Named]
// finds the one with the right name.
func (h *History[T]) First(hash uint64) *Channel[T] { return h.table.first[hash] }

// Find returns the channel with that name and its hash, or nil.
func (h *History[T]) Find(hash uint64, name []byte) *Channel[T] { return h.table.find(hash, name) }

// Removed returns how many channels were removed. While it does not change,
// channels that First returned are still valid.
func (h *History[T]) Removed() uint64 { return h.table.removed }

// Channel returns the channel with that name, and adds it if it is new.
func (h *History[T]) Channel(name string) *Channel[T] {
	ch, isNew := h.table.add(maphash.String(h.table.seed, name), name)
	if isNew {
		ch.floor = lastBefore(h.floor)
	}
	return ch
}

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
	case ch.last.Ord < h.markers.current():
		h.discharge(ch)
		h.floor = max(h.floor, ch.last.Ord)
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
