package relay

import (
	"context"
	"runtime"
	"slices"
	"sync"
	"time"

	"sidecast/relay/stream"
)

const (
	// resumeTimeout is how long a subscribe waits for Redis. Then a durable
	// channel is answered with `unavailable`, and a live one as not recovered.
	resumeTimeout = 10 * time.Second
	// resumeRetry is how soon Redis is asked again after an error.
	resumeRetry = stream.RetryAfter
	// catchUpTimeout is longer than the link needs to detect that it is broken,
	// which also ends the wait.
	catchUpTimeout = 30 * time.Second

	// resumeBurst is how long a goroutine that runs resumes works before it
	// rests for resumeRest, so that the Go runtime notices what has arrived from
	// Redis even if all processors are busy.
	resumeBurst = time.Millisecond
	resumeRest  = 50 * time.Microsecond
)

// A resumer runs the resumes of all sessions: what a client missed is sent by a
// few goroutines, not by those that read from the clients. So however many
// clients return at once, few of them at a time compete with the source for the
// locks and the processors. Sessions take turns, a page each, and so do the
// resumes of one session. Nothing here waits for a client, or holds messages
// for a resume that waits.
type resumer struct {
	hub  *Hub
	done chan struct{} // closed when no more steps are taken

	mu     sync.Mutex
	work   sync.Cond  // queue has a session, or closed is set
	queue  []*Session // those that take the next turns
	closed bool

	forLink map[*resume]struct{} // wait for the next link
	behind  map[*resume]struct{} // wait until the hub has caught up with Redis
	catchUp sync.Cond            // behind has an element, or closed is set
}

// Turns are the resumes of one session that can take a step. The resumer's mu
// guards them.
type turns struct {
	ready   []*resume // the next one first
	busy    bool      // the session is in the queue, has its turn, or is stalled
	waits   bool      // its outbox will say when there is room
	stalled bool      // its next turn is when there is room
}

// A resumeState says where a resume is. The resumer's mu guards it.
type resumeState uint8

const (
	resumeReady    resumeState = iota // in turns.ready
	resumeStepping                    // taking a step
	resumeAgain                       // as resumeStepping, and it must take another step after this one
	resumeParked                      // until wake
	resumeEnded
)

func newResumer(h *Hub) *resumer {
	q := &resumer{hub: h, done: make(chan struct{}), forLink: make(map[*resume]struct{}), behind: make(map[*resume]struct{})}
	q.work.L, q.catchUp.L = &q.mu, &q.mu
	return q
}

// run takes steps until ctx ends.
func (q *resumer) run(ctx context.Context) {
	defer close(q.done)
	stop := context.AfterFunc(ctx, q.close)
	defer stop()
	var wg sync.WaitGroup
	for range max(1, runtime.GOMAXPROCS(0)/2) {
		wg.Go(q.takeTurns)
	}
	wg.Go(func() { q.catchUpLoop(ctx) })
	wg.Wait()
}

func (q *resumer) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.work.Broadcast()
	q.catchUp.Broadcast()
}

// start runs a resume to its end.
func (q *resumer) start(r *resume) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.readyLocked(r)
}

// wake lets a parked resume take another step. It may be called with any lock
// held.
func (q *resumer) wake(r *resume) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.wakeLocked(r)
}

func (q *resumer) wakeLocked(r *resume) {
	switch r.state {
	case resumeParked:
		q.readyLocked(r)
	case resumeStepping:
		r.state = resumeAgain
	}
}

// cancel ends a resume whose subscription has ended, unless it is taking a step:
// then that is its last one. It may be called with a shard locked.
func (q *resumer) cancel(r *resume) {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch r.state {
	case resumeStepping, resumeAgain:
		return
	case resumeReady:
		s := r.session
		s.turns.ready = slices.DeleteFunc(s.turns.ready, func(other *resume) bool { return other == r })
		if len(s.turns.ready) == 0 && s.turns.stalled {
			s.turns.stalled, s.turns.busy = false, false
		}
	}
	q.forgetLocked(r)
}

// forgetLocked removes a resume that has ended from the resumer.
func (q *resumer) forgetLocked(r *resume) {
	r.state = resumeEnded
	delete(q.forLink, r)
	delete(q.behind, r)
	r.stopTimer()
}

func (q *resumer) readyLocked(r *resume) {
	r.state = resumeReady
	s := r.session
	if s.turns == nil {
		s.turns = new(turns)
	}
	s.turns.ready = append(s.turns.ready, r)
	if !s.turns.busy {
		s.turns.busy = true
		q.pushLocked(s)
	}
}

func (q *resumer) pushLocked(s *Session) {
	q.queue = append(q.queue, s)
	q.work.Signal()
}

// takeTurns runs the resumes of one session after the other until the resumer
// is closed.
func (q *resumer) takeTurns() {
	began := time.Now()
	for {
		s, r, waited := q.next()
		switch {
		case r == nil:
			return
		case waited:
			began = time.Now()
		}
		q.finish(s, r, q.turn(s, r))
		if time.Since(began) > resumeBurst {
			time.Sleep(resumeRest)
			began = time.Now()
		}
	}
}

