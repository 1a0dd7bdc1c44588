package outbox

import (
	"time"

	"sidecast/relay/stats"
)

// There are four ways to end an outbox: Close sends what is queued, Evict drops
// it and sends a last frame, Abort drops it because the connection has failed,
// and Shut drops it because the owner closes the connection.

// Close sends last, unless it is nil, after everything that is queued, and then
// half-closes the connection. Nothing can be sent after it. Further calls do
// nothing.
func (o *Outbox) Close(last []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.state != outboxOpen {
		return
	}
	if last != nil {
		one := [1][]byte{last}
		o.sendLocked(one[:], nil, false)
	}
	if o.state != outboxOpen {
		return
	}
	o.closeQueued = last != nil
	o.state = outboxClosing
	o.leaveLocked(true)
	if !o.draining {
		o.socket.Finish()
	}
}

// Evict disconnects a slow client. It drops the queue except for a frame of
// which a part was sent, queues the frame given to Init, and makes reading from
// the connection end a second later. It does nothing if the client was already
// evicted or the outbox was aborted or shut.
func (o *Outbox) Evict(why stats.EvictionReason) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.state == outboxOpen || o.state == outboxClosing {
		o.evictLocked(why)
	}
}

func (o *Outbox) evictLocked(why stats.EvictionReason) {
	o.budget.stats.Evicted(why)
	begun := int(o.pinned)
	if o.partial > 0 {
		begun = max(begun, 1)
	}
	begun = min(begun, len(o.queue))
	closed := o.closeQueued && begun == len(o.queue) // nothing may follow the close frame, of which a part was sent
	o.evicted, o.evictReason = true, why
	o.state = outboxEvicted
	o.leaveLocked(true)
	kept := o.queue[:0:0]
	kept = append(kept, o.queue[:begun]...)
	if o.evictFrame != nil && !closed {
		kept = append(kept, queued{frame: o.evictFrame})
	}
	o.loseQueueLocked(o.queue[begun:])
	o.releaseLocked(o.queue)
	o.queue, o.charged = kept, 0
	o.socket.Expire(time.Second)
	o.drainLocked()
}

// Abort ends a connection that has failed or whose peer does not answer:
// nothing more is sent, and reading from it ends at once.
func (o *Outbox) Abort() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.state != outboxClosed {
		o.failLocked()
	}
}

// failLocked drops the queue and ends reading, because the connection has
// failed.
func (o *Outbox) failLocked() {
	o.dropLocked()
	o.socket.Expire(0)
}

func (o *Outbox) dropLocked() {
	o.state = outboxClosed
	o.loseQueueLocked(o.queue)
	o.releaseLocked(o.queue)
	o.queue, o.partial, o.charged = nil, 0, 0
	o.leaveLocked(true)
}

// Shut drops the queue and makes every later call do nothing. After it has
// returned, the outbox does not call the socket's Send and Finish any more, so
// the owner may close the connection.
func (o *Outbox) Shut() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.state != outboxClosed {
		o.dropLocked()
	}
}
