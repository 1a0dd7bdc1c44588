package relay

import "sidecast/relay/protocol"

const (
	// arrivalBatch is how many messages are taken in together.
	arrivalBatch = 16
	// arrivalCopy is how long a payload is at most that waits for others, in bytes: they are copied.
	arrivalCopy = 1 << 10
)

// An arrival is something that came in on a channel. It is numbered and remembered first, and then, if anybody listens,
// handed to the shards.
type arrival struct {
	name, payload []byte
	large         bool // too large to be relayed: there is no payload
	hash          uint64

	// What is known once it was taken in.
	channel *channel // nil where nobody listens
	cursor  []byte   // where anybody wants one
	wanted  wanted
}

// wanted is who listens to a channel, and which number something on it has.
type wanted struct {
	seq       uint64
	home      int32 // the shard that all of them are in; negative where they are in more
	protocols [protocol.NumProtocols]int32
	echoes    int32
}

// all is how many listen.
func (w *wanted) all() (n int) {
	for _, k := range w.protocols {
		n += int(k)
	}
	return n
}

// arrivals are those that were not handed to the shards yet. They wait for each other, because the memory of many channels
// is fetched in little more time than that of one; never for longer than until the source has nothing more at once.
type arrivals struct {
	list    []arrival
	taken   int    // of list: taken in
	text    []byte // names and payloads of list; what it grew out of may hold some too
	cursors []byte // the same
}

// add appends an arrival, and reports whether it and all others have to be taken in now.
func (a *arrivals) add(name, payload []byte, large bool, hash uint64) (now bool) {
	now = len(a.list)+1 >= arrivalBatch || len(payload) > arrivalCopy
	if !now {
		name, payload = a.copy(name), a.copy(payload)
	}
	a.list = append(a.list, arrival{name: name, payload: payload, large: large, hash: hash})
	return now
}

func (a *arrivals) copy(b []byte) []byte {
	at := len(a.text)
	a.text = append(a.text, b...)
	return a.text[at:len(a.text):len(a.text)]
}

// clear returns all, and begins anew: they may be used until the next is added.
func (a *arrivals) clear() []arrival {
	list := a.list
	a.list, a.taken, a.text, a.cursors = list[:0], 0, a.text[:0], a.cursors[:0]
	return list
}

// Publish takes in one message. channel and payload are only valid during the call; where nobody listens to channel and
// no history is kept, nothing is allocated. The source calls it, and [Hub.Flush] when it has nothing more at once.
func (h *Hub) Publish(name, payload []byte) { h.arrive(name, payload, false) }

// Oversize takes in that a message on the channel was too large to be relayed: its listeners get a gap in its place.
func (h *Hub) Oversize(name []byte) { h.arrive(name, nil, true) }

func (h *Hub) arrive(name, payload []byte, large bool) {
	hash := h.history.Hash(name)
	h.mu.Lock()
	if !h.history.On() && h.history.First(hash) == nil {
		h.history.Seq++ // nobody hears it, and nothing is kept: that needs no copy
		h.mu.Unlock()
		return
	}
	now := h.arrivals.add(name, payload, large, hash)
	h.mu.Unlock()
	if now {
		h.handOn()
	}
}

// handOn takes in what has arrived, and hands it to the shards.
func (h *Hub) handOn() {
	h.mu.Lock()
	h.takeLocked()
	list := h.arrivals.clear()
	h.mu.Unlock()
	for i := range list {
		if list[i].channel != nil {
			h.collect(&list[i])
		}
	}
	clear(list)
}

// lock locks the hub once everything is taken in that has arrived. Whoever joins or looks back needs that: what it does
// comes behind all that the source has brought before.
func (h *Hub) lock() {
	h.mu.Lock()
	h.takeLocked()
}

// takeLocked numbers and remembers what has arrived.
func (h *Hub) takeLocked() {
	a := &h.arrivals
	list := a.list[a.taken:]
	for i := range list {
		list[i].channel = h.history.First(list[i].hash)
	}
	h.touch(list)
	removed := h.history.Removed()
	for i := range list {
		it := &list[i]
		if removed == h.history.Removed() {
			it.channel = it.channel.Named(it.name)
		} else {
			it.channel = h.history.Find(it.hash, it.name) // the one that was found may be gone
		}
		h.take(it)
	}
	a.taken = len(a.list)
}

// touch has the memory of the channels fetched into the caches. The processor waits for all of it at once, because no
// address depends on what another one holds. Some channels may be nil.
func (h *Hub) touch(list []arrival) {
	for i := range list {
		if ch := list[i].channel; ch != nil {
			h.history.Touched += ch.Touch() + uint64(ch.Hub.first.count.Load())
		}
	}
}

// take numbers and remembers what came in on a channel, which is known or nil.
func (h *Hub) take(it *arrival) {
	h.history.Seq++
	if h.history.On() {
		if it.channel == nil {
			it.channel = h.history.Channel(string(it.name))
		}
		h.history.Add(it.channel, it.payload, it.large)
	}
	ch := it.channel
	if ch == nil || ch.Refs == 0 {
		it.channel = nil
		return
	}
	it.wanted = wanted{h.history.Seq, ch.Hub.home - 1, ch.Hub.protocols, ch.Hub.echoes}
	if ch.Hub.others.Load() != nil {
		it.wanted.home = -1
	}
	if ch.Hub.protocols[protocol.V1ID] > 0 {
		at := len(h.arrivals.cursors)
		h.arrivals.cursors = h.history.AppendCursor(h.arrivals.cursors, ch.At())
		it.cursor = h.arrivals.cursors[at:]
	}
}

// collect makes an item of what was taken in, and gives it to the shards that have listeners.
func (h *Hub) collect(a *arrival) {
	it := item{kind: itemMessage, seq: a.wanted.seq, channel: a.channel}
	if a.large {
		it.kind, it.reason = itemGap, protocol.GapTooLarge
		h.encode(&it, protocol.Event{Type: protocol.EventGap, Channel: a.channel.Name(), Reason: protocol.GapTooLarge, Cursor: a.cursor})
	} else {
		h.frame(&it, a)
	}
	if a.wanted.home >= 0 {
		if n := a.wanted.all(); n > 0 {
			h.shards[a.wanted.home].collect(&it, n)
		}
		return
	}
	for i, s := range h.shards {
		if n := a.channel.Hub.in(i).count.Load(); n > 0 {
			s.collect(&it, int(n))
		}
	}
}

// frame encodes a message once for each protocol that is listened with.
func (h *Hub) frame(it *item, a *arrival) {
	for id, n := range a.wanted.protocols {
		if n > 0 {
			it.frames[id] = h.cfg.Protocols[id].Message(a.channel.Name(), a.cursor, a.payload)
		}
	}
	if a.wanted.echoes > 0 {
		it.hash = h.hash(a.payload)
	}
}
