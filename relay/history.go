package relay

import (
	"hash/crc32"
	"hash/maphash"
	"time"
)

// channelCharge is about what a channel costs that nobody listens to, beside its name.
const channelCharge = 256

// markCharge is about what a mark costs.
const markCharge = 96

// A history knows where every channel is and what was said lately, as far as its bounds in bytes and age allow. What left
// it is remembered as floors: nobody can come back to a point below one. It belongs to a hub and is guarded by its mu.
type history struct {
	limit  int   // bytes; 0 keeps nothing, and then there are no cursors
	maxAge int64 // in the hub's time

	seq   uint64 // numbers everything that comes in
	clock int64  // the hub's time, about

	epoch    uint64 // counts the links to Redis
	node     uint32 // the server of this one
	marks    marks
	channels *channels // the hub's
	floor    uint64    // no channel that is not in channels was spoken on since this mark

	log   log
	slots []*channel // by the number that entries know them by
	free  []uint32   // numbers that nobody has
	names int        // bytes that channels count for of which something is held, or which linger

	// lingering are channels that would be forgotten, but were spoken on since the current mark: who speaks on them again
	// has to be counted on.
	lingering []*channel
}

func newHistory(limit int, maxAge time.Duration, channels *channels) history {
	h := history{limit: limit, maxAge: int64(maxAge), channels: channels, log: newLog(limit)}
	h.marks.reset(0, 0)
	return h
}

// on reports whether anything is kept at all.
func (h *history) on() bool { return h.limit > 0 }

// bytes returns what the history counts for.
func (h *history) bytes() int { return h.log.bytes() + h.names + len(h.marks.list)*markCharge }

// begin begins an epoch: nothing that was said before has to do with what comes.
func (h *history) begin(node uint32) {
	h.epoch++
	h.node = node
	h.marks.reset(h.seq, h.clock)
	h.log.reset()
	for _, ch := range h.slots {
		if ch != nil {
			h.vacate(ch)
		}
	}
	h.slots, h.free = nil, nil
	h.release()
}

// mark takes in a mark that other relays hear too.
func (h *history) mark(id MarkID) {
	h.marks.add(mark{id: id, seq: h.seq, at: h.clock})
	h.release()
	h.expire()
	h.room(0)
}

// part begins to count anew behind a mark that means nothing to other relays.
func (h *history) part() {
	h.marks.local(h.seq, h.clock)
	h.release()
}

