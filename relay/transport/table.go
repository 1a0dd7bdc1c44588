package transport

import "sync"

// A table has the clients of a loop. An event names a client by a tag: its slot,
// and how often the slot was used before. So an event that was on its way while
// its connection was closed never reaches the client that has the slot, or the
// descriptor, after that. A table is safe for concurrent use, and never shrinks.
type table struct {
	mu     sync.Mutex // guards the fields below
	chunks []*[chunk]tableEntry
	used   uint32 // slots that were used at some time
	free   uint32 // 1 + a free slot, which leads to the next one; 0 if there is none
}

// chunk is how many slots the table gets at a time: growing it copies nothing.
const chunk = 1024

type tableEntry struct {
	receiver   Receiver // nil if the slot is free
	generation uint32   // how many clients had the slot before
	next       uint32   // if it is free: 1 + the next free slot, or 0
}

func (t *table) entry(slot uint32) *tableEntry { return &t.chunks[slot/chunk][slot%chunk] }

// add adds a client and sets its tag.
func (t *table) add(r Receiver) {
	t.mu.Lock()
	defer t.mu.Unlock()
	slot := t.takeLocked()
	e := t.entry(slot)
	e.receiver = r
	r.base().polled.tag = uint64(e.generation)<<32 | uint64(slot)
}

func (t *table) takeLocked() (slot uint32) {
	if t.free != 0 {
		slot = t.free - 1
		t.free = t.entry(slot).next
		return slot
	}
	if t.used%chunk == 0 {
		t.chunks = append(t.chunks, new([chunk]tableEntry))
	}
	t.used++
	return t.used - 1
}

// find returns the client with a tag, or nil if it was removed.
func (t *table) find(tag uint64) Receiver {
	t.mu.Lock()
	defer t.mu.Unlock()
	if e := t.entry(uint32(tag)); e.generation == uint32(tag>>32) {
		return e.receiver
	}
	return nil
}

// remove removes the client with a tag.
func (t *table) remove(tag uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	slot := uint32(tag)
	*t.entry(slot) = tableEntry{generation: uint32(tag>>32) + 1, next: t.free}
	t.free = slot + 1
}
