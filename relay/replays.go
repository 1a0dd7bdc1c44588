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
type pace uint8

const (
	paceEnded pace = iota // there is no more to do
	paceOn                // there is
	paceWait              // there is, but not before Redis answers again
)

// A stepper does something in steps, until there is no more to do. A step waits for no more than one answer of Redis.
type stepper interface {
	step(ctx context.Context) pace
}

// replays are those of one session that take more than a moment: its goroutine takes a step of each in turn, as fast as
// the client reads, so that one that waits for Redis holds up no other.
type replays struct {
	hub     *Hub
	ctx     context.Context // ends when the session leaves
	stop    context.CancelFunc
	running sync.WaitGroup
	came    chan struct{} // another one was queued

	mu    sync.Mutex
	queue []stepper
}

// later leaves the rest of a replay to a goroutine. The session's own goroutine calls it.
func (s *Session) later(r stepper) {
	if s.replays == nil {
		s.replays = &replays{hub: s.hub, came: make(chan struct{}, 1)}
		s.replays.ctx, s.replays.stop = context.WithCancel(context.Background())
	}
	q := s.replays
	q.mu.Lock()
	q.queue = append(q.queue, r)
	first := len(q.queue) == 1
	q.mu.Unlock()
	if first {
		q.running.Go(func() { q.run(s.outbox, r) })
		return
	}
	select {
	case q.came <- struct{}{}:
	default:
	}
}

// run runs replays until there is none left, or the session leaves.
func (q *replays) run(o *outbox.Outbox, r stepper) {
	left, waiting := 0, 0
	for r != nil {
		p := paceEnded
		if q.ctx.Err() == nil && o.Room(replayLow, q.ctx.Done()) {
			p = r.step(q.ctx)
		}
		if p != paceWait {
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
func (q *replays) next(p pace) (r stepper, n int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	r, q.queue = q.queue[0], q.queue[1:]
	if p != paceEnded {
		q.queue = append(q.queue, r)
	}
	if n = len(q.queue); n == 0 {
		return nil, 0
	}
	return q.queue[0], n
}

// pause waits until it may be of use to take another step: all that there are wait for Redis.
func (q *replays) pause() {
	q.hub.lock()
	back := q.hub.back
	q.hub.mu.Unlock()
	var soon <-chan time.Time
	if back == nil {
		timer := time.NewTimer(replayRetry)
		defer timer.Stop()
		soon = timer.C
	}
	select {
	case <-q.ctx.Done():
	case <-q.came:
	case <-back:
	case <-soon:
	}
}

// end waits for the goroutine.
func (q *replays) end() {
	if q != nil {
		q.stop()
		q.running.Wait()
	}
}
