package outbox

// A waiter is a call of Room that waits.
type waiter struct {
	below int    // the number of bytes for which the queue has to count less
	wake  func() // called once
}

// Room waits until the queue counts for less than below bytes. It returns true
// if something can be sent then, and false if not or if stop is closed first.
// Only one goroutine at a time may wait.
func (o *Outbox) Room(below int, stop <-chan struct{}) bool {
	o.mu.Lock()
	if o.state != outboxOpen || o.charged < below {
		defer o.mu.Unlock()
		return o.state == outboxOpen
	}
	ready := make(chan struct{})
	o.waitLocked(below, func() { close(ready) })
	o.mu.Unlock()
	select {
	case <-ready:
	case <-stop:
		return false
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.state == outboxOpen
}

// waitLocked registers wake for when the queue counts for less than below
// bytes.
func (o *Outbox) waitLocked(below int, wake func()) {
	o.waiter = &waiter{below: below, wake: wake}
}

// leaveLocked removes the waiter and wakes it.
func (o *Outbox) leaveLocked() {
	if w := o.waiter; w != nil {
		o.waiter = nil
		w.wake()
	}
}
