package relay

import (
	"context"
	"slices"
	"sync"
	"time"

	"sidecast/relay/blackbox"
	"sidecast/relay/history"
	"sidecast/relay/outbox"
	"sidecast/relay/protocol"
)

const (
	// inlineDeliveries is the number of deliveries from which on the source
	// wakes the shard instead of delivering itself.
	inlineDeliveries = 64
	// stepDeliveries bounds how many deliveries a shard sorts by session before
	// it writes.
	stepDeliveries = 1 << 17
	// itemCharge is the cost of a waiting item in addition to its frames.
	itemCharge = 128
)

type itemKind uint8

const (
	itemMessage  itemKind = iota
	itemGap               // on one channel
	itemOffline           // to all sessions
	itemOnline            // to all sessions
	itemPresence          // to the clients that watch the members of a channel
	itemCount             // to the clients on a channel that are told its number of subscriptions
)

// An item is one message or notice on its way to the sessions.
type item struct {
	kind    itemKind
	reason  protocol.GapReason
	durable bool           // a message or gap of a durable channel
	seq     uint64         // see the sequence numbers in the package comment
	hash    uint64         // of the payload, if a subscriber may have to skip it; of a gap in a stream: seq of the item before; else 0
	channel *channel       // nil if it is for all sessions
	except  *outbox.Outbox // of the session that does not receive the message; nil if all subscribers do
	frames  [protocol.NumProtocols][]byte

	presence *presenceUpdate // of itemPresence
}

// charge returns the cost of the item while it waits, in bytes.
func (it *item) charge() (n int) {
	for _, frame := range it.frames {
		n += len(frame)
	}
	return n + itemCharge
}

// A shard delivers items to its share of the sessions. The goroutine that holds
// mu runs it: its own goroutine, the source for a few deliveries at a time, or
// a session that subscribes or unsubscribes between two batches. So a batch is
// never interrupted, and iterating over subscribers needs no further lock.
type shard struct {
	hub   *Hub
	index int

	// Owned by the source's goroutine: the items since the last flush.
	collected  []item
	deliveries int

	mailbox mailbox

	// gate is held by the one client's goroutine that may wait for mu, so that
	// the fan-out does not have to compete with thousands of them.
	gate sync.Mutex

	// Guarded by mu.
	mu        sync.Mutex
	sessions  []*Session
	signed    signedQueue
	delivered history.Seq                   // everything up to this sequence number was delivered
	reached   reached                       // the last items that were delivered
	behind    map[*Session]struct{}         // for which something waited at the last sweep, if there is a black box
	sorted    []delivery                    // of the running step; entry 0 is not used
	dirty     []*outbox.Outbox              // those with deliveries in the running step
	frames    [][]byte                      // scratch: an array on the stack would escape, once for each delivery
	tags      []outbox.Tag                  // scratch, likewise
	spare     []item                        // the memory of the batch before
	members   map[*Subscription]*membership // of those whose users are members of the channel; nil if there never were any
	watchers  map[string][]*membership      // by channel; nil if there never were any
	lastPart  int                           // that a client which watches members got
	touched   int32                         // keeps the compiler from omitting reads that only fetch memory
}

// A delivery is one item for one outbox, in a list of that outbox's deliveries.
type delivery struct {
	item int32
	next int32 // index in sorted; 0 ends the list
}

func newShard(h *Hub, index int) *shard {
	s := &shard{hub: h, index: index, sorted: make([]delivery, 1)}
	s.mailbox.init()
	return s
}

// collect adds an item that causes about n deliveries to the next flush. Only
// the source calls it.
func (s *shard) collect(it *item, n int) {
	s.collected = append(s.collected, *it)
	s.deliveries += n
}

// flush delivers the collected items: at once if it is little and nothing waits
// before it, otherwise through the mailbox. Only the source calls it.
func (s *shard) flush() {
	if len(s.collected) == 0 {
		return
	}
	if s.deliveries >= inlineDeliveries || !s.tryInline() {
		s.mailbox.put(s.collected)
	}
	clear(s.collected)
	s.collected, s.deliveries = s.collected[:0], 0
}

