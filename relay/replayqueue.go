package relay

import (
	"context"
	"sync"
	"time"

	"sidecast/relay/outbox"
)

// replayRetry is how soon replays that wait for Redis are tried again while
// there is a link to it.
const replayRetry = 250 * time.Millisecond

// A stepResult says how to go on after a step.
type stepResult uint8

const (
	stepDone stepResult = iota // the task is finished
	stepMore                   // take another step
	stepWait                   // take another step when Redis answers again
)

// A task is done in steps. A step waits for one answer of Redis at most.
type task interface {
	step(ctx context.Context) stepResult
}

// A replayQueue holds the replays of one session that were not finished at
// once. Its goroutine takes a step of each in turn, as fast as the client
// reads, so that a replay that waits for Redis does not delay the others.
type replayQueue struct {
	hub     *Hub
	ctx     context.Context // ends when the session leaves
	stop    context.CancelFunc
	running sync.WaitGroup
	added   chan struct{} // receives when a task is added

	mu    sync.Mutex
	tasks []task
}

// enqueueReplay leaves the rest of a replay to the queue's goroutine. The
// session's own goroutine calls it.
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

// run runs the tasks until all are finished, or the session leaves.
func (q *replayQueue) run(o *outbox.Outbox, r task) {
	left, waiting := 0, 0
	for r != nil {
		result := stepDone
		if q.ctx.Err() == nil && o.Room(replayLow, q.ctx.Done()) {
			result = r.step(q.ctx)
		}
		if result != stepWait {
			waiting = 0
		} else {
			waiting++
		}
		if r, left = q.next(result); waiting > 0 && waiting >= left {
			q.pause()
			waiting = 0
		}
	}
}

// next removes the task whose turn it was, or moves it to the end, and returns
// the next one and how many there are.
func (q *replayQueue) next(result stepResult) (r task, n int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	r, q.tasks = q.tasks[0], q.tasks[1:]
	if result != stepDone {
		q.tasks = append(q.tasks, r)
	}
	if n = len(q.tasks); n == 0 {
		return nil, 0
	}
	return q.tasks[0], n
}

// pause waits until another step may succeed: all tasks wait for Redis.
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

// close stops the goroutine and waits for it.
func (q *replayQueue) close() {
	if q != nil {
		q.stop()
		q.running.Wait()
	}
}
