package outbox

import "container/list"

// replayPage is about how many bytes a replay sends at once: so many are
// reserved for one that was woken.
const replayPage = 32 << 10

// A replayShare is the part of the total that replays may hold. The replays
// that find it full wait in a line. It is guarded by the budget's mu, and
// whenever it is unlocked, either no replay waits or there is no room.
type replayShare struct {
	bound   int64     // does not change
	held    int64     // bytes of the frames that replays queued, each counted once, and FrameCharge for each entry
	waiting list.List // of *waiter, first come first served
	granted int       // replays of this round that were woken and have not sent their page yet
	round   uint32    // counts the sweeps
}

// A waiter is a replay that waits until it may send its next page.
type waiter struct {
	// below is the number of bytes for which the outbox's own queue has to
	// count less, or 0 if the replay waits for the share. Guarded by the
	// outbox's mu.
	below int
	wake  func() // guarded by the outbox's mu if below is set, else by the budget's mu

	// Guarded by the budget's mu.
	place   *list.Element // in replayShare.waiting; nil if it does not wait for the share
	granted bool          // it was woken in this round: a page is reserved for it
	round   uint32        // in which it was woken
}

// hasRoom reports whether one more replay may send a page.
func (s *replayShare) hasRoom() bool { return s.held+int64(s.granted)*replayPage < s.bound }

// wakeNext wakes as many replays as there is room for.
func (s *replayShare) wakeNext() {
	for s.waiting.Len() > 0 && s.hasRoom() {
		w := s.waiting.Remove(s.waiting.Front()).(*waiter)
		w.place, w.granted, w.round = nil, true, s.round
		s.granted++
		w.wake()
	}
}

// endGrant ends the reservation of w, if it has one. w may be nil.
func (s *replayShare) endGrant(w *waiter) (had bool) {
	if w == nil || !w.granted {
		return false
	}
	w.granted = false
	if w.round != s.round {
		return false // the sweep ended it
	}
	s.granted--
	return true
}

// ask asks for room for w, which is nil if the outbox has no waiter. It returns
// nil if a page may be sent now that no reservation covers, and otherwise the
// waiter: it has a reservation if ready is true, and waits if not.
func (s *replayShare) ask(w *waiter, wake func()) (next *waiter, ready bool) {
	if w != nil && w.place != nil {
		w.wake = wake
		return w, false
	}
	woken := s.endGrant(w)
	switch {
	case s.hasRoom() && woken:
		w.granted = true
		s.granted++
		return w, true
	case s.hasRoom():
		return nil, true
	}
	w = &waiter{wake: wake}
	if woken {
		w.place = s.waiting.PushFront(w) // it was its turn
	} else {
		w.place = s.waiting.PushBack(w)
	}
	return w, false
}

// finish ends the reservation of w, if it has one. It returns false if w still
// waits.
func (s *replayShare) finish(w *waiter) bool {
	if w.place != nil {
		return false
	}
	if s.endGrant(w) {
		s.wakeNext()
	}
	return true
}

// leave gives up the place or the reservation of w. It reports whether w still
// waited.
func (s *replayShare) leave(w *waiter) (waited bool) {
	if s.finish(w) {
		return false
	}
	s.waiting.Remove(w.place)
	w.place = nil
	return true
}

// forget ends all reservations: a replay that was woken may have ended without
// sending a page. The sweep calls it, so a lost reservation delays others by
// a second at most.
func (s *replayShare) forget() {
	s.round++
	s.granted = 0
	s.wakeNext()
}

// ReplayBytes returns how many bytes the outboxes hold because of replays: the
// length of each frame that [Outbox.DeliverReplay] queued, counted once, and
// [FrameCharge] for each entry of a queue.
func (b *Budget) ReplayBytes() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.share.held
}
