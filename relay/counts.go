package relay

import (
	"sidecast/relay/access"
	"sidecast/relay/protocol"
)

// Counts knows how many subscriptions each channel has, over all relays.
type Counts interface {
	// Changed reports that a channel has so many subscriptions at this relay
	// now, by of which (or -by) are new (or gone), and so many of clients that
	// are told the number by [Hub.SubscriptionCount]. It must not wait: the hub
	// is locked.
	Changed(channel string, subscriptions, watching, by int)
}

// countChanged reports that a channel has a subscription more, or fewer. The hub
// is locked.
func (h *Hub) countChanged(ch *channel, by int) {
	if h.cfg.Counts == nil {
		return
	}
	watching, sum := int(ch.Hub.protocols[protocol.PusherID]), 0
	for _, n := range ch.Hub.protocols {
		sum += int(n)
	}
	if watching > 0 && access.KindOf(ch.Name()).Presence {
		watching = 0 // these clients know the members
	}
	h.cfg.Counts.Changed(ch.Name(), sum, watching, by)
}

// SubscriptionCount tells the clients of the Pusher protocol on a channel how
// many subscriptions it has. Only one goroutine calls it. It waits only if a
// shard's mailbox is full, never for a client.
func (h *Hub) SubscriptionCount(channel string, count int) {
	name := []byte(channel)
	h.enter()
	ch := h.history.Find(h.history.Hash(name), name)
	told := ch != nil && ch.Hub.protocols[protocol.PusherID] > 0
	h.leave()
	if !told {
		return
	}
	it := item{kind: itemCount, channel: ch}
	h.encodeEvent(&it, protocol.Event{Type: protocol.EventSubscriptionCount, Channel: channel, Count: count})
	for i, s := range h.shards {
		if ch.Hub.reaches(i) {
			s.mailbox.put([]item{it})
		}
	}
}

// notifyCount delivers the number of subscriptions of a channel to those of its
// clients whose protocol has one. The shard is locked.
func (s *shard) notifyCount(it *item) {
	for _, l := range it.channel.Hub.in(s.index).list {
		if frame := it.frames[l.outbox.Protocol]; len(frame) > 0 {
			l.outbox.Send(frame)
		}
	}
}
