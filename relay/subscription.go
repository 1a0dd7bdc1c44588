package relay

import (
	"sync/atomic"

	"sidecast/relay/stream"
)

// A Subscription is one session's place in one channel.
type Subscription struct {
	session *Session
	channel *channel
	reader  *stream.Reader // of a durable channel; nil on a live channel
	grant   *grant         // the signature or the application's answer that opened the channel; nil if neither did

	progress atomic.Uint32 // a subscribeProgress

	// Guarded by the hub's mu.
	noEcho  bool // it may have to skip a message
	counted bool // the channel's counts include it

	// Guarded by the shard's mu.
	state  subscriptionState
	index  int32          // in the shard's subscribers
	resume *resume        // until it is live; nil if it was live from the beginning; shared with those that share its cursor
	behind *stream.Cursor // its last entry when it became live, if that was before the reader's; else nil
}

// A subscribeProgress says how far the subscribe is that made a subscription.
type subscribeProgress uint32

const (
	subscribeAnswered subscribeProgress = iota
	subscribePending                    // it is not answered yet
	subscribeEnded                      // the subscription has ended
	subscribeFailed                     // it has ended with an error in place of the answer
)

func (sub *Subscription) is(p subscribeProgress) bool { return sub.progress.Load() == uint32(p) }

type subscriptionState uint8

const (
	subscriptionPending subscriptionState = iota // its resume is not finished
	subscriptionLive                             // the fan-out reaches it
	subscriptionRemoved
)

// addSubscription gives a session a place in a channel. The fan-out does not
// reach it yet. The shard is locked.
func (h *Hub) addSubscription(s *Session, name string, g *grant) *Subscription {
	sub := &Subscription{session: s, noEcho: s.noEcho, grant: g}
	h.enter()
	ch := h.history.Channel(name)
	ch.Hub.ensureShard(s.shard.index, len(h.shards))
	if ch.Refs++; ch.Refs == 1 {
		h.cfg.Stats.Channels.Add(1)
		if h.unheard != nil {
			h.unheard.Listen(ch.Name())
		}
	}
	sub.channel = ch
	if h.isDurable(name) {
		sub.reader = h.reader(ch)
	}
	h.leave()
	h.cfg.Stats.Subscriptions.Add(1)
	s.pendingSubs++
	if sub.reader == nil {
		s.liveChannels++
	}
	s.shard.signed.add(sub)
	return sub
}

// joinLive lets the fan-out reach sub from the newest message on. The shard and
// the hub are locked.
func (h *Hub) joinLive(sub *Subscription) {
	seq := h.history.Seq
	h.join(sub, uint64(seq))
	sub.session.liveSince = max(sub.session.liveSince, seq)
}

// join lets the fan-out reach sub with what follows start. The shard and the
// hub are locked.
func (h *Hub) join(sub *Subscription, start uint64) {
	s, ch := sub.session, sub.channel
	ch.Hub.protocols[s.protocol.ID()]++
	h.countChanged(ch, 1)
	if sub.noEcho {
		ch.Hub.echoes++
	}
	sub.counted = true
	h.cfg.BlackBox.Join(s.number, &ch.Hub.name, ch.Name(), sub.reader != nil, start)
	subscribers := ch.Hub.in(s.shard.index)
	subscribers.count.Add(1)
	subscribers.add(sub, start)
	sub.state = subscriptionLive
	s.pendingSubs--
}

// removeSubscription ends sub, and reports whether it was not ended before.
// Nothing of its channel follows answer, which may be nil.
func (h *Hub) removeSubscription(sub *Subscription, how subscribeProgress, answer []byte) bool {
	shard := sub.session.shard
	shard.enter()
	defer shard.exit()
	return h.endSubscription(sub, how, answer)
}

