package outbox

// DeliverReplay is like [Outbox.Deliver], but the entries that it queues count
// as held by replays.
func (o *Outbox) DeliverReplay(frames [][]byte) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	ok := o.sendLocked(frames, nil, true)
	if ok {
		o.messages += uint64(len(frames))
	}
	if w := o.waiter; w != nil && w.below == 0 && o.budget.finish(w) {
		o.waiter = nil
	}
	return ok
}

// Ready reports whether a replay may send its next page: the outbox is open,
// its queue counts for less than below bytes, and all replays together hold
// less than a quarter of the total, counted as in [Budget.ReplayBytes]. Pages
// that were promised to replays that waited count too.
//
// If the outbox is open but not ready, Ready registers wake. It is called once:
// when that may have changed, so the replay must call Ready again, or when the
// outbox does not accept frames any more. wake is called with locks held: it
// must neither wait nor call an outbox or the budget. An outbox has at most one
// wake: the next call of Ready replaces it, and keeps the outbox's place in the
// line.
//
// Replays that wait for the quarter are woken in the order in which they
// called Ready, and only as many as there is room for. A replay that was woken
// keeps its room until it calls DeliverReplay, until the outbox ends, or until
// the next sweep.
func (o *Outbox) Ready(below int, wake func()) (ready, open bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.state != outboxOpen {
		return false, false
	}
	if o.charged >= below {
		o.waitLocked(below, wake)
		return false, true
	}
	if o.waiter != nil && o.waiter.below > 0 {
		o.waiter = nil
	}
	o.waiter, ready = o.budget.ask(o.waiter, wake)
	return ready, true
}

// waitLocked registers wake for when the queue counts for less than below
// bytes.
func (o *Outbox) waitLocked(below int, wake func()) {
	o.leaveLocked(false)
	o.waiter = &waiter{below: below, wake: wake}
}

// leaveLocked removes the waiter. If notify is set and it still waits, it is
// woken.
func (o *Outbox) leaveLocked(notify bool) {
	w := o.waiter
	if w == nil {
		return
	}
	o.waiter = nil
	waited := w.below > 0 || o.budget.leave(w)
	if waited && notify {
		w.wake()
	}
}

// ask is [replayShare.ask].
func (b *Budget) ask(w *waiter, wake func()) (next *waiter, ready bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.share.ask(w, wake)
}

// leave is [replayShare.leave].
func (b *Budget) leave(w *waiter) (waited bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.share.leave(w)
}

// finish is [replayShare.finish].
func (b *Budget) finish(w *waiter) (finished bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.share.finish(w)
}
