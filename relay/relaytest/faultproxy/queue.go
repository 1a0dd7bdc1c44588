package faultproxy

import (
	"sync"
	"time"
)

// maxQueued bounds the bytes that wait in one direction of a connection. When
// it is reached the proxy stops reading, so that the sender's writes block as
// with a receiver that does not read.
const maxQueued = 256 << 10

// chunk is the bytes of one read.
type chunk struct {
	bytes []byte
	due   time.Time // when it may be forwarded
}

// queue holds chunks that have been read but not yet forwarded. One goroutine
// puts them and another takes them.
type queue struct {
	mu      sync.Mutex
	changed sync.Cond
	chunks  []chunk
	bytes   int
	ended   bool // no more chunks are put
	stopped bool // no more chunks are taken
}

func newQueue() *queue {
	q := new(queue)
	q.changed.L = &q.mu
	return q
}

// put waits until there is room, and reports whether the chunk may still be
// taken.
func (q *queue) put(c chunk) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	for q.bytes >= maxQueued && !q.stopped {
		q.changed.Wait()
	}
	q.chunks = append(q.chunks, c)
	q.bytes += len(c.bytes)
	q.changed.Broadcast()
	return !q.stopped
}

// take waits for the next chunk, and reports false after the last one.
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
