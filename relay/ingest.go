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
	unheard       bool // set when it is sequenced: no subscribers, and the application wants to know
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
	if full := h.append(name, payload, large, hash); full {
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
	h.enter()
	list := h.batch.clear()
	h.leave()
	for i := range list {
		switch in := &list[i]; {
		case in.channel != nil:
			h.enqueue(in)
		case in.unheard:
			h.cfg.Unheard.Message(in.name, in.payload, in.cursor)
		}
	}
	clear(list)
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
	it.except = h.sockets.excepted(in.payload)
}

// encodeEvent encodes an event for every protocol.
func (h *Hub) encodeEvent(it *item, event protocol.Event) {
	for _, p := range h.cfg.Protocols {
		it.frames[p.ID()] = p.Event(event)
	}
}