// next waits for a session's turn and returns its next resume, or nil when the
// resumer is closed.
func (q *resumer) next() (s *Session, r *resume, waited bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for {
		for len(q.queue) == 0 && !q.closed {
			waited = true
			q.work.Wait()
		}
		if q.closed {
			return nil, nil, waited
		}
		s = q.queue[0]
		q.queue[0] = nil
		q.queue = q.queue[1:]
		if len(s.turns.ready) > 0 {
			r = s.turns.ready[0]
			s.turns.ready = slices.Delete(s.turns.ready, 0, 1)
			r.state = resumeStepping
			return s, r, waited
		}
		s.turns.busy = false // its resumes were canceled
	}
}

// turn takes a step of a resume.
func (q *resumer) turn(s *Session, r *resume) stepResult {
	if result := r.step(0); result != stepFull {
		return result
	}
	q.setWaits(s, true)
	switch ready, open := s.outbox.Ready(replayLow, func() { q.roomAgain(s) }); {
	case !open:
		q.setWaits(s, false)
		return stepDone // nothing can be sent any more
	case ready:
		q.setWaits(s, false)
		return r.step(replayPage)
	}
	// Replays hold all that they may, or this client reads slowly. Clients that
	// read slowly must not keep others from resuming, so one for which nothing
	// waits always gets a little.
	if bytes, _ := s.outbox.Pending(); bytes == 0 {
		q.setWaits(s, false)
		return r.step(replayTail)
	}
	return stepFull
}

func (q *resumer) setWaits(s *Session, waits bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	s.turns.waits = waits
}

// roomAgain gives a session a turn that has waited for room in its outbox. It
// may be called with any lock held.
func (q *resumer) roomAgain(s *Session) {
	q.mu.Lock()
	defer q.mu.Unlock()
	s.turns.waits = false
	if s.turns.stalled {
		s.turns.stalled = false
		q.pushLocked(s)
	}
}

// finish ends a turn: it puts the resume where it belongs, and its session back
// into the queue if that has a resume that can take another step.
func (q *resumer) finish(s *Session, r *resume, result stepResult) {
	q.mu.Lock()
	defer q.mu.Unlock()
	again := r.state == resumeAgain
	r.state = resumeReady
	switch {
	case result == stepDone:
		q.forgetLocked(r)
	case result == stepFull:
		s.turns.ready = slices.Insert(s.turns.ready, 0, r)
		if s.turns.waits {
			s.turns.stalled = true
			return
		}
	case result == stepWait && !again:
		r.state = resumeParked
	default:
		s.turns.ready = append(s.turns.ready, r)
	}
	if s.turns.busy = len(s.turns.ready) > 0; s.turns.busy {
		q.pushLocked(s)
	}
}

// awaitLink has r woken when the next link begins. The hub is locked, and is
// offline.
func (q *resumer) awaitLink(r *resume) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.forLink[r] = struct{}{}
}

// linkUp wakes the resumes that wait for a link.
func (q *resumer) linkUp() {
	q.mu.Lock()
	defer q.mu.Unlock()
	for r := range q.forLink {
		q.wakeLocked(r)
	}
	clear(q.forLink)
}

// A caughtUp is the result of waiting until the hub has received everything
// that Redis had published before.
type caughtUp uint8

const (
	caughtUpUnknown caughtUp = iota // did not wait
	caughtUpYes
	caughtUpFailed // the link was lost or replaced before that
)

// caughtUp returns the result of the last awaitCatchUp of r, once.
func (q *resumer) caughtUp(r *resume) caughtUp {
	q.mu.Lock()
	defer q.mu.Unlock()
	result := r.caughtUp
	r.caughtUp = caughtUpUnknown
	return result
}

// awaitCatchUp has r woken with a result for caughtUp.
func (q *resumer) awaitCatchUp(r *resume) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.behind[r] = struct{}{}
	q.catchUp.Signal()
}

// catchUpLoop waits for the link, each time for all resumes that need it.
func (q *resumer) catchUpLoop(ctx context.Context) {
	for {
		list := q.nextBehind()
		if list == nil {
			return
		}
		result := caughtUpYes
		if wait := q.hub.cfg.CatchUp; wait != nil {
			limited, cancel := context.WithTimeout(ctx, catchUpTimeout)
			if wait(limited) != nil {
				result = caughtUpFailed
			}
			cancel()
		}
		q.mu.Lock()
		for r := range list {
			r.caughtUp = result
			q.wakeLocked(r)
		}
		q.mu.Unlock()
	}
}

// nextBehind waits for resumes that wait until the hub has caught up. It
// returns nil when the resumer is closed.
func (q *resumer) nextBehind() (list map[*resume]struct{}) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.behind) == 0 && !q.closed {
		q.catchUp.Wait()
	}
	if q.closed {
		return nil
	}
	list, q.behind = q.behind, make(map[*resume]struct{})
	return list
}