// tryInline delivers the collected items, and reports whether it did: not if
// the shard is busy or items wait before it.
func (s *shard) tryInline() bool {
	if !s.mu.TryLock() {
		return false
	}
	defer s.mu.Unlock()
	if !s.mailbox.empty() {
		return false
	}
	s.deliver(s.collected, time.Time{})
	return true
}

// run delivers the items of the mailbox until ctx ends.
func (s *shard) run(ctx context.Context) {
	stop := context.AfterFunc(ctx, s.mailbox.close)
	defer stop()
	for s.mailbox.wait() {
		// The lock is taken first: an empty mailbox and a free lock together
		// mean that all items were delivered.
		s.mu.Lock()
		flushed := history.Seq(s.hub.flushed.Load()) // read before the batch is taken, which holds at least that much
		batch := s.mailbox.take(s.spare)
		s.deliver(batch, s.mailbox.taken)
		s.delivered = max(s.delivered, flushed)
		clear(batch)
		s.spare = batch[:0]
		s.mu.Unlock()
	}
}

// deliveredUpTo returns the sequence number up to which everything was
// delivered. The shard is locked.
func (s *shard) deliveredUpTo() history.Seq {
	// Flushed items are in the mailbox or delivered, and only a holder of mu
	// delivers.
	if flushed := history.Seq(s.hub.flushed.Load()); s.mailbox.empty() {
		s.delivered = max(s.delivered, flushed)
	}
	return s.delivered
}

// deliver writes the items to the sessions, each session's in order and in as
// few calls as possible. since is when the first item was ready to be delivered;
// zero: now. The shard is locked.
func (s *shard) deliver(items []item, since time.Time) {
	start := time.Now()
	if since.IsZero() {
		since = start
	}
	for len(items) > 0 {
		items = items[s.deliverStep(items):]
	}
	end := time.Now()
	s.hub.cfg.Stats.Fanout.Observe(end.Sub(start))
	s.hub.cfg.Stats.Lag.Observe(end.Sub(since))
}

// deliverStep delivers the first items and returns how many.
func (s *shard) deliverStep(items []item) int {
	for i := range items {
		it := &items[i]
		if it.kind != itemMessage {
			s.writeSorted(items)
			s.reach(items[:i+1])
			s.notify(it)
			return i + 1
		}
		if len(items) == 1 {
			s.deliverOne(it)
			s.reach(items)
			return 1
		}
		list := it.channel.Hub.in(s.index).list
		for k := range list {
			if l := &list[k]; it.isFor(l) {
				s.sortFor(l.outbox, i)
			}
		}
		if len(s.sorted) > stepDeliveries {
			s.writeSorted(items)
			s.reach(items[:i+1])
			return i + 1
		}
	}
	s.writeSorted(items)
	s.reach(items)
	return len(items)
}

// isFor reports whether the message is for this subscriber.
func (it *item) isFor(l *subscriber) bool {
	return it.seq > l.start && (it.except == nil && it.hash == 0 || !it.isOwn(l))
}

// isOwn reports whether the subscriber has published the message and does not
// want to receive it.
func (it *item) isOwn(l *subscriber) bool {
	s, name := l.sub.session, it.channel.Name()
	if l.outbox != it.except && (it.hash == 0 || !s.isEcho(name, it.hash)) {
		return false
	}
	s.hub.cfg.BlackBox.Own(s.number, name, it.durable, it.seq, blackbox.Place{})
	return true
}

// tag returns the message's tag for outboxes.
func (it *item) tag() outbox.Tag { return outbox.MakeTag(it.seq, it.durable) }

// deliverOne delivers one message, which needs no sorting.
func (s *shard) deliverOne(it *item) {
	var sent [protocol.NumProtocols]int
	budget := s.hub.cfg.Budget
	frame, tag := append(s.frames[:0], nil), append(s.tags[:0], it.tag())
	list := it.channel.Hub.in(s.index).list
	for i := range list {
		l := &list[i]
		if !it.isFor(l) {
			continue
		}
		id := l.outbox.Protocol
		frame[0] = it.frames[id]
		if l.outbox.Deliver(frame, tag) {
			sent[id]++
		}
		budget.EnforceLimit()
	}
	frame[0] = nil
	s.frames, s.tags = frame[:0], tag[:0]
	s.count(sent)
}

