package relay

import "sync/atomic"

// A channel is what the hub knows of one channel: that somebody listens to, or that was spoken on lately.
type channel struct {
	name string

	// Guarded by the hub's mu. protocols and echoes count subscriptions from before they can be reached by the fan-out until
	// after they cannot any more, so that a message is never left out because the count lags.
	refs      int // subscriptions, those included that still wait for what they missed
	protocols [numProtocols]int
	echoes    int // subscriptions that may have to skip a message

	durable *durable // the stream that feeds it while somebody listens; nil for a live channel

	// Owned by the hub's history.
	at      point  // the newest message
	floor   point  // the last message that is not held any more
	oldest  uint64 // offset in the log; 0 if nothing is held
	newest  uint64
	slot    uint32
	charged bool
	lingers bool

	rosters []roster // one for each shard; set by the first subscription
}

// A roster is a channel's listeners in one shard.
type roster struct {
	listeners []listener   // guarded by the shard's mu
	count     atomic.Int32 // of listeners, and of those about to leave
	one       [1]listener  // where a single listener lies: a channel of one user's own is the usual one
}

// A listener is what the fan-out needs of a subscription. It lies in one piece of memory with its neighbours: a fan-out
// is bound by how many cache lines a delivery touches.
type listener struct {
	outbox   *Outbox
	sub      *Subscription
	start    uint64 // messages up to this sequence are not for it
	protocol ProtocolID
}

// join appends sub to its roster. The shard is locked.
func (r *roster) join(sub *Subscription) {
	if r.listeners == nil {
		r.listeners = r.one[:0]
	}
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
	r.one[0] = listener{} // a copy, where there were more than one; else it is gone as well
	switch {
	case last == 0:
		r.listeners = nil
	case last < cap(r.listeners)/4 && cap(r.listeners) > 64:
		r.listeners = append(make([]listener, 0, 2*last), r.listeners...)
	}
}
