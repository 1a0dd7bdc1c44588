package relay

import "sidecast/relay/protocol"

const (
	// arrivalBatch is how many messages are taken in together.
	batchMessages = 16
	// arrivalCopy is how long a payload is at most that waits for others, in bytes: they are copied.
	batchCopyBytes = 1 << 10
)

// An arrival is something that came in on a channel. It is numbered and remembered first, and then, if anybody listens,
// handed to the shards.
type incoming struct {
	name, payload []byte
	large         bool // too large to be relayed: there is no payload
	hash          uint64

	// What is known once it was taken in.
	channel *channel // nil where nobody listens
	cursor  []byte   // where anybody wants one
	audience  audience
}

// wanted is who listens to a channel, and which number something on it has.
type audience struct {
	seq       uint64
	home      int32 // the shard that all of them are in; negative where they are in more
	protocols [protocol.NumProtocols]int32
	echoes    int32
}

// all is how many listen.
func (w *audience) total() (n int) {
	for _, k := range w.protocols {
		n += int(k)
	}
	return n
}

// arrivals are those that were not handed to the shards yet. They wait for each other, because the memory of many channels
// is fetched in little more time than that of one; never for longer than until the source has nothing more at once.
type batch struct {
	list    []incoming
	sequenced   int    // of list: taken in
	memory    []byte // names and payloads of list; what it grew out of may hold some too
	cursors []byte // the same
}

// add appends an arrival, and reports whether it and all others have to be taken in now.
func (a *batch) add(name, payload []byte, large bool, hash uint64) (now bool) {
	now = len(a.list)+1 >= batchMessages || len(payload) > batchCopyBytes
	if !now {
		name, payload = a.copy(name), a.copy(payload)
	}
	a.list = append(a.list, incoming{name: name, payload: payload, large: large, hash: hash})
	return now
}

func (a *batch) copy(b []byte) []byte {
	at := len(a.memory)
	a.memory = append(a.memory, b...)
	return a.memory[at:len(a.memory):len(a.memory)]
}

// clear returns all, and begins anew: they may be used until the next is added.
func (a *batch) clear() []incoming {
	list := a.list
	a.list, a.sequenced, a.memory, a.cursors = list[:0], 0, a.memory[:0], a.cursors[:0]
	return list
}

// Publish takes in one message. channel and payload are only valid during the call; where nobody listens to channel and
// no history is kept, nothing is allocated. The source calls it, and [Hub.Flush] when it has nothing more at once.
func (h *Hub) Publish(name, payload []byte) { h.receive(name, payload, false) }

// Oversize takes in that a message on the channel was too large to be relayed: its listeners get a gap in its place.
func (h *Hub) Oversize(name []byte) { h.receive(name, nil, true) }

func (h *Hub) receive(name, payload []byte, large bool) {
	hash := h.history.Hash(name)
	h.mu.Lock()
	if !h.history.On() && h.history.First(hash) == nil {
		h.history.Seq++ // nobody hears it, and nothing is kept: that needs no copy
		h.mu.Unlock()
		return
	}
	now := h.batch.add(name, payload, large, hash)
	h.mu.Unlock()
	if now {
		h.dispatch()
	}
}

// handOn takes in what has arrived, and hands it to the shards.
func (h *Hub) dispatch() {
	h.mu.Lock()
	h.sequenceLocked()
	list := h.batch.clear()
	h.mu.Unlock()
	for i := range list {
		if list[i].channel != nil {
			h.enqueue(&list[i])
		}
	}
	clear(list)
}

// lock locks the hub once everything is taken in that has arrived. Whoever joins or looks back needs that: what it does
// comes behind all that the source has brought before.
func (h *Hub) lockSequenced() {
	h.mu.Lock()
	h.sequenceLocked()
}

// takeLocked numbers and remembers what has arrived.
func (h *Hub) sequenceLocked() {
	a := &h.batch
	list := a.list[a.sequenced:]
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
		h.sequence(it)
	}
	a.sequenced = len(a.list)
}

// touch has the memory of the channels fetched into the caches. The processor waits for all of it at once, because no
// address depends on what another one holds. Some channels may be nil.
func (h *Hub) touch(list []incoming) {
	for i := range list {
		if ch := list[i].channel; ch != nil {
			h.history.Touched += ch.Touch() + uint64(ch.Hub.first.count.Load())
		}
	}
}

// take numbers and remembers what came in on a channel, which is known or nil.
func (h *Hub) sequence(it *incoming) {
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
	it.audience = audience{h.history.Seq, ch.Hub.home - 1, ch.Hub.protocols, ch.Hub.echoes}
	if ch.Hub.others.Load() != nil {
		it.audience.home = -1
	}
	if ch.Hub.protocols[protocol.V1ID] > 0 {
		at := len(h.batch.cursors)
		h.batch.cursors = h.history.AppendCursor(h.batch.cursors, ch.At())
		it.cursor = h.batch.cursors[at:]
	}
}

// collect makes an item of what was taken in, and gives it to the shards that have listeners.
func (h *Hub) enqueue(a *incoming) {
	it := item{kind: itemMessage, seq: a.audience.seq, channel: a.channel}
	if a.large {
		it.kind, it.reason = itemGap, protocol.GapTooLarge
		h.encodeEvent(&it, protocol.Event{Type: protocol.EventGap, Channel: a.channel.Name(), Reason: protocol.GapTooLarge, Cursor: a.cursor})
	} else {
		h.encodeMessage(&it, a)
	}
	if a.audience.home >= 0 {
		if n := a.audience.total(); n > 0 {
			h.shards[a.audience.home].collect(&it, n)
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
func (h *Hub) encodeMessage(it *item, a *incoming) {
	for id, n := range a.audience.protocols {
		if n > 0 {
			it.frames[id] = h.cfg.Protocols[id].Message(a.channel.Name(), a.cursor, a.payload)
		}
	}
	if a.audience.echoes > 0 {
		it.hash = h.hash(a.payload)
	}
}