// add takes in a message, or that there was one too large to be relayed.
func (h *history) add(ch *channel, payload []byte, empty bool) {
	ord := h.marks.current()
	if ch.at.ord != ord {
		ch.at = point{ord: ord}
	}
	ch.at.index++
	ch.at.check = chain(ch.at.check, payload, empty)

	if len(payload) > h.limit/2 {
		payload, empty = nil, true
	}
	e := entry{point: ch.at, size: uint32(len(payload)), age: age(h.clock), empty: empty}
	h.room(h.log.span(len(payload)) + channelCharge + len(ch.name))
	e.slot = h.enter(ch)
	newest := ch.newest
	if newest != 0 {
		e.back = uint32((h.log.next(h.log.tail) - newest) / 8)
	}
	ch.newest = h.log.append(e, payload)
	if newest != 0 {
		h.log.link(newest, ch.newest)
	} else {
		ch.oldest = ch.newest
	}
	if len(h.lingering) > h.limit/channelCharge/4 {
		h.part()
	}
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// chain is the check of what was said on a channel since a mark: CRC-32C over the length, 4 bytes in network order, and
// the payload of each message. One that was too large has the length 2^32-1 and no payload.
func chain(check uint32, payload []byte, empty bool) uint32 {
	size := uint32(len(payload))
	if empty {
		size, payload = 1<<32-1, nil
	}
	// Four bytes are done by hand sooner than by a call.
	check = ^check
	for shift := 24; shift >= 0; shift -= 8 {
		check = castagnoli[byte(check)^byte(size>>shift)] ^ check>>8
	}
	return crc32.Update(^check, castagnoli, payload)
}

// channel returns what is known of a channel, which is nothing yet if it is new.
func (h *history) channel(name string) *channel {
	ch, isNew := h.channels.add(maphash.String(h.channels.seed, name), name)
	if isNew {
		ch.floor = beyond(h.floor)
	}
	return ch
}

// enter gives a channel the number by which entries know it.
func (h *history) enter(ch *channel) uint32 {
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

// vacate takes the number from a channel of which nothing is held any more.
func (h *history) vacate(ch *channel) {
	h.slots[ch.slot] = nil
	h.free = append(h.free, ch.slot)
	ch.oldest, ch.newest = 0, 0
	h.settle(ch)
}

// settle forgets a channel if nobody listens to it and nothing of it is held, as soon as its count may be lost: when the
// next mark begins another.
func (h *history) settle(ch *channel) {
	switch {
	case ch.newest != 0:
	case ch.refs > 0:
		h.discharge(ch)
	case ch.at.ord < h.marks.current():
		h.discharge(ch)
		h.floor = max(h.floor, ch.at.ord)
		h.channels.remove(ch)
	case !ch.lingers:
		ch.lingers = true
		h.charge(ch)
		h.lingering = append(h.lingering, ch)
	}
}

// release settles the channels that waited for a mark.
func (h *history) release() {
	list := h.lingering
	h.lingering = nil
	for _, ch := range list {
		ch.lingers = false
		h.settle(ch)
	}
}

func (h *history) charge(ch *channel) {
	if !ch.charged {
		ch.charged = true
		h.names += channelCharge + len(ch.name)
	}
}

func (h *history) discharge(ch *channel) {
	if ch.charged {
		ch.charged = false
		h.names -= channelCharge + len(ch.name)
	}
}

// spare is how much more room is made than is needed, at most: messages that lie side by side are let go of faster in one
// go than each with one that comes.
const spare = 64 << 10

// room lets messages go until there is room for n bytes, or nothing is left.
func (h *history) room(n int) {
	if h.bytes()+n <= h.limit {
		return
	}
	n += min(spare, h.limit/64)
	for h.bytes()+n > h.limit && !h.log.empty() {
		h.evict()
	}
}

// evict lets the oldest message go.
func (h *history) evict() {
	e := h.log.at(h.log.head)
	ch := h.slots[e.slot]
	ch.floor = e.point
	if e.on == 0 {
		h.vacate(ch)
	} else {
		ch.oldest += uint64(e.on) * 8
	}
	h.log.drop(e.size)
}

// expire lets go of what is too old.
func (h *history) expire() {
	oldest := h.clock - h.maxAge
	if oldest > 0 {
		for !h.log.empty() && h.log.at(h.log.head).age < age(oldest) {
			h.evict()
		}
	}
	for len(h.marks.list) > maxMarks && !h.log.empty() && h.log.at(h.log.head).ord <= h.marks.first {
		h.evict()
	}
	needed := h.marks.current()
	if !h.log.empty() {
		needed = h.log.at(h.log.head).ord
	}
	h.marks.expire(oldest, needed)
}

// now is the newest point of a channel, which may be nil.
func (h *history) now(ch *channel) point {
	if ord := h.marks.current(); ch == nil || ch.at.ord != ord {
		return point{ord: ord}
	}
	return ch.at
}

// appendCursor appends a point as clients hold it, where there are cursors. Its mark has to be known.
func (h *history) appendCursor(b []byte, p point) []byte {
	if !h.on() {
		return b
	}
	b, _ = Cursor{Node: h.node, Mark: h.marks.id(p.ord), Index: p.index, Check: p.check}.AppendText(b) // it never fails
	return b
}

// point finds the place of a cursor. It is not known where another server, or another time of this one, is meant, and
// where this relay has not heard of its mark: yet, or any more.
func (h *history) point(c Cursor) (p point, known bool) {
	ord, known := h.marks.number[c.Mark]
	return point{ord: ord, index: c.Index, check: c.Check}, known && c.Node == h.node
}
