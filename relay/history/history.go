package history

import (
	"hash/crc32"
	"hash/maphash"
	"time"
)

// channelCharge is about what a channel without subscribers costs, in bytes beyond its name.
const channelCharge = 256

// markerCharge is about what a marker costs, in bytes.
const markerCharge = 96

// A History knows every channel's newest message, and holds recent messages within bounds in bytes and age. What left it
// is remembered as floors: a client cannot resume from a point below one. T is the owner's part of each channel.
type History[T any] struct {
	limit  int   // bytes; 0 keeps nothing, and then there are no cursors
	maxAge int64 // in the hub's time

	// Seq numbers everything that arrives. The owner increments it for each item.
	Seq uint64
	// Touched keeps the compiler from omitting the reads of [Channel.Touch].
	Touched uint64

	clock   int64  // the hub's time, about
	epoch   uint64 // counts the links to Redis
	node    uint32 // the server of this one
	markers markers
	table   table[T]
	floor   uint64 // no channel outside the table has had a message since this marker

	ring  ring
	slots []*Channel[T] // by the number that entries know them by
	free  []uint32      // unused numbers
	names int           // bytes charged for channels that hold messages or linger

	// lingering are channels without subscribers and messages that had a message since the current marker: the next one
	// must be counted from there.
	lingering []*Channel[T]
}

// New returns an empty history of limit bytes, 0 for none, and of messages up to maxAge.
func New[T any](limit int, maxAge time.Duration) *History[T] {
	h := &History[T]{limit: limit, maxAge: int64(maxAge), table: newTable[T](), ring: newRing(limit)}
	h.markers.reset(0, 0)
	return h
}

// On reports whether the history keeps messages. If not, there are no cursors.
func (h *History[T]) On() bool { return h.limit > 0 }

// Bytes returns what the history is charged for, in bytes.
func (h *History[T]) Bytes() int {
	return h.ring.bytes() + h.names + len(h.markers.list)*markerCharge
}

// Epoch returns the number of the current link to Redis. Points of different epochs have nothing in common.
func (h *History[T]) Epoch() uint64 { return h.epoch }

// Begin begins an epoch: earlier messages have no relation to those that follow. node identifies the Redis server.
func (h *History[T]) Begin(node uint32) {
	h.epoch++
	h.node = node
	h.markers.reset(h.Seq, h.clock)
	h.ring.reset()
	for _, ch := range h.slots {
		if ch != nil {
			h.freeSlot(ch)
		}
	}
	h.slots, h.free = nil, nil
	h.reapLingering()
}

// Mark adds a marker that other relays receive too.
func (h *History[T]) Mark(id MarkerID) {
	h.markers.add(marker{id: id, seq: h.Seq, at: h.clock})
	h.reapLingering()
	h.expire()
	h.evictFor(0)
}

// Break starts counting anew from a marker that means nothing to other relays.
func (h *History[T]) Break() {
	h.markers.local(h.Seq, h.clock)
	h.reapLingering()
}

// Expire sets the time and drops what is too old.
func (h *History[T]) Expire(now int64) {
	h.clock = now
	h.expire()
}

