package outbox

import "time"

// nextBytes bounds how many bytes [Outbox.Next] returns. A socket that writes
// by waiting reports progress only after each write, so it writes little at a
// time: one record of TLS.
const nextBytes = 16 << 10

// drainLocked starts to send the queue, unless that has already been started.
func (o *Outbox) drainLocked() {
	if o.draining {
		return
	}
	o.draining = true
	o.awaitRoomLocked()
}

// awaitRoomLocked makes the queue be sent when the kernel accepts more bytes. A
// kernel says that it does only after it has refused some.
func (o *Outbox) awaitRoomLocked() {
	if o.socket.Polled() {
		o.resumeLocked()
		return
	}
	o.budget.drains.Go(func() { o.socket.Drain(o) })
}

// Writable sends queued frames because the kernel may accept bytes again. It
// does nothing if none are queued. Only the event loop of a socket that is
// polled may call it; it does not wait.
func (o *Outbox) Writable() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.draining {
		o.resumeLocked()
	}
}

// Resume writes queued frames until the kernel accepts no more. It returns true
// when everything is sent, or nothing can be sent any more: then the Drain that
// called it must return. Only the socket's Drain may call it.
func (o *Outbox) Resume() (done bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.resumeLocked()
}

func (o *Outbox) resumeLocked() (done bool) {
	space := make([][]byte, 0, min(len(o.queue), writeBatch)) // an array would escape, and most queues are short
	for len(o.queue) > 0 && o.state != outboxClosed {
		frames := o.batchLocked(space)
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
	o.endDrainLocked()
	return true
}

// batchLocked appends the frames for one system call to into, without the bytes
// that were already sent.
func (o *Outbox) batchLocked(into [][]byte) [][]byte {
	for i := range o.queue[:min(len(o.queue), writeBatch)] {
		into = append(into, o.queue[i].frame)
	}
	if len(into) > 0 {
		into[0] = into[0][o.partial:]
	}
	return into
}

// Next appends the bytes to write next to into, for a socket that can only
// write by waiting. Their frames stay queued and charged until
// [Outbox.Written]. If Next returns no bytes, the Drain that called it must
// return. Only the socket's Drain may call it.
func (o *Outbox) Next(into [][]byte) [][]byte {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.queue) == 0 || o.state == outboxClosed {
		o.endDrainLocked()
		return nil
	}
	left, sent := nextBytes, int(o.partial)
	for o.pinned = 0; int(o.pinned) < len(o.queue) && left > 0; o.pinned++ {
		frame := o.queue[o.pinned].frame[sent:]
		frame = frame[:min(len(frame), left)]
		into = append(into, frame)
		left, sent = left-len(frame), 0
	}
	return into
}

// Written records that n bytes of the frames that Next returned were written,
// and the error that ended the connection, if any. Only the socket's Drain may
// call it.
func (o *Outbox) Written(n int, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.pinned = 0
	o.sentLocked(n)
	if err != nil {
		o.failLocked()
	}
}

// sentLocked removes n sent bytes from the front of the queue.
func (o *Outbox) sentLocked(n int) {
	o.sent += int64(n)
	charge, complete := n, 0
	n += int(o.partial)
	for complete < len(o.queue) && n >= len(o.queue[complete].frame) {
		n -= len(o.queue[complete].frame)
		charge += FrameCharge
		complete++
	}
	if o.held != nil {
		o.charged -= charge
		if charge > 0 {
			o.held.progress = time.Now()
		}
		o.releaseLocked(o.queue[:complete])
	}
	clear(o.queue[:complete])
	o.queue, o.partial, o.pinned = o.queue[complete:], int32(n), max(o.pinned-int32(complete), 0)
	if len(o.queue) == 0 {
		o.queue, o.partial = nil, 0
	}
	if o.waiter != nil && o.charged < o.waiter.below {
		o.leaveLocked(true)
	}
}

// endDrainLocked ends a drain, and half-closes the connection if no frames may
// follow.
func (o *Outbox) endDrainLocked() {
	o.draining = false
	if o.state == outboxClosing || o.state == outboxEvicted {
		o.socket.Finish()
	}
}
