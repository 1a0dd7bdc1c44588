package outbox

import (
	"container/heap"
	"unsafe"
)

// A frameID identifies a frame that outboxes share: by its memory, because a
// frame does not change. Frames with the same bytes at different places are
// different frames. The budget's map keeps the memory alive, so no other frame
// gets the same ID.
type frameID struct {
	first *byte
	size  int
}

// A frameUse counts the queue entries of one frame.
type frameUse struct {
	entries uint32
	replays uint32 // those that a replay queued
	// ids is the XOR of the holdings' IDs, one for each entry. So if there is
	// one entry, it is the ID of its holding, without a list of all of them. (A
	// frame that is twice in one queue counts as shared until one is sent.)
	ids uint32
}

// holdFrame counts an entry in h's queue, and adds what changes to change. The
// budget is locked.
func (b *Budget) holdFrame(h *holding, q *queued, change *holdingChange) {
	size := len(q.frame)
	change.bytes += size + FrameCharge
	change.exclusive += FrameCharge
	change.used += FrameCharge
	if q.replay {
		change.replay += FrameCharge
	}
	if size == 0 {
		return
	}
	id := frameID{unsafe.SliceData(q.frame), size}
	use := b.frames[id]
	switch use.entries {
	case 0:
		change.exclusive += size
		change.used += size
	case 1:
		b.changeExclusive(use.ids, -size, h, change)
	}
	if q.replay {
		if use.replays == 0 {
			change.replay += size
		}
		use.replays++
	}
	use.entries++
	use.ids ^= h.id
	b.frames[id] = use
}

// releaseFrame reverts holdFrame.
func (b *Budget) releaseFrame(h *holding, q *queued, change *holdingChange) {
	size := len(q.frame)
	change.bytes -= size + FrameCharge
	change.exclusive -= FrameCharge
	change.used -= FrameCharge
	if q.replay {
		change.replay -= FrameCharge
	}
	if size == 0 {
		return
	}
	id := frameID{unsafe.SliceData(q.frame), size}
	use := b.frames[id]
	use.entries--
	use.ids ^= h.id
	if q.replay {
		use.replays--
		if use.replays == 0 {
			change.replay -= size
		}
	}
	switch use.entries {
	case 0:
		change.exclusive -= size
		change.used -= size
		delete(b.frames, id)
		return
	case 1:
		b.changeExclusive(use.ids, size, h, change)
	}
	b.frames[id] = use
}

// changeExclusive adds n to the exclusive bytes of the holding with an ID. For
// h, whose call is not finished, it adds n to change.
func (b *Budget) changeExclusive(id uint32, n int, h *holding, change *holdingChange) {
	if id == h.id {
		change.exclusive += n
		return
	}
	other := b.byID[id]
	other.exclusive += n
	heap.Fix(&b.largest, other.index)
}
