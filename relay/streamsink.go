package relay

import "sidecast/relay/protocol"

// A channelSink delivers the entries of a stream to the subscribers of a
// durable channel. It implements [streamSink].
type channelSink struct {
	hub     *Hub
	channel *channel
	reader  *durable // guarded by the hub's mu
}

// readStream starts a reader for a durable channel. The hub is locked.
func (h *Hub) readStream(ch *channel) *durable {
	sink := &channelSink{hub: h, channel: ch}
	sink.reader = h.durables.add(ch.name, sink, h.streamSeq)
	return sink.reader
}

// Number implements [streamSink].
func (s *channelSink) Number(n int) (first streamSeq, to streamAudience, ok bool) {
	h := s.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	if s.channel.durable != s.reader {
		return 0, streamAudience{}, false
	}
	first = h.streamSeq + 1
	h.streamSeq += streamSeq(n)
	return first, streamAudience{Protocols: s.channel.protocols, Echoes: s.channel.echoes}, true
}

// Deliver implements [streamSink].
func (s *channelSink) Deliver(first streamSeq, entries []*heldEntry, to streamAudience) {
	items := make([]item, len(entries))
	for i, e := range entries {
		it := &items[i]
		*it = item{kind: itemMessage, seq: uint64(first) + uint64(i), channel: s.channel}
		if e.TooLarge {
			it.kind, it.reason = itemGap, protocol.GapTooLarge
		}
		for _, p := range s.hub.cfg.Protocols {
			if to.Protocols[p.ID()] > 0 {
				it.frames[p.ID()] = e.frame(p, s.channel.name)
			}
		}
		if to.Echoes > 0 && !e.TooLarge {
			it.hash = e.hash()
		}
	}
	s.put(items)
}

// Gap implements [streamSink].
func (s *channelSink) Gap(seq streamSeq, why protocol.GapReason, at StreamCursor) {
	it := item{kind: itemGap, seq: uint64(seq), channel: s.channel, reason: why}
	s.hub.encode(&it, protocol.Event{
		Type: protocol.EventGap, Channel: s.channel.name, Reason: why, Cursor: at.text(),
	})
	s.put([]item{it})
}

// put adds items to the mailboxes of the shards that have subscribers.
func (s *channelSink) put(items []item) {
	for i, shard := range s.hub.shards {
		if s.channel.listens(i) {
			shard.box.put(items)
		}
	}
}
