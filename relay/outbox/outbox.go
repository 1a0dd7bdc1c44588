package outbox

import (
	"sync"
	"time"

	"sidecast/relay/protocol"
	"sidecast/relay/stats"
)

// frameCharge is what a queued frame costs beside its bytes: the queue's own slot and the share of the frame's header.
const FrameCharge = 64

// writeBatch is how many frames go to the kernel in one call at most.
const writeBatch = 64

// A Socket is the sending end of one connection, as an [Outbox] drives it.
type Socket interface {
	// Send gives the kernel what it takes of frames without waiting, and returns how many bytes that were. Zero and nil
	// means "not now". It is called with the outbox locked.
	Send(frames [][]byte) (int, error)
	// Drain runs on a goroutine of its own until o has nothing left to send, and calls [Outbox.Resume] whenever the
	// socket may take more. At most one Drain runs at a time; it returns soon after Close.
	Drain(o *Outbox)
	// Finish half-closes the connection once everything was sent, and gives the peer a second to close its half, after
	// which reading from the connection ends.
	Finish()
	// Expire makes reading from the connection end after d.
	Expire(d time.Duration)
}

// An Outbox is everything that waits to be sent to one client, in order. It tries the kernel at once and keeps only what
// the kernel refused, up to a bound in bytes and in age, beyond which the client is evicted. No method waits for the
// client. All methods may be called concurrently; frames are shared and must not be changed after they were sent.
//
// The order of the fields matters: what a delivery touches lies together at the end, beside the socket, where the
// transport keeps both in one allocation.
type Outbox struct {
	budget *Budget // shared by all outboxes
	evictFrame   []byte  // the frame that an evicted client gets

	// Guarded by mu.
	partial int           // bytes of queue[0] that the kernel took
	taken   int           // frames at the front that stay: a waiting Drain is writing them, or the first was held
	charged int           // what the queue counts for
	below   int           // what somebody waits for the queue to count for
	drained    chan struct{} // closed when it does, or nothing can be sent any more; nil if nobody waits

	mu       sync.Mutex
	state    outboxState
	draining bool // a Drain is running, or the outbox is held
	closeQueued   bool // the close frame is queued, or sent
	evicted  bool
	why      stats.EvictionReason

	Protocol    protocol.ID // static after the session joined
	First, Last int32       // owned by the session's shard: the deliveries of the running step

	// Guarded by mu.
	socket   Socket   // static after Init
	queue    []queued // what the kernel refused, oldest first
	sent     int64    // bytes that the kernel took
	messages uint64   // that were sent or queued
}

type outboxState uint8

const (
	outboxOpen    outboxState = iota
	outboxClosing             // the close frame is queued: nothing may follow
	outboxEvicted             // as closing, and the queue was dropped
	outboxClosed              // the socket is gone or failed
)

type queued struct {
	frame []byte
	at    time.Time
}

// Init readies o for use. slow is the frame that tells the client that it was evicted, or nil.
func (o *Outbox) Init(b *Budget, s Socket, slow []byte) { o.budget, o.socket, o.evictFrame = b, s, slow }

// Hold queues first and keeps everything behind it until [Outbox.Release]: so a client that reads the answer to its
// handshake already has its place in every channel. It is called before anything else is sent.
func (o *Outbox) Hold(first []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.draining = true // as if the socket took nothing now
	o.queueLocked([][]byte{first})
	o.taken = len(o.queue) // not even an eviction drops it
}

// Release sends what was held.
func (o *Outbox) Release() {
	if !o.Resume() {
		o.budget.drains.Go(func() { o.socket.Drain(o) })
	}
}

// Send sends frame, or queues it. It reports false when the outbox takes nothing any more.
func (o *Outbox) Send(frame []byte) bool {
	o.mu.Lock()
	one := [1][]byte{frame}
	ok := o.sendLocked(one[:])
	o.mu.Unlock()
	o.budget.EnforceLimit()
	return ok
}

// deliver sends messages, in one call where it can, and reports whether the outbox took them. The caller calls
// budget.relieve.
func (o *Outbox) Deliver(frames [][]byte) bool {
	o.mu.Lock()
	ok := o.sendLocked(frames)
	if ok {
		o.messages += uint64(len(frames))
	}
	o.mu.Unlock()
	return ok
}

