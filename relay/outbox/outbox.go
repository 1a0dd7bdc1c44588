package outbox

import (
	"sync"
	"time"

	"sidecast/relay/protocol"
	"sidecast/relay/stats"
)

// FrameCharge is the number of bytes that a queued frame counts for in addition
// to its length: its slot in the queue and its share of the frame's slice
// header.
const FrameCharge = 64

// writeBatch bounds how many frames are given to the kernel in one call.
const writeBatch = 64

// An Outbox is the queue of everything that waits to be sent to one client, in
// order. It writes at once what the kernel accepts and queues the rest, up to a
// bound in bytes. A client that exceeds it, or accepts nothing for too long, is
// evicted. No method waits for the client. All methods may be called
// concurrently. Frames are shared between clients, so they must not be changed
// after they were sent.
//
// The order of the fields matters: the fields that a delivery uses are together
// at the end, next to the socket, which the transport allocates in one piece
// with the outbox.
type Outbox struct {
	budget     *Budget // shared by all outboxes
	evictFrame []byte  // the last frame for an evicted client

	// Guarded by mu.
	partial               int32    // bytes of queue[0] that the kernel accepted
	pinned                int32    // frames at the front that must stay: a waiting Drain is writing them, or Hold queued them
	lostLive, lostDurable Tag      // the first messages that were not sent; 0: none
	charged               int      // bytes that the queue counts for; 0 after an eviction
	held                  *holding // what the budget counts for the queue; nil if nothing
	waiter                *waiter  // a replay that waits or has a reservation; nil if there is none

	mu          sync.Mutex
	state       outboxState
	draining    bool // a Drain is running, or the outbox is held
	closeQueued bool // the close frame is queued, or sent
	evicted     bool
	evictReason stats.EvictionReason

	// Protocol is the protocol of the client's session. Only Hub.Join of
	// package relay writes it, before the first delivery. After that it does
	// not change, and the session's shard reads it.
	Protocol protocol.ID

	lostReplays uint16 // guarded by mu: frames of replays that were not sent
	// First and Last are the first and last delivery to this client in the
	// shard's current step, as indexes into the shard's list, or 0. Only the
	// session's shard uses them, with the shard's lock held. They are 0 between
	// steps.
	First, Last int32

	// Guarded by mu.
	socket   Socket   // does not change after Init
	queue    []queued // frames that the kernel has not accepted, oldest first
	sent     int64    // bytes that the kernel accepted
	messages uint64   // messages that were sent or queued
}

type outboxState uint8

const (
	outboxOpen    outboxState = iota
	outboxClosing             // the close frame is queued: nothing may follow
	outboxEvicted             // as outboxClosing, and the queue was dropped
	outboxClosed              // the outbox was shut, or the connection failed
)

// A queued is an entry of a queue.
type queued struct {
	frame  []byte
	tag    Tag  // of the message; 0 if it is none, or of a replay
	replay bool // a replay queued it
}

// Init prepares o for use. It must be called before any other method. slow is
// the frame that tells the client that it was evicted, or nil.
func (o *Outbox) Init(b *Budget, s Socket, slow []byte) {
	o.budget, o.socket, o.evictFrame = b, s, slow
}

// Hold queues first and everything after it until [Outbox.Release]: when a
// client reads the response to its handshake, it already has its place in every
// channel. It must be called before anything else is sent.
func (o *Outbox) Hold(first []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.draining = true // as if the socket accepted nothing now
	o.queueLocked([][]byte{first}, nil, false)
	o.pinned = int32(len(o.queue)) // not even an eviction drops it
}

// Release sends everything that was queued since Hold. It must be called once
// after Hold.
func (o *Outbox) Release() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.resumeLocked() && !o.socket.Polled() {
		o.budget.drains.Go(func() { o.socket.Drain(o) })
	}
}

// Send sends or queues a frame. It returns false if the outbox accepts nothing
// any more.
func (o *Outbox) Send(frame []byte) bool {
	o.mu.Lock()
	one := [1][]byte{frame}
	ok := o.sendLocked(one[:], nil, false)
	o.mu.Unlock()
	o.budget.EnforceLimit()
	return ok
}

