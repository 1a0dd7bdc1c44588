package relay

import "sync/atomic"

// A channel is what the hub knows of one channel that somebody listens to.
type channel struct {
	name string

	// Guarded by the hub's mu. They count subscriptions from before they can be reached by the fan-out until after they
	// cannot any more, so that a message is never left out because the count lags.
	refs      int
	protocols [numProtocols]int
	echoes    int // subscriptions that may have to skip a message

	// lists[i] is guarded by shard i's mu; counts[i] is its length, plus the subscriptions about to join it.
	lists  [][]*Subscription
	counts []atomic.Int32
}

// A Subscription is one session's place in one channel.
type Subscription struct {
	session *Session
	channel *channel
	start   uint64 // messages up to this sequence are not for it
	silent  bool   // counted in channel.echoes; guarded by the hub's mu

	index int // in channel.lists[session.shard.index]; guarded by the shard's mu

	// ended is guarded by the session's outbox: once `unsubscribed` is queued, nothing of the channel follows.
	ended bool
}

// join appends sub to its shard's list. The shard is locked.
func (c *channel) join(sub *Subscription) {
	list := &c.lists[sub.session.shard.index]
	sub.index = len(*list)
	*list = append(*list, sub)
}

// leave takes sub off its shard's list by moving the last one into its place. The shard is locked.
func (c *channel) leave(sub *Subscription) {
	list := &c.lists[sub.session.shard.index]
	last := len(*list) - 1
	moved := (*list)[last]
	(*list)[sub.index], moved.index = moved, sub.index
	(*list)[last] = nil
	*list = (*list)[:last]
	if last < cap(*list)/4 && cap(*list) > 64 {
		*list = append(make([]*Subscription, 0, 2*last), *list...)
	}
}