// Add adds a message, or, if empty, notes that there was one too large to be relayed.
func (h *History[T]) Add(ch *Channel[T], payload []byte, empty bool) {
	ord := h.markers.current()
	if ch.at.Ord != ord {
		ch.at = Point{Ord: ord}
	}
	ch.at.Index++
	ch.at.Check = chain(ch.at.Check, payload, empty)

	if len(payload) > h.limit/2 {
		payload, empty = nil, true
	}
	e := Entry{Point: ch.at, Size: uint32(len(payload)), age: age(h.clock), Empty: empty}
	h.evictFor(h.ring.span(len(payload)) + channelCharge + len(ch.name))
	e.slot = h.takeSlot(ch)
	newest := ch.newest
	if newest != 0 {
		e.back = uint32((h.ring.next(h.ring.tail) - newest) / 8)
	}
	ch.newest = h.ring.append(e, payload)
	if newest != 0 {
		h.ring.link(newest, ch.newest)
	} else {
		ch.oldest = ch.newest
	}
	if len(h.lingering) > h.limit/channelCharge/4 {
		h.Break()
	}
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// chain extends the check of a channel's messages since a marker: CRC-32C over the length, 4 bytes in network order, and
// the payload of each message. A message that was too large has the length 2^32-1 and no payload.
func chain(check uint32, payload []byte, empty bool) uint32 {
	size := uint32(len(payload))
	if empty {
		size, payload = 1<<32-1, nil
	}
	// For four bytes a loop is faster than a call.
	check = ^check
	for shift := 24; shift >= 0; shift -= 8 {
		check = castagnoli[byte(check)^byte(size>>shift)] ^ check>>8
	}
	return crc32.Update(^check, castagnoli, payload)
}

// Hash returns the hash under which a name is found. It needs no lock.
func (h *History[T]) Hash(name []byte) uint64 { return maphash.Bytes(h.table.seed, name) }

// First returns a channel with that hash, or nil. [Channel.Named] finds the one with the right name.
func (h *History[T]) First(hash uint64) *Channel[T] { return h.table.first[hash] }

// Find returns the channel with that name and its hash, or nil.
func (h *History[T]) Find(hash uint64, name []byte) *Channel[T] { return h.table.find(hash, name) }

// Removed counts the channels that were removed. If it is unchanged, channels that First returned are still there.
func (h *History[T]) Removed() uint64 { return h.table.removed }

// Channel returns a channel, and adds it if it is new.
func (h *History[T]) Channel(name string) *Channel[T] {
	ch, isNew := h.table.add(maphash.String(h.table.seed, name), name)
	if isNew {
		ch.floor = lastBefore(h.floor)
	}
	return ch
}

// takeSlot gives a channel the number by which entries know it.
func (h *History[T]) takeSlot(ch *Channel[T]) uint32 {
	if ch.newest != 0 {
		return ch.slot
	}
	h.charge(ch)
	if last := len(h.free) - 1; last >= 0 {
		ch.slot, h.free = h.free[last], h.free[:last]
		h.slots[ch.slot] = ch
		return ch.slot
	}
	ch.slot = uint32(len(h.slots))
	h.slots = append(h.slots, ch)
	return ch.slot
}

// freeSlot takes the number from a channel that holds no messages any more.
func (h *History[T]) freeSlot(ch *Channel[T]) {
	h.slots[ch.slot] = nil
	h.free = append(h.free, ch.slot)
	ch.oldest, ch.newest = 0, 0
	h.Release(ch)
}

// Release removes a channel if nothing refers to it and it holds no messages. If there was a message since the current
// marker, it waits for the next one, because the count since the marker would be lost.
func (h *History[T]) Release(ch *Channel[T]) {
	switch {
	case ch.newest != 0:
	case ch.Refs > 0:
		h.discharge(ch)
	case ch.at.Ord < h.markers.current():
		h.discharge(ch)
		h.floor = max(h.floor, ch.at.Ord)
		h.table.remove(ch)
	case !ch.lingers:
		ch.lingers = true
		h.charge(ch)
		h.lingering = append(h.lingering, ch)
	}
}

// reapLingering releases the channels that waited for a marker.
func (h *History[T]) reapLingering() {
	list := h.lingering
	h.lingering = nil
	for _, ch := range list {
		ch.lingers = false
		h.Release(ch)
	}
}

func (h *History[T]) charge(ch *Channel[T]) {
	if !ch.charged {
		ch.charged = true
		h.names += channelCharge + len(ch.name)
	}
}

func (h *History[T]) discharge(ch *Channel[T]) {
	if ch.charged {
		ch.charged = false
		h.names -= channelCharge + len(ch.name)
	}
}

// spare bounds how much more room evictFor makes than it was asked for: messages that are adjacent are evicted faster
// together than one for each new message.
const spare = 64 << 10

// evictFor evicts messages until there is room for n bytes, or nothing is left.
func (h *History[T]) evictFor(n int) {
	if h.Bytes()+n <= h.limit {
		return
	}
	n += min(spare, h.limit/64)
	for h.Bytes()+n > h.limit && !h.ring.empty() {
		h.evict()
	}
}

// evict drops the oldest message.
func (h *History[T]) evict() {
	e := h.ring.at(h.ring.head)
	ch := h.slots[e.slot]
	ch.floor = e.Point
	if e.on == 0 {
		h.freeSlot(ch)
	} else {
		ch.oldest += uint64(e.on) * 8
	}
	h.ring.drop(e.Size)
}

// expire drops what is too old.
func (h *History[T]) expire() {
	oldest := h.clock - h.maxAge
	if oldest > 0 {
		for !h.ring.empty() && h.ring.at(h.ring.head).age < age(oldest) {
			h.evict()
		}
	}
	for len(h.markers.list) > maxMarkers && !h.ring.empty() && h.ring.at(h.ring.head).Ord <= h.markers.first {
		h.evict()
	}
	needed := h.markers.current()
	if !h.ring.empty() {
		needed = h.ring.at(h.ring.head).Ord
	}
	h.markers.expire(oldest, needed)
}