// sortFor adds item i to the outbox's deliveries of this step.
func (s *shard) sortFor(o *outbox.Outbox, i int) {
	at := int32(len(s.sorted))
	s.sorted = append(s.sorted, delivery{item: int32(i)})
	if o.First == 0 {
		o.First = at
		s.dirty = append(s.dirty, o)
	} else {
		s.sorted[o.Last].next = at
	}
	o.Last = at
}

// writeSorted writes the sorted deliveries, each outbox's frames in as few
// calls as possible.
func (s *shard) writeSorted(items []item) {
	var sent [protocol.NumProtocols]int
	budget := s.hub.cfg.Budget
	longest := 0
	for i, o := range s.dirty {
		if i+1 < len(s.dirty) {
			s.touched += s.dirty[i+1].First // writing drives it out of the caches, so fetch it now
		}
		frames, tags := s.frames[:0], s.tags[:0]
		for at := o.First; at != 0; at = s.sorted[at].next {
			it := &items[s.sorted[at].item]
			frames, tags = append(frames, it.frames[o.Protocol]), append(tags, it.tag())
		}
		o.First, o.Last = 0, 0
		if o.Deliver(frames, tags) {
			sent[o.Protocol] += len(frames)
		}
		budget.EnforceLimit()
		longest = max(longest, len(frames))
		s.frames, s.tags = frames, tags
	}
	clear(s.frames[:longest]) // not to its capacity, which one burst makes large
	clear(s.dirty)
	s.dirty, s.sorted = s.dirty[:0], s.sorted[:1]
	s.count(sent)
}

func (s *shard) count(sent [protocol.NumProtocols]int) {
	for id, n := range sent {
		if n > 0 {
			s.hub.cfg.Stats.Deliveries[id].Add(n)
		}
	}
}

// notify delivers an item that is not a message.
func (s *shard) notify(it *item) {
	switch it.kind {
	case itemGap:
		subscribers := it.channel.Hub.in(s.index)
		for i := len(subscribers.list) - 1; i >= 0; i-- { // the end of the list may move to i
			switch l := &subscribers.list[i]; {
			case it.seq <= l.start:
			case l.sub.behind != nil && it.hash == l.start:
				s.hub.resumeBehind(l.sub)
			default:
				l.sub.session.sendGap(it)
			}
		}
	case itemPresence:
		s.notifyWatchers(it)
	case itemCount:
		s.notifyCount(it)
	case itemOnline:
		for _, session := range s.sessions {
			if it.seq > uint64(session.existsSince) {
				session.sendGap(it)
				session.clearEchoes()
				session.linkUp()
			}
		}
	case itemOffline:
		for _, session := range s.sessions {
			if frame := it.frames[session.protocol.ID()]; frame != nil && it.seq > uint64(session.existsSince) {
				session.outbox.Send(frame)
			}
		}
	}
}

// enter locks the shard for a client.
func (s *shard) enter() {
	s.gate.Lock()
	s.mu.Lock()
}

func (s *shard) exit() {
	s.mu.Unlock()
	s.gate.Unlock()
}

// add adds a session. greet runs in the same step and is given whether Redis is
// unavailable: earlier notices about that are not for the session.
func (s *shard) add(session *Session, greet func(offline bool)) {
	s.enter()
	defer s.exit()
	s.hub.sessions.Add(1)
	session.index = int32(len(s.sessions))
	s.sessions = append(s.sessions, session)
	offline := false
	offline, session.existsSince = s.hub.state()
	greet(offline)
}

// remove removes a session.
func (s *shard) remove(session *Session) {
	s.enter()
	defer s.exit()
	last := len(s.sessions) - 1
	moved := s.sessions[last]
	s.sessions[session.index], moved.index = moved, session.index
	s.sessions[last] = nil
	s.sessions = s.sessions[:last]
	session.subs = nil
	delete(s.behind, session)
	s.hub.sessions.Add(-1)
}

// list returns the current sessions.
func (s *shard) list() []*Session {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.sessions)
}
