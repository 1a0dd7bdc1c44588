package relay

import (
	"sidecast/relay/blackbox"
	"sidecast/relay/protocol"
	"sidecast/relay/stream"
)

// isDurable reports whether a channel is a stream.
func (h *Hub) isDurable(channel string) bool { return h.cfg.Access.Durable.Match(channel) }

// Nudge reports a PUBLISH on a durable channel: its stream may have new
// entries. channel is only valid during the call. Like Event, it may be called
// concurrently.
func (h *Hub) Nudge(channel []byte, hasPayload bool) {
	h.cfg.BlackBox.Nudge(channel, !hasPayload)
	if r := h.streamReader(channel); r != nil {
		r.Nudge(hasPayload)
	} else if h.cfg.Unheard != nil {
		h.cfg.Unheard.Nudge(channel)
	}
}

// Event reports that the stream of a durable channel has changed.
func (h *Hub) Event(channel []byte) {
	if r := h.streamReader(channel); r != nil {
		r.Schedule()
	} else if h.cfg.Unheard != nil {
		h.cfg.Unheard.Nudge(channel)
	}
}

// streamReader returns the reader of a channel that has subscribers, or nil.
func (h *Hub) streamReader(channel []byte) *stream.Reader {
	h.enter()
	defer h.leave()
	return h.streamReaders[string(channel)]
}

// reader returns the reader of a durable channel's stream, and starts one if
// it has no reader yet. The hub is locked.
func (h *Hub) reader(ch *channel) *stream.Reader {
	if r := h.streamReaders[ch.Name()]; r != nil {
		return r
	}
	sink := &channelSink{hub: h, channel: ch}
	sink.reader = h.readers.Add(ch.Name(), sink, h.streamSeq)
	h.streamReaders[ch.Name()] = sink.reader
	return sink.reader
}

// A channelSink delivers the entries of a stream to the subscribers of a
// durable channel. It implements [stream.Sink].
type channelSink struct {
	hub     *Hub
	channel *channel
	reader  *stream.Reader // guarded by the hub's mu
}

// Number implements [stream.Sink].
func (s *channelSink) Number(n int) (first stream.Seq, to stream.Audience, ok bool) {
	h := s.hub
	h.enter()
	defer h.leave()
	if h.streamReaders[s.channel.Name()] != s.reader {
		return 0, stream.Audience{}, false
	}
	first = h.streamSeq + 1
	h.streamSeq += stream.Seq(n)
	return first, stream.Audience{Protocols: s.channel.Hub.protocols, Echoes: s.channel.Hub.echoes}, true
}

// Deliver implements [stream.Sink].
func (s *channelSink) Deliver(first stream.Seq, entries []*stream.Held, to stream.Audience) {
	items := make([]item, len(entries))
	for i, e := range entries {
		it := &items[i]
		*it = item{kind: itemMessage, durable: true, seq: uint64(first) + uint64(i), channel: s.channel}
		if e.TooLarge {
			it.kind, it.reason = itemGap, protocol.GapTooLarge
		}
		for _, p := range s.hub.cfg.Protocols {
			if to.Protocols[p.ID()] > 0 {
				it.frames[p.ID()] = e.Frame(p, s.channel.Name())
			}
		}
		if to.Echoes > 0 && !e.TooLarge {
			it.hash = e.Hash()
		}
		it.except = s.hub.sockets.excepted(e.Payload)
	}
	s.hub.recordEntries(s.channel, first, entries, to)
	s.put(items)
}

// Gap implements [stream.Sink].
func (s *channelSink) Gap(seq, last stream.Seq, why protocol.GapReason, at []byte) {
	it := item{kind: itemGap, durable: true, seq: uint64(seq), hash: uint64(last), channel: s.channel, reason: why}
	s.hub.encodeEvent(&it, protocol.Event{
		Type: protocol.EventGap, Channel: s.channel.Name(), Reason: why, Cursor: at,
	})
	s.hub.cfg.BlackBox.Gap(blackbox.Gap{Channel: s.channel.Name(), Durable: true, Seq: uint64(seq), Reason: why.String()})
	s.put([]item{it})
}

// put adds items to the mailboxes of the shards that have subscribers.
func (s *channelSink) put(items []item) {
	for i, shard := range s.hub.shards {
		if s.channel.Hub.reaches(i) {
			shard.mailbox.put(items)
		}
	}
}
