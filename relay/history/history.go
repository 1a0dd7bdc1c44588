package history

import (
	"hash/crc32"
	"hash/maphash"
	"time"
)

// channelCharge is the approximate memory of a channel without subscribers, in
// bytes, without its name.
const channelCharge = 256

// markerCharge is the approximate memory of a marker, in bytes.
const markerCharge = 96

// A Seq numbers everything that the relay receives from Redis and orders it:
// messages on live channels, markers and changes of the connection. Each relay
// counts for itself, from 1. It has no relation to the Seq of package stream.
type Seq uint64

// A History holds recent messages of all channels within bounds in bytes and
// age, and the newest [Point] of every channel. For messages that have left it,
// it keeps a floor: a client cannot resume from a point before the floor. T is
// the owner's part of each channel.
type History[T any] struct {
	limit  int   // bytes; 0 if messages are not kept, and then there are no cursors
	maxAge int64 // nanoseconds

	// Seq is the number of the last item that was received. The owner
	// increments it for each item.
	Seq Seq
	// Touched keeps the compiler from omitting the reads of [Channel.Touch].
	Touched uint64

	clock   int64  // the time of the last Expire, in nanoseconds
	epoch   uint64 // counts the connections to Redis
	node    uint32 // the server of the current connection
	markers markers
	table   table[T]
	floor   uint64 // no message of a channel outside the table is counted from a later marker than this

	ring         ring
	channels     []*Channel[T] // by slot number, which entries contain; nil if unused
	unusedSlots  []uint32      // slot numbers to reuse
	channelBytes int           // bytes charged for channels that hold messages or linger
	walked       uint64        // messages that Locate has read

	// lingering are channels without subscribers and kept messages that had a
	// message since the current marker. They stay because their next message
	// must be counted from that marker.
	lingering []*Channel[T]
}

// New returns an empty history that keeps messages for up to maxAge, in limit
// bytes. If limit is 0, it keeps no messages.
func New[T any](limit int, maxAge time.Duration) *History[T] {
	h := &History[T]{limit: limit, maxAge: int64(maxAge), table: newTable[T](), ring: newRing(limit)}
	h.markers.firstOrd = 1 // a channel without messages has a Point before it
	h.markers.reset(0, 0)
	return h
}

// On reports whether the history keeps messages. If not, there are no cursors.
func (h *History[T]) On() bool { return h.limit > 0 }

// Bytes returns how many bytes the history counts for.
func (h *History[T]) Bytes() int {
	return h.ring.bytes() + h.channelBytes + len(h.markers.list)*markerCharge
}

// Epoch returns the number of the current connection to Redis. Points of
// different epochs cannot be compared.
func (h *History[T]) Epoch() uint64 { return h.epoch }

// Begin begins an epoch and drops all messages: messages may have been lost
// before the next one. node identifies the Redis server.
func (h *History[T]) Begin(node uint32) {
	h.epoch++
	h.node = node
	h.markers.reset(h.Seq, h.clock)
	h.ring.reset()
	for _, ch := range h.channels {
		if ch != nil {
			h.freeSlot(ch)
		}
	}
	h.channels, h.unusedSlots = nil, nil
	h.reapLingering()
}

// Mark adds a marker that other relays receive too.
func (h *History[T]) Mark(id MarkerID) {
	h.markers.add(marker{id: id, seq: h.Seq, arrived: h.clock})
	h.reapLingering()
	h.expire()
	h.evictFor(0)
}

// Break starts to count from a new marker that only this relay knows.
func (h *History[T]) Break() {
	h.markers.addLocal(h.Seq, h.clock)
	h.reapLingering()
}

// Expire sets the time, in nanoseconds, and drops messages and markers that are
// too old.
func (h *History[T]) Expire(now int64) {
	h.clock = now
	h.expire()
}

// Add adds a message. empty says that the message was too large to be relayed;
// then payload must be empty.
func (h *History[T]) Add(ch *Channel[T], payload []byte, empty bool) {
	ord := h.markers.current()
	if ch.lastOrd != ord {
		ch.lastOrd, ch.lastIndex, ch.lastCheck = ord, 0, 0
	}
	ch.lastIndex++
	ch.lastCheck = chain(ch.lastCheck, payload, empty)

	if len(payload) > h.limit/2 {
		payload, empty = nil, true
	}
	if empty {
		ch.indexOf().missing = ch.At()
	}
	e := Entry{Point: ch.At(), Size: uint32(len(payload)), storedAt: seconds(h.clock), Empty: empty}
	h.evictFor(h.ring.span(len(payload)) + channelCharge + len(ch.name))
	e.slot = h.takeSlot(ch)
	newest := ch.newest
	ch.newest = h.ring.append(e, payload)
	if newest != 0 {
		h.ring.link(newest, ch.newest)
	} else {
		ch.oldest, ch.pageBytes = ch.newest, 0
	}
	h.extendPage(ch, len(payload))
	if len(h.lingering) > h.limit/channelCharge/4 {
		h.Break()
	}
}

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

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// chain extends the check of a channel's messages since a marker: the CRC-32C
// over the length, as 4 bytes in network order, and the payload of each
// message. A message that was too large has the length 2^32-1 and no payload.
func chain(check uint32, payload []byte, empty bool) uint32 {
	size := uint32(len(payload))
	if empty {
		size, payload = 1<<32-1, nil
	}
	// For four bytes a loop is faster than crc32.Update.
	check = ^check
	for shift := 24; shift >= 0; shift -= 8 {
		check = castagnoli[byte(check)^byte(size>>shift)] ^ check>>8
	}
	return crc32.Update(^check, castagnoli, payload)
}
