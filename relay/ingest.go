package relay

import (
	"sidecast/relay/history"
	"sidecast/relay/protocol"
)

const (
	// batchMessages is how many messages are sequenced together.
	batchMessages = 16
	// batchCopyBytes is the size of the largest payload that waits for others:
	// such payloads are copied.
	batchCopyBytes = 1 << 10
)

// An incoming is one message from Redis. The hub sequences it first, which
// numbers it and adds it to the history, and then, if the channel has
// subscribers, enqueues it for their shards.
type incoming struct {
	name, payload []byte
	large         bool // too large to be relayed: there is no payload
	hash          uint64

	// Set when it is sequenced.
	channel  *channel // nil if there are no subscribers
	cursor   []byte   // nil if no subscriber uses cursors
	audience audience
}

// An audience is the number of a message and who subscribed to its channel at
// that moment.
type audience struct {
	seq       history.Seq
	home      int32 // the shard of all subscribers; negative if they are in several
	protocols [protocol.NumProtocols]int32
	echoes    int32 // subscribers that may have to skip the message
}

// total returns the number of subscribers.
func (a *audience) total() (n int) {
	for _, k := range a.protocols {
		n += int(k)
	}
	return n
}

// A batch holds messages that were not enqueued yet. They wait for each other,
// because fetching the memory of many channels takes little longer than that of
// one; never for longer than until the source has nothing more at once.
type batch struct {
	list      []incoming
	sequenced int    // how many of list are
	memory    []byte // names and payloads of list; some may be in the memory that it grew out of
	cursors   []byte // likewise
}

// add appends a message, and reports whether the batch must be dispatched now.
func (b *batch) add(name, payload []byte, large bool, hash uint64) (full bool) {
	full = len(b.list)+1 >= batchMessages || len(payload) > batchCopyBytes
	if !full {
		name, payload = b.copy(name), b.copy(payload)
	}
	b.list = append(b.list, incoming{name: name, payload: payload, large: large, hash: hash})
	return full
}

func (b *batch) copy(text []byte) []byte {
	at := len(b.memory)
	b.memory = append(b.memory, text...)
	return b.memory[at:len(b.memory):len(b.memory)]
}

// clear returns the messages and empties the batch. They are valid until the
// next add.
func (b *batch) clear() []incoming {
	list := b.list
	b.list, b.sequenced, b.memory, b.cursors = list[:0], 0, b.memory[:0], b.cursors[:0]
	return list
}

// Publish receives one message. name and payload are only valid during the
// call. If the channel has no subscribers and the history is off, nothing is
// allocated. Only the source calls it, and [Hub.Flush] after the last message
// that is available at once.
func (h *Hub) Publish(name, payload []byte) { h.receive(name, payload, false) }

// Oversize reports that a message on the channel was too large to be relayed:
// the subscribers get a gap in its place. Only the source calls it.
func (h *Hub) Oversize(name []byte) { h.receive(name, nil, true) }

func (h *Hub) receive(name, payload []byte, large bool) {
	hash := h.history.Hash(name)
	h.mu.Lock()
	if !h.history.On() && h.history.First(hash) == nil {
		h.history.Seq++ // no subscribers and no history: the message needs no copy
		h.mu.Unlock()
		return
	}
	full := h.batch.add(name, payload, large, hash)
	h.mu.Unlock()
	if full {
		h.dispatch()
	}
}

// Flush delivers everything that was published since the last Flush. The source
// calls it when it has to wait for more. It waits only if a shard's mailbox is
// full, never for a client.
func (h *Hub) Flush() {
	h.dispatch()
	for _, s := range h.shards {
		s.flush()
	}
	h.flushed.Store(uint64(h.history.Seq)) // the batch is empty, and only this goroutine adds to it
}

// dispatch sequences the batch and enqueues its messages for the shards.
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

