package faultproxy

import (
	"sync"
	"time"
)

// queued bounds what waits in one direction of a connection: beyond it the sender feels that nobody takes anything.
const queued = 256 << 10

// chunk is what one read brought.
type chunk struct {
	bytes []byte
	due   time.Time // when it may go on
}

// queue holds what has come and not gone. One goroutine puts, one takes.
type queue struct {
	mu      sync.Mutex
	changed sync.Cond
	chunks  []chunk
	bytes   int
	ended   bool // nothing more comes
	stopped bool // nothing more is taken
}

func newQueue() *queue {
	q := new(queue)
	q.changed.L = &q.mu
	return q
}

// put waits for room, and reports whether there is somebody to take it.
func (q *queue) put(c chunk) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	for q.bytes >= queued && !q.stopped {
		q.changed.Wait()
	}
	q.chunks = append(q.chunks, c)
	q.bytes += len(c.bytes)
	q.changed.Broadcast()
	return !q.stopped
}

// take waits for something, and reports whether there was.
func (q *queue) take() (chunk, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.chunks) == 0 && !q.ended {
		q.changed.Wait()
	}
	if len(q.chunks) == 0 {
		return chunk{}, false
	}
	c := q.chunks[0]
	q.chunks = q.chunks[1:]
	q.bytes -= len(c.bytes)
	q.changed.Broadcast()
	return c, true
}

func (q *queue) end() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.ended = true
	q.changed.Broadcast()
}

func (q *queue) stop() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.stopped = true
	q.changed.Broadcast()
}
