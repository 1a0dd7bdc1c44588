package relay

import (
	"context"
	"slices"
	"sync"
	"time"

	"sidecast/relay/outbox"
	"sidecast/relay/protocol"
)

const (
	// inlineDeliveries is how many deliveries the source makes itself instead of waking a shard.
	inlineDeliveries = 64
	// mailboxBytes bounds what waits for one shard. Beyond it the source waits, and Redis holds the rest.
	mailboxBytes = 16 << 20
	// stepDeliveries bounds what a shard sorts by session before it writes.
	stepDeliveries = 1 << 17
	// itemCharge is what a waiting item costs beside its frames.
	itemCharge = 128
)

type itemKind uint8

const (
	itemMessage itemKind = iota
	itemGap              // on one channel
	itemOffline          // to all sessions
	itemOnline           // to all sessions
)

// An item is one thing that came in, on its way to the sessions.
type item struct {
	kind    itemKind
	reason  protocol.GapReason
	seq     uint64
	hash    uint64   // of the payload, where a listener may have to skip it; else 0
	channel *channel // nil for what goes to all
	frames  [protocol.NumProtocols][]byte
}

func (it *item) charge() (n int) {
	for _, frame := range it.frames {
		n += len(frame)
	}
	return n + itemCharge
}

// A shard hands items to its share of the sessions. Whoever holds mu runs it: its own goroutine, the source for a few
// deliveries at a time, or a session that joins or leaves in between. So a batch is never interrupted, and iterating over
// subscribers takes no lock of its own.
type shard struct {
	hub   *Hub
	index int

	// Owned by the source's goroutine: what came in since the last flush.
	collected      []item
	deliveries int

	mailbox mailbox

	mu       sync.Mutex
	sessions []*Session
	delivered     uint64           // everything up to this sequence was handed out
	sorted   []delivery       // of the running step; entry 0 is not used
	dirty    []*outbox.Outbox // those with deliveries in the running step
	frames   [][]byte         // scratch: an array on the stack would escape, once for each delivery
	spare    []item           // the batch before, to be filled again
	touched  int32            // keeps the compiler from leaving out what only fetches memory
}

// A delivery is one item for one outbox, in a list of that outbox's.
type delivery struct {
	item int32
	next int32 // index in sorted; 0 ends the list
}

func newShard(h *Hub, index int) *shard {
	s := &shard{hub: h, index: index, sorted: make([]delivery, 1)}
	s.mailbox.init()
	return s
}

// collect adds an item that will cause about n deliveries to what the next flush hands out.
func (s *shard) collect(it *item, n int) {
	s.collected = append(s.collected, *it)
	s.deliveries += n
}

// flush hands out what was collected: at once where that is little and nothing waits before it, else by the mailbox.
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

func (s *shard) tryInline() bool {
	if !s.mu.TryLock() {
		return false
	}
	defer s.mu.Unlock()
	if !s.mailbox.empty() {
		return false
	}
	s.deliver(s.collected)
	return true
}

// run hands out what comes by the mailbox until ctx ends.
func (s *shard) run(ctx context.Context) {
	stop := context.AfterFunc(ctx, s.mailbox.close)
	defer stop()
	for s.mailbox.wait() {
		// The lock comes first: an empty mailbox and a free lock together mean that nothing is on its way.
		s.mu.Lock()
		flushed := s.hub.flushed.Load() // before the batch is taken: it holds at least all that
		batch := s.mailbox.take(s.spare)
		s.deliver(batch)
		s.delivered = max(s.delivered, flushed)
		clear(batch)
		s.spare = batch[:0]
		s.mu.Unlock()
	}
}

// passed returns the sequence up to which everything was handed out. The shard is locked.
func (s *shard) deliveredUpTo() uint64 {
	// What is flushed is in the mailbox or handed out, and whoever hands out holds mu.
	if flushed := s.hub.flushed.Load(); s.mailbox.empty() {
		s.delivered = max(s.delivered, flushed)
	}
	return s.delivered
}

// handOut writes the items to the sessions, each session's in order and in as few calls as possible. The shard is locked.
func (s *shard) deliver(items []item) {
	start := time.Now()
	for len(items) > 0 {
		items = items[s.deliverStep(items):]
	}
	s.hub.cfg.Stats.Fanout.Observe(time.Since(start))
}

// step hands out the first items and returns how many.
func (s *shard) deliverStep(items []item) int {
	for i := range items {
		it := &items[i]
		if it.kind != itemMessage {
			s.writeSorted(items)
			s.notify(it)
			return i + 1
		}
		if len(items) == 1 {
			s.deliverOne(it)
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
			return i + 1
		}
	}
	s.writeSorted(items)
	return len(items)
}