// Deliver sends or queues messages, with as few system calls as possible. tags
// has one for each message, or is nil. It returns false if the outbox accepts
// nothing any more. The caller must call [Budget.EnforceLimit] afterwards.
func (o *Outbox) Deliver(frames [][]byte, tags []Tag) bool {
	o.mu.Lock()
	ok := o.sendLocked(frames, tags, false)
	if ok {
		o.messages += uint64(len(frames))
	}
	o.mu.Unlock()
	return ok
}

// sendLocked sends or queues frames, with as few system calls as possible. tags
// are those of the frames, or nil. replay is set if they count as held by replays. The caller must call
// [Budget.EnforceLimit] after unlocking.
func (o *Outbox) sendLocked(frames [][]byte, tags []Tag, replay bool) bool {
	if o.state != outboxOpen {
		o.loseAllLocked(frames, tags, replay)
		return false
	}
	for len(o.queue) == 0 && len(frames) > 0 {
		batch := frames[:min(len(frames), writeBatch)]
		n, err := o.socket.Send(batch)
		if err != nil {
			o.loseAllLocked(frames, tags, replay)
			o.failLocked()
			return false
		}
		o.sent += int64(n)
		complete := 0
		for complete < len(batch) && n >= len(batch[complete]) {
			n -= len(batch[complete])
			complete++
		}
		frames, tags = frames[complete:], tagsFrom(tags, complete)
		if complete < len(batch) {
			o.partial = int32(n)
			break
		}
	}
	if len(frames) > 0 {
		o.queueLocked(frames, tags, replay)
	}
	return o.state == outboxOpen
}

// queueLocked queues frames and evicts the client if the queue becomes too
// large. One frame always fits into an empty outbox.
func (o *Outbox) queueLocked(frames [][]byte, tags []Tag, replay bool) {
	before := len(o.queue)
	if before == 0 {
		o.charged -= int(o.partial)
	}
	full, accepted := false, 0
	for i, frame := range frames {
		charge := len(frame) + FrameCharge
		if full = len(o.queue) > 0 && o.charged+charge > o.budget.perOutbox; full {
			break
		}
		accepted++
		entry := queued{frame: frame, replay: replay}
		if tags != nil {
			entry.tag = tags[i]
		}
		o.queue = append(o.queue, entry)
		o.charged += charge
	}
	o.holdLocked(o.queue[before:])
	if full {
		o.evictLocked(stats.EvictBytes)
		o.loseAllLocked(frames[accepted:], tagsFrom(tags, accepted), replay)
		return
	}
	o.drainLocked()
}

// holdLocked charges the budget for entries that were queued.
func (o *Outbox) holdLocked(entries []queued) {
	if len(entries) == 0 {
		return
	}
	if o.held == nil {
		o.held = &holding{outbox: o, progress: time.Now()}
	}
	o.budget.hold(o.held, entries)
}

// releaseLocked charges the budget for entries no more, if it was charged.
func (o *Outbox) releaseLocked(entries []queued) {
	if o.held != nil && len(entries) > 0 && o.budget.release(o.held, entries) {
		o.held = nil
	}
}

// Pending returns how many bytes the queue counts for (those that the kernel
// has not accepted, and [FrameCharge] for each frame), and when the client last
// made progress: the zero time if nothing is queued.
func (o *Outbox) Pending() (bytes int, since time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.held != nil {
		since = o.held.progress
	}
	return o.charged, since
}

// Flushed reports whether nothing is left to send.
func (o *Outbox) Flushed() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.queue) == 0
}

// Sent returns how many bytes the kernel accepted, and how many messages were
// sent or queued.
func (o *Outbox) Sent() (bytes int64, messages uint64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.sent, o.messages
}

// Evicted reports whether the client was evicted, and why.
func (o *Outbox) Evicted() (why stats.EvictionReason, evicted bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.evictReason, o.evicted
}