// lockSequenced locks the hub and sequences the batch. A client that subscribes
// or resumes needs that: what it does is ordered after every message that the
// source has published.
func (h *Hub) lockSequenced() {
	h.mu.Lock()
	h.sequenceLocked()
}

// sequenceLocked sequences the messages of the batch that are not yet.
func (h *Hub) sequenceLocked() {
	b := &h.batch
	list := b.list[b.sequenced:]
	for i := range list {
		list[i].channel = h.history.First(list[i].hash)
	}
	h.touch(list)
	removed := h.history.Removed()
	for i := range list {
		in := &list[i]
		if removed == h.history.Removed() {
			in.channel = in.channel.Named(in.name)
		} else {
			in.channel = h.history.Find(in.hash, in.name) // the channel found before may have been removed
		}
		h.sequence(in)
	}
	b.sequenced = len(b.list)
}

// touch has the memory of the channels fetched into the caches. The processor
// waits for all of it at once, because no address depends on the content of
// another channel. Some channels may be nil.
func (h *Hub) touch(list []incoming) {
	for i := range list {
		if ch := list[i].channel; ch != nil {
			h.history.Touched += ch.Touch() + uint64(ch.Hub.first.count.Load())
		}
	}
}

// sequence numbers a message, adds it to the history and determines its
// audience. Its channel is nil if it is not known.
func (h *Hub) sequence(in *incoming) {
	h.history.Seq++
	if h.history.On() {
		if in.channel == nil {
			in.channel = h.history.Channel(string(in.name))
		}
		h.history.Add(in.channel, in.payload, in.large)
	}
	ch := in.channel
	if ch == nil || ch.Refs == 0 {
		in.channel = nil
		return
	}
	in.audience = audience{h.history.Seq, ch.Hub.home - 1, ch.Hub.protocols, ch.Hub.echoes}
	if ch.Hub.others.Load() != nil {
		in.audience.home = -1
	}
	if ch.Hub.protocols[protocol.V1ID] > 0 {
		at := len(h.batch.cursors)
		h.batch.cursors = h.history.AppendCursor(h.batch.cursors, ch.At())
		in.cursor = h.batch.cursors[at:]
	}
}

// enqueue encodes a message and gives it to the shards that have subscribers.
func (h *Hub) enqueue(in *incoming) {
	it := item{kind: itemMessage, seq: uint64(in.audience.seq), channel: in.channel}
	if in.large {
		it.kind, it.reason = itemGap, protocol.GapTooLarge
		h.encodeEvent(&it, protocol.Event{
			Type: protocol.EventGap, Channel: in.channel.Name(), Reason: protocol.GapTooLarge, Cursor: in.cursor,
		})
	} else {
		h.encodeMessage(&it, in)
	}
	if in.audience.home >= 0 {
		if n := in.audience.total(); n > 0 {
			h.shards[in.audience.home].collect(&it, n)
		}
		return
	}
	for i, s := range h.shards {
		if n := in.channel.Hub.in(i).count.Load(); n > 0 {
			s.collect(&it, int(n))
		}
	}
}

// enqueueForAll gives an item for all sessions to every shard.
func (h *Hub) enqueueForAll(it item) {
	for _, s := range h.shards {
		s.collect(&it, inlineDeliveries) // so many that the source does not deliver them itself
	}
	h.Flush()
}

// encodeMessage encodes a message once for each protocol in its audience.
func (h *Hub) encodeMessage(it *item, in *incoming) {
	for id, n := range in.audience.protocols {
		if n > 0 {
			it.frames[id] = h.cfg.Protocols[id].Message(in.channel.Name(), in.cursor, in.payload)
		}
	}
	if in.audience.echoes > 0 {
		it.hash = h.hash(in.payload)
	}
}

// encodeEvent encodes an event for every protocol.
func (h *Hub) encodeEvent(it *item, event protocol.Event) {
	for _, p := range h.cfg.Protocols {
		it.frames[p.ID()] = p.Event(event)
	}
}
