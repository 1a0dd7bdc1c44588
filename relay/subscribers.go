package relay

import (
	"sync/atomic"

	"sidecast/relay/blackbox"
	"sidecast/relay/history"
	"sidecast/relay/outbox"
	"sidecast/relay/protocol"
)

// A channel is the hub's memory of one channel that has subscribers, or had a
// message lately.
type channel = history.Channel[fanout]

// A fanout is the hub's part of a channel: its subscribers. It is part of the
// channel's memory; see [history.Channel] for why the order of the fields
// matters.
type fanout struct {
	// Guarded by the hub's mu. They count subscriptions from before the fan-out
	// can reach them until after it no longer can, so that no message is
	// omitted because a count lags.
	protocols [protocol.NumProtocols]int32
	echoes    int32 // subscriptions that may have to skip a message

	home   int32                         // 1 + the shard of the first subscription, permanently; 0 before
	name   blackbox.Name                 // guarded by the hub's mu
	others atomic.Pointer[[]subscribers] // one for each shard, from the first subscription in a second shard on; nil before
	first  subscribers                   // of the shard that is home
}

// needsCursors reports whether a subscriber's protocol has cursors. The hub is
// locked.
func (f *fanout) needsCursors() bool {
	return f.protocols[protocol.V1ID]+f.protocols[protocol.SSEID]+f.protocols[protocol.SSEJSONID] > 0
}

// ensureShard makes room for subscriptions in one of shards. The hub is locked.
func (f *fanout) ensureShard(shard, shards int) {
	switch {
	case f.home == 0:
		f.home = int32(shard) + 1
	case shard+1 != int(f.home) && f.others.Load() == nil:
		others := make([]subscribers, shards)
		f.others.Store(&others)
	}
}

// in returns the subscribers in a shard, or nil if there never were any.
func (f *fanout) in(shard int) *subscribers {
	if shard+1 == int(f.home) {
		return &f.first
	}
	if others := f.others.Load(); others != nil {
		return &(*others)[shard]
	}
	return nil
}

// reaches reports whether the shard has subscribers.
func (f *fanout) reaches(shard int) bool {
	s := f.in(shard)
	return s != nil && s.count.Load() > 0
}

// Subscribers are those of one channel in one shard.
type subscribers struct {
	list  []subscriber  // guarded by the shard's mu
	one   [1]subscriber // the memory of list while there is one, as on a user's own channel
	count atomic.Int32  // of subscribers, and of those about to be removed
}

// A subscriber is the part of a subscription that the fan-out needs. It is
// stored next to its neighbours, because a fan-out is bound by how many cache
// lines a delivery touches.
type subscriber struct {
	outbox *outbox.Outbox
	sub    *Subscription
	start  uint64 // messages up to this sequence number are not for it
}

// add appends a subscription, for which messages up to start are not. The shard
// is locked.
func (s *subscribers) add(sub *Subscription, start uint64) {
	if s.list == nil {
		s.list = s.one[:0]
	}
	sub.index = int32(len(s.list))
	s.list = append(s.list, subscriber{outbox: sub.session.outbox, sub: sub, start: start})
}

// remove removes a subscription by moving the last one into its place. The
// shard is locked.
func (s *subscribers) remove(sub *Subscription) {
	last := len(s.list) - 1
	s.list[sub.index] = s.list[last]
	s.list[sub.index].sub.index = sub.index
	s.list[last] = subscriber{}
	s.list = s.list[:last]
	s.one[0] = subscriber{} // it is either the one removed, or a copy from before the list grew
	switch {
	case last == 0:
		s.list = nil
	case last < cap(s.list)/4 && cap(s.list) > 64:
		s.list = append(make([]subscriber, 0, 2*last), s.list...)
	}
}
