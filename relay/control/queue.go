package control

import (
	"bytes"
	"sync"
)

const (
	// maxQueued bounds the control messages that wait, in bytes.
	maxQueued = 4 << 20
	// messageCharge is the cost of a waiting message in addition to its bytes.
	messageCharge = 64
)

// A queue holds control messages, so that the link does not wait until they are
// done.
type queue struct {
	filled chan struct{} // has an entry if messages wait

	mu       sync.Mutex // guards the fields below
	messages [][]byte
	bytes    int
}

func newQueue() queue { return queue{filled: make(chan struct{}, 1)} }

// put adds a copy of a message, or reports false if there are too many.
func (q *queue) put(message []byte) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.bytes += len(message) + messageCharge; q.bytes > maxQueued {
		q.bytes -= len(message) + messageCharge
		return false
	}
	q.messages = append(q.messages, bytes.Clone(message))
	select {
	case q.filled <- struct{}{}:
	default:
	}
	return true
}

// takeAll removes and returns all messages.
func (q *queue) takeAll() [][]byte {
	q.mu.Lock()
	defer q.mu.Unlock()
	list := q.messages
	q.messages, q.bytes = nil, 0
	return list
}
