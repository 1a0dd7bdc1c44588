package relay

import (
	"strings"
	"sync/atomic"
	"unsafe"

	"sidecast/relay/outbox"
	"sidecast/relay/protocol"
	"sidecast/relay/stream"
)

// A channel is what the hub knows of one channel: that somebody listens to, or that was spoken on lately.
//
// With thousands of channels a message finds nothing of its own in the caches, and fetching it is most of what the hub
// costs. So the order of the fields matters: what a message to a single listener touches is three cache lines of 64 bytes,
// one behind the other and in one piece of memory. See BenchmarkCold.
type channel struct {
	// Owned by the hub's history.
	at     point  // the newest message
	newest uint64 // its offset in the log; 0 if nothing is held
	slot   uint32

	// Guarded by the hub's mu. protocols and echoes count subscriptions from before they can be reached by the fan-out until
	// after they cannot any more, so that a message is never left out because the count lags.
	refs      int32 // subscriptions, those included that still wait for what they missed
	protocols [protocol.NumProtocols]int32
	echoes    int32 // subscriptions that may have to skip a message

	home   int32                    // the shard of the first subscription, for good; negative before
	others atomic.Pointer[[]roster] // one for each shard, from the first subscription elsewhere on; nil before
	first  roster                   // of the shard that is home

	name string // static; lies in text if it fits
	text [48]byte

	durable *stream.Reader // the stream that feeds it while somebody listens; nil for a live channel. Guarded by the hub's mu.

	// Owned by the hub's history.
	floor   point  // the last message that is not held any more
	oldest  uint64 // offset in the log; 0 if nothing is held
	charged bool
	lingers bool

	// Owned by channels.
	hash uint64
	next *channel // another one with this hash
}

func newChannel(name string) *channel {
	ch := &channel{home: -1}
	if n := copy(ch.text[:], name); n == len(name) {
		ch.name = unsafe.String(&ch.text[0], n) // text never changes
	} else {
		ch.name = strings.Clone(name)
	}
	return ch
}

// house makes room for subscriptions in a shard, of so many. The hub is locked.
func (ch *channel) house(shard, shards int) {
	switch {
	case ch.home < 0:
		ch.home = int32(shard)
	case shard != int(ch.home) && ch.others.Load() == nil:
		rosters := make([]roster, shards)
		ch.others.Store(&rosters)
	}
}

// roster returns the listeners in a shard, or nil if there never were any.
func (ch *channel) roster(shard int) *roster {
	if shard == int(ch.home) {
		return &ch.first
	}
	if others := ch.others.Load(); others != nil {
		return &(*others)[shard]
	}
	return nil
}

// listens reports whether anybody in a shard does.
func (ch *channel) listens(shard int) bool {
	r := ch.roster(shard)
	return r != nil && r.count.Load() > 0
}

// A roster is a channel's listeners in one shard.
type roster struct {
	listeners []listener   // guarded by the shard's mu
	one       [1]listener  // where a single listener lies: a channel of one user's own is the usual one
	count     atomic.Int32 // of listeners, and of those about to leave
}

// A listener is what the fan-out needs of a subscription. It lies in one piece of memory with its neighbours: a fan-out
// is bound by how many cache lines a delivery touches.
type listener struct {
	outbox   *outbox.Outbox
	sub      *Subscription
	start    uint64 // messages up to this sequence are not for it
	protocol protocol.ID
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
