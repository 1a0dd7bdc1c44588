package history

import "hash/maphash"

// A table finds channels by a hash of their names. A map with names as keys
// would have to read the name from the channel's memory before it returns the
// channel, and would wait for that memory.
type table[T any] struct {
	seed    maphash.Seed
	first   map[uint64]*Channel[T] // the first channel with a hash; the others follow in next
	removed uint64                 // number of channels that were removed
}

func newTable[T any]() table[T] {
	return table[T]{seed: maphash.MakeSeed(), first: make(map[uint64]*Channel[T])}
}

// find returns the channel with that name, or nil. hash is that of the name.
func (t *table[T]) find(hash uint64, name []byte) *Channel[T] { return t.first[hash].Named(name) }

// Named returns the channel with that name among ch and the channels that have
// the same hash, or nil. ch may be nil.
func (ch *Channel[T]) Named(name []byte) *Channel[T] {
	for ch != nil && ch.name != string(name) {
		ch = ch.next
	}
	return ch
}

// add returns the channel with that name, and whether it is new. hash is that
// of the name.
func (t *table[T]) add(hash uint64, name string) (ch *Channel[T], isNew bool) {
	first := t.first[hash]
	if ch = first.Named([]byte(name)); ch != nil {
		return ch, false
	}
	ch = newChannel[T](name)
	ch.hash, ch.next = hash, first
	t.first[hash] = ch
	return ch, true
}

// remove removes a channel if the table has it.
func (t *table[T]) remove(ch *Channel[T]) {
	t.removed++
	before := t.first[ch.hash]
	switch {
	case before != ch:
		for before != nil && before.next != ch {
			before = before.next
		}
		if before != nil {
			before.next = ch.next
		}
	case ch.next == nil:
		delete(t.first, ch.hash)
	default:
		t.first[ch.hash] = ch.next
	}
}