// sendLocked sends frames in one call where it can. The caller calls budget.relieve after unlocking.
func (o *Outbox) sendLocked(frames [][]byte) bool {
	if o.state != outboxOpen {
		return false
	}
	for len(o.queue) == 0 && len(frames) > 0 {
		some := frames[:min(len(frames), writeBatch)]
		n, err := o.socket.Send(some)
		if err != nil {
			o.failLocked()
			return false
		}
		o.sent += int64(n)
		taken := 0
		for taken < len(some) && n >= len(some[taken]) {
			n -= len(some[taken])
			taken++
		}
		frames = frames[taken:]
		if taken < len(some) {
			o.partial = n
			break
		}
	}
	if len(frames) > 0 {
		o.queueLocked(frames)
	}
	return o.state == outboxOpen
}

// queueLocked keeps what the kernel refused, and evicts the client when that is too much: one frame always fits an empty
// outbox.
func (o *Outbox) queueLocked(frames [][]byte) {
	now := time.Now()
	charge := 0
	if len(o.queue) == 0 {
		charge -= o.partial
	}
	for _, frame := range frames {
		if len(o.queue) > 0 && o.charged+charge+len(frame)+FrameCharge > o.budget.each {
			o.chargeLocked(charge)
			o.evictLocked(stats.EvictBytes)
			return
		}
		o.queue = append(o.queue, queued{frame, now})
		charge += len(frame) + FrameCharge
	}
	o.chargeLocked(charge)
	o.drainLocked()
}

// chargeLocked books n bytes more (or fewer) with the budget.
func (o *Outbox) chargeLocked(n int) {
	was := o.charged
	o.charged += n
	o.budget.charge(o, was, o.charged)
}

// drainLocked makes sure that somebody waits for the socket to take more.
func (o *Outbox) drainLocked() {
	if o.draining {
		return
	}
	o.draining = true
	o.budget.drains.Go(func() { o.socket.Drain(o) })
}

// Resume gives the socket as much as it takes, and reports whether everything is sent (or nothing will be any more): the
// Drain that called it then returns. Only the socket's Drain calls it.
func (o *Outbox) Resume() (done bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	some := make([][]byte, 0, min(len(o.queue), writeBatch)) // an array would escape, and most queues are short
	for len(o.queue) > 0 && o.state != outboxClosed {
		frames := o.nextLocked(some)
		n, err := o.socket.Send(frames)
		if err != nil {
			o.failLocked()
			break
		}
		if n == 0 {
			return false
		}
		o.sentLocked(n)
	}
	o.settleLocked()
	return true
}

// takeBytes bounds what one waiting write holds, in bytes beyond its first frame.
const takeBytes = 64 << 10

// Take returns the frames to send next, for a socket that can only write by waiting. They stay charged until [Outbox.Took].
// Only the socket's Drain calls it; no frames means that Drain is to return.
func (o *Outbox) Take(into [][]byte) [][]byte {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.queue) == 0 || o.state == outboxClosed {
		o.settleLocked()
		return nil
	}
	bytes := 0
	for o.taken = 0; o.taken < len(o.queue) && (o.taken == 0 || bytes < takeBytes); o.taken++ {
		bytes += len(o.queue[o.taken].frame)
		into = append(into, o.queue[o.taken].frame)
	}
	into[0] = into[0][o.partial:]
	return into
}

// Took books n bytes of what Take returned as sent, or the error that ended the connection.
func (o *Outbox) Took(n int, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.taken = 0
	o.sentLocked(n)
	if err != nil {
		o.failLocked()
	}
}

func (o *Outbox) nextLocked(into [][]byte) [][]byte {
	for i := range o.queue[:min(len(o.queue), writeBatch)] {
		into = append(into, o.queue[i].frame)
	}
	if len(into) > 0 {
		into[0] = into[0][o.partial:]
	}
	return into
}

// takenLocked takes n sent bytes off the front of the queue.
func (o *Outbox) sentLocked(n int) {
	o.sent += int64(n)
	charge, gone := -n, 0
	n += o.partial
	for gone < len(o.queue) && n >= len(o.queue[gone].frame) {
		n -= len(o.queue[gone].frame)
		o.queue[gone] = queued{}
		charge -= FrameCharge
		gone++
	}
	o.queue, o.partial, o.taken = o.queue[gone:], n, max(o.taken-gone, 0)
	if len(o.queue) == 0 {
		o.queue, o.partial = nil, 0
	}
	if o.state == outboxOpen || o.state == outboxClosing {
		o.chargeLocked(charge)
	}
	if o.drained != nil && o.charged < o.below {
		o.wakeLocked()
	}
}