// wanted reports whether the message is for this listener.
func (it *item) isFor(l *subscriber) bool {
	return it.seq > l.start && (it.hash == 0 || !l.sub.session.skipsEcho(it))
}

// direct writes one message, which needs no sorting.
func (s *shard) deliverOne(it *item) {
	var sent [protocol.NumProtocols]int
	budget := s.hub.cfg.Budget
	frame := append(s.frames[:0], nil)
	list := it.channel.Hub.in(s.index).list
	for i := range list {
		l := &list[i]
		if !it.isFor(l) {
			continue
		}
		frame[0] = it.frames[l.protocol]
		if l.outbox.Deliver(frame) {
			sent[l.protocol]++
		}
		budget.EnforceLimit()
	}
	frame[0] = nil
	s.frames = frame[:0]
	s.count(sent)
}

// sort adds item i to what the outbox gets in this step.
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

// write writes what was sorted, each outbox's frames in as few calls as possible.
func (s *shard) writeSorted(items []item) {
	var sent [protocol.NumProtocols]int
	budget := s.hub.cfg.Budget
	for i, o := range s.dirty {
		if i+1 < len(s.dirty) {
			s.touched += s.dirty[i+1].First // what the kernel does now drove it out of the caches: it comes meanwhile
		}
		frames := s.frames[:0]
		for at := o.First; at != 0; at = s.sorted[at].next {
			frames = append(frames, items[s.sorted[at].item].frames[o.Protocol])
		}
		o.First, o.Last = 0, 0
		if o.Deliver(frames) {
			sent[o.Protocol] += len(frames)
		}
		budget.EnforceLimit()
		s.frames = frames
	}
	clear(s.frames[:cap(s.frames)])
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

// notice tells those concerned what is no message.
func (s *shard) notify(it *item) {
	switch it.kind {
	case itemGap:
		for _, l := range it.channel.Hub.in(s.index).list {
			if it.seq > l.start {
				l.sub.session.sendGap(it)
			}
		}
	case itemOnline:
		for _, session := range s.sessions {
			if it.seq > session.existsSince {
				session.sendGap(it)
				session.clearEchoes()
			}
		}
	case itemOffline:
		for _, session := range s.sessions {
			if frame := it.frames[session.protocol.ID()]; frame != nil && it.seq > session.existsSince {
				session.outbox.Send(frame)
			}
		}
	}
}

// admit makes session one of the shard's. greet runs in the same step and learns whether Redis is away: what was said of
// that before is not for the session.
func (s *shard) add(session *Session, greet func(offline bool)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	session.index = len(s.sessions)
	s.sessions = append(s.sessions, session)
	offline := false
	offline, session.existsSince = s.hub.state()
	greet(offline)
}

func (s *shard) remove(session *Session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	last := len(s.sessions) - 1
	moved := s.sessions[last]
	s.sessions[session.index], moved.index = moved, session.index
	s.sessions[last] = nil
	s.sessions = s.sessions[:last]
}

// snapshot returns the sessions of this moment.
func (s *shard) list() []*Session {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.sessions)
}

// A mailbox holds the items that wait for a shard's goroutine, bounded in bytes.
type mailbox struct {
	mu     sync.Mutex
	filled sync.Cond // for the shard
	room   sync.Cond // for the source
	items  []item
	bytes  int
	closed bool
}

func (b *mailbox) init() { b.filled.L, b.room.L = &b.mu, &b.mu }

// put copies items into the box, and waits while it is full. An empty box takes anything.
func (b *mailbox) put(items []item) {
	charge := 0
	for i := range items {
		charge += items[i].charge()
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for b.bytes > 0 && b.bytes+charge > mailboxBytes && !b.closed {
		b.room.Wait()
	}
	b.items = append(b.items, items...)
	b.bytes += charge
	b.filled.Signal()
}

// take returns everything, and leaves spare to be filled next.
func (b *mailbox) take(spare []item) []item {
	b.mu.Lock()
	defer b.mu.Unlock()
	items := b.items
	b.items, b.bytes = spare, 0
	b.room.Signal()
	return items
}

// wait reports true once there is something to take, and false once the box is closed.
func (b *mailbox) wait() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	for len(b.items) == 0 && !b.closed {
		b.filled.Wait()
	}
	return !b.closed
}

func (b *mailbox) empty() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.items) == 0
}

func (b *mailbox) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	b.filled.Broadcast()
	b.room.Broadcast()
}
