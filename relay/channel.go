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

	rosters []roster // one for each shard
}

// A roster is a channel's listeners in one shard.
type roster struct {
	listeners []listener   // guarded by the shard's mu
	count     atomic.Int32 // of listeners, and of those about to join
}

// A listener is what the fan-out needs of a subscription. It lies in one piece of memory with its neighbours: a fan-out
// is bound by how many cache lines a delivery touches.
type listener struct {
	outbox   *Outbox
	sub      *Subscription
	start    uint64 // messages up to this sequence are not for it
	protocol ProtocolID
}

// A Subscription is one session's place in one channel.
type Subscription struct {
	session *Session
	channel *channel
	start   uint64
	silent  bool // counted in channel.echoes; guarded by the hub's mu
	index   int  // in its roster; guarded by the shard's mu
}

// join appends sub to its roster. The shard is locked.
func (r *roster) join(sub *Subscription) {
	sub.index = len(r.listeners)
	r.listeners = append(r.listeners, listener{
		outbox: sub.session.outbox, sub: sub, start: sub.start, protocol: sub.session.protocol.ID(),
	})
}

// leave takes sub off its roster by moving the last one into its place. The shard is locked.
func (r *roster) leave(sub *Subscription) {
	last := len(r.listeners) - 1
	r.listeners[sub.index] = r.listeners[last]
	r.listeners[sub.index].sub.index = sub.index
	r.listeners[last] = listener{}
	r.listeners = r.listeners[:last]
	if last < cap(r.listeners)/4 && cap(r.listeners) > 64 {
		r.listeners = append(make([]listener, 0, 2*last), r.listeners...)
	}
}
