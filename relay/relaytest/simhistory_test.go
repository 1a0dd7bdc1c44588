package relaytest

import (
	"fmt"
	"hash/crc32"
	"strconv"
	"strings"
	"time"
)

// simPos is a position in this relay's order: behind the marker with this number, and so many messages of the channel
// since. check is of these messages.
type simPos struct {
	ord, index int
	check      uint32
}

func (p simPos) before(o simPos) bool { return p.ord < o.ord || p.ord == o.ord && p.index < o.index }

// simHistory is what a relay remembers of a channel.
type simHistory struct {
	last   simPos
	spoken time.Duration // when that came
	floor  simPos        // whatever lies behind it is still there
	held   []simEntry
}

type simEntry struct {
	seq             int
	pos             simPos
	cursor, payload string
	large           bool
}

func (r *simRelay) message(item simItem) {
	h := r.of(item.channel)
	if h.last.ord != r.ord {
		h.last = simPos{ord: r.ord}
	}
	h.last.index++
	if r.place == 1 && r.w.miscounts > 0 && r.w.oneIn(r.w.miscounts) {
		h.last.index++
	}
	h.last.check = item.chain(h.last.check)
	h.spoken = r.w.now
	cursor := r.encode(r.cur, h.last)
	seq := r.post(simPost{simItem: item, cursor: cursor})
	if item.large && r.w.is("no tombstone") {
		return
	}
	h.held = append(h.held, simEntry{seq: seq, pos: h.last, cursor: cursor, payload: item.payload, large: item.large})
	if len(h.held) > r.w.ring {
		h.floor = h.held[0].pos
		h.held = h.held[1:]
	}
}

// chain is the check behind the item. One that is too large counts, too, although its payload is nowhere.
func (item simItem) chain(check uint32) uint32 {
	if item.large {
		return crc32.Update(check, castagnoli, []byte("large"))
	}
	return crc32.Update(check, castagnoli, fmt.Appendf(nil, "%d:%s", len(item.payload), item.payload))
}

// forget lets go of channels that were not spoken on for long, but not while their count goes on.
func (r *simRelay) forget() {
	if r.w.forget == 0 {
		return
	}
	for channel, h := range r.history {
		if h.last.ord == r.ord || r.w.now-h.spoken < r.w.forget {
			continue
		}
		delete(r.history, channel)
		if floor := (simPos{ord: h.last.ord + 1}); r.floor.before(floor) && !r.w.is("forgets that it forgot") {
			r.floor = floor
		}
	}
}

func (r *simRelay) of(channel string) *simHistory {
	h := r.history[channel]
	if h == nil {
		h = &simHistory{floor: r.floor}
		r.history[channel] = h
	}
	return h
}

func (r *simRelay) encode(mark string, p simPos) string {
	return fmt.Sprintf("%s/%s/%d/%x", r.node.id, mark, p.index, p.check)
}

// decode finds a cursor's place in this relay's order, if it knows the marker.
func (r *simRelay) decode(cursor string) (simPos, bool) {
	parts := strings.Split(cursor, "/")
	if len(parts) != 4 || parts[0] != r.node.id && !r.w.is("node ignored") {
		return simPos{}, false
	}
	ord, known := r.marks[parts[1]]
	index, err := strconv.Atoi(parts[2])
	check, err2 := strconv.ParseUint(parts[3], 16, 32)
	return simPos{ord, index, uint32(check)}, known && err == nil && err2 == nil
}

// agrees reports whether the check of p is that of the message there, as far as there can be one: if not, the cursor was
// given by somebody who heard other messages than this relay.
func (h *simHistory) agrees(p simPos) bool {
	if p.index == 0 || p.before(h.floor) {
		return true
	}
	last := h.floor
	for _, e := range h.held {
		if p.before(e.pos) {
			break
		}
		last = e.pos
	}
	return p == last
}