// endSubscription is removeSubscription. The shard is locked.
func (h *Hub) endSubscription(sub *Subscription, how subscribeProgress, answer []byte) bool {
	s, ch := sub.session, sub.channel
	subscribers := ch.Hub.in(s.shard.index)
	was := sub.state
	switch was {
	case subscriptionRemoved:
		return false
	case subscriptionLive:
		subscribers.remove(sub)
	case subscriptionPending:
		s.pendingSubs--
	}
	s.shard.signed.remove(sub)
	sub.state = subscriptionRemoved
	sub.progress.Store(uint32(how))
	if sub.reader == nil {
		s.liveChannels--
	}
	if answer != nil {
		s.outbox.Send(answer)
	}
	sub.depart()
	s.forgetEchoes(ch.Name())
	if sub.resume != nil {
		h.resumer.cancel(sub.resume)
		h.endResume(sub)
	}
	if idle := h.uncount(sub, was == subscriptionLive); idle != nil {
		h.readers.Remove(idle)
	}
	s.shard.forgetReached(ch)
	return true
}

// startResume leaves the rest of a subscribe to the resumer. The shard is
// locked.
func (h *Hub) startResume(r *resume) {
	for _, sub := range r.subs {
		sub.resume = r
		sub.progress.Store(uint32(subscribePending))
		h.cfg.Stats.Resuming.Add(1)
	}
	h.recordAwait(r.subs)
	h.resumer.start(r)
}

// resumeBehind lets a live subscription resume at its last entry, because the
// reader's, which it has not received, does not exist any more: what follows a
// gap of the reader is not all that follows for this client. It has received
// nothing since it became live. The shard is locked.
func (h *Hub) resumeBehind(sub *Subscription) {
	s := sub.session
	sub.channel.Hub.in(s.shard.index).remove(sub)
	h.enter()
	h.recordLeave(sub)
	h.uncountLive(sub)
	h.leave()
	sub.state = subscriptionPending
	s.pendingSubs++
	r := &resume{hub: h, session: s, answered: true}
	r.one[0] = sub
	r.subs = r.one[:]
	r.backlog = newStreamBacklogAt(r, *sub.behind)
	sub.behind, sub.resume = nil, r
	h.recordAwait(r.subs)
	h.cfg.Stats.Resuming.Add(1)
	h.resumer.start(r)
}

// endResume forgets the resume of a subscription, if it has one. The shard is
// locked.
func (h *Hub) endResume(sub *Subscription) {
	if sub.resume != nil {
		sub.resume = nil
		h.cfg.Stats.Resuming.Add(-1)
	}
}

// uncount removes sub from its channel's counts. It returns the channel's
// reader if that was the last subscription.
func (h *Hub) uncount(sub *Subscription, live bool) (idle *stream.Reader) {
	ch := sub.channel
	h.enter()
	defer h.leave()
	h.recordLeave(sub)
	if live {
		h.uncountLive(sub)
	}
	if ch.Refs--; ch.Refs == 0 {
		idle = sub.reader
		delete(h.streamReaders, ch.Name())
		if h.unheard != nil {
			h.unheard.Leave(ch.Name())
		}
		h.history.Release(ch)
		h.cfg.Stats.Channels.Add(-1)
	}
	h.cfg.Stats.Subscriptions.Add(-1)
	return idle
}

// uncountLive removes a subscription from what its channel counts of live ones.
// The hub is locked.
func (h *Hub) uncountLive(sub *Subscription) {
	s, f := sub.session, &sub.channel.Hub
	f.in(s.shard.index).count.Add(-1)
	f.protocols[s.protocol.ID()]--
	h.countChanged(sub.channel, -1)
	if sub.noEcho {
		f.echoes--
	}
	sub.counted = false
}

// suppressEcho makes the messages of sub's channel carry the hash by which the
// session recognizes its own.
func (h *Hub) suppressEcho(sub *Subscription) {
	h.enter()
	defer h.leave()
	if !sub.noEcho {
		sub.noEcho = true
		if sub.counted {
			sub.channel.Hub.echoes++
		}
	}
}
