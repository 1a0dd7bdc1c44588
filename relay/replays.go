package relay

import (
	"context"
	"sync"
	"time"

	"sidecast/relay/outbox"
)

// replayRetry is how soon replays that all wait for Redis are tried again, while there is a link to it.
const replayRetry = 250 * time.Millisecond

// A pace is what comes of a step.
type stepResult uint8

const (
	stepDone stepResult = iota // there is no more to do
	stepMore                // there is
	stepWait              // there is, but not before Redis answers again
)

// A stepper does something in steps, until there is no more to do. A step waits for no more than one answer of Redis.
type task interface {
	step(ctx context.Context) stepResult
}

// replays are those of one session that take more than a moment: its goroutine takes a step of each in turn, as fast as
// the client reads, so that one that waits for Redis holds up no other.
type replayQueue struct {
	hub     *Hub
	ctx     context.Context // ends when the session leaves
	stop    context.CancelFunc
	running sync.WaitGroup
	added    chan struct{} // another one was queued

	mu    sync.Mutex
	tasks []task
}

// later leaves the rest of a replay to a goroutine. The session's own goroutine calls it.
func (s *Session) enqueueReplay(r task) {
	if s.queue == nil {
		s.queue = &replayQueue{hub: s.hub, added: make(chan struct{}, 1)}
		s.queue.ctx, s.queue.stop = context.WithCancel(context.Background())
	}
	q := s.queue
	q.mu.Lock()
	q.tasks = append(q.tasks, r)
	first := len(q.tasks) == 1
	q.mu.Unlock()
	if first {
		q.running.Go(func() { q.run(s.outbox, r) })
		return
	}
	select {
	case q.added <- struct{}{}:
	default:
	}
}

// run runs replays until there is none left, or the session leaves.
func (q *replayQueue) run(o *outbox.Outbox, r task) {
	left, waiting := 0, 0
	for r != nil {
		p := stepDone
		if q.ctx.Err() == nil && o.Room(replayLow, q.ctx.Done()) {
			p = r.step(q.ctx)
		}
		if p != stepWait {
			waiting = 0
		} else {
			waiting++
		}
		if r, left = q.next(p); waiting > 0 && waiting >= left {
			q.pause()
			waiting = 0
		}
	}
}

// next takes off the replay whose turn it was, or puts it behind the others, and returns whose turn it is now, and how many
// there are.
func (q *replayQueue) next(p stepResult) (r task, n int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	r, q.tasks = q.tasks[0], q.tasks[1:]
	if p != stepDone {
		q.tasks = append(q.tasks, r)
	}
	if n = len(q.tasks); n == 0 {
		return nil, 0
	}
	return q.tasks[0], n
}

// pause waits until it may be of use to take another step: all that there are wait for Redis.
func (q *replayQueue) pause() {
	q.hub.lockSequenced()
	back := q.hub.online
	q.hub.mu.Unlock()
	var soon <-chan time.Time
	if back == nil {
		timer := time.NewTimer(replayRetry)
		defer timer.Stop()
		soon = timer.C
	}
	select {
	case <-q.ctx.Done():
	case <-q.added:
	case <-back:
	case <-soon:
	}
}

// end waits for the goroutine.
func (q *replayQueue) close() {
	if q != nil {
		q.stop()
		q.running.Wait()
	}
}