// Room waits until what is queued counts for less than below bytes, and reports whether anything can be sent then. It
// returns false at once when stop is closed. One goroutine at a time may wait.
func (o *Outbox) Room(below int, stop <-chan struct{}) bool {
	o.mu.Lock()
	if o.state != outboxOpen || o.charged < below {
		defer o.mu.Unlock()
		return o.state == outboxOpen
	}
	room := make(chan struct{})
	o.drained, o.below = room, below
	o.mu.Unlock()
	select {
	case <-room:
	case <-stop:
		return false
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.state == outboxOpen
}

func (o *Outbox) wakeLocked() {
	if o.drained != nil {
		close(o.drained)
		o.drained = nil
	}
}

// settleLocked ends a drain.
func (o *Outbox) settleLocked() {
	o.draining = false
	if o.state == outboxClosing || o.state == outboxEvicted {
		o.socket.Finish()
	}
}

// Close sends last behind everything that is queued and then half-closes the connection. Nothing can be sent after it;
// later calls do nothing.
func (o *Outbox) Close(last []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.state != outboxOpen {
		return
	}
	if last != nil {
		one := [1][]byte{last}
		o.sendLocked(one[:])
	}
	if o.state != outboxOpen {
		return
	}
	o.closeQueued = last != nil
	o.state = outboxClosing
	o.wakeLocked()
	if !o.draining {
		o.socket.Finish()
	}
}

// Evict throws a slow client out: the queue is dropped at a frame boundary, the frame begun is finished, the close frame
// added, and the connection reset a second later. It does nothing unless the outbox is open.
func (o *Outbox) Evict(why stats.EvictionReason) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.state == outboxOpen || o.state == outboxClosing {
		o.evictLocked(why)
	}
}

func (o *Outbox) evictLocked(why stats.EvictionReason) {
	o.budget.stats.Evicted(why)
	begun := o.taken
	if o.partial > 0 {
		begun = max(begun, 1)
	}
	begun = min(begun, len(o.queue))
	closed := o.closeQueued && begun == len(o.queue) // nothing may follow the close frame, of which a part has left
	o.evicted, o.why = true, why
	o.state = outboxEvicted
	o.wakeLocked()
	kept := o.queue[:0:0]
	kept = append(kept, o.queue[:begun]...)
	if o.evictFrame != nil && !closed {
		kept = append(kept, queued{frame: o.evictFrame, at: time.Now()})
	}
	o.queue = kept
	o.chargeLocked(-o.charged)
	o.socket.Expire(time.Second)
	o.drainLocked()
}

// failLocked gives the connection up: the socket does not take bytes any more.
func (o *Outbox) failLocked() {
	o.dropLocked()
	o.socket.Expire(0)
}

func (o *Outbox) dropLocked() {
	o.state = outboxClosed
	o.queue, o.partial = nil, 0
	o.chargeLocked(-o.charged)
	o.wakeLocked()
}

// Abort gives a connection up whose peer is gone: nothing more is sent, and reading from it ends.
func (o *Outbox) Abort() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.state != outboxClosed {
		o.failLocked()
	}
}

// Shut drops everything and makes every later call do nothing. After it returned, Send and Finish of the socket are not
// called any more, so that its owner may close it.
func (o *Outbox) Shut() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.state != outboxClosed {
		o.dropLocked()
	}
}

// Pending reports how many bytes the outbox is charged with, and since when the oldest of them waits.
func (o *Outbox) Pending() (bytes int, since time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.queue) > 0 {
		since = o.queue[0].at
	}
	return o.charged, since
}

// Evicted reports whether and why the client was thrown out.
func (o *Outbox) Evicted() (why stats.EvictionReason, evicted bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.why, o.evicted
}

// Flushed reports whether nothing is left to send.
func (o *Outbox) Flushed() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.queue) == 0
}

// Sent returns how many bytes the kernel took, and how many messages were sent or queued.
func (o *Outbox) Sent() (bytes int64, messages uint64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.sent, o.messages
}
