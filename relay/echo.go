package relay

import (
	"slices"
	"sync"
	"time"
)

const (
	maxEchoes = 64
	echoAge   = int64(10 * time.Second)
)

// Echoes are the messages that a session published and does not want to
// receive. An entry is made before PUBLISH and skips one equal message; it does
// not matter which of several equal ones. An entry is removed when Redis
// rejects the message or counts no subscribers, when the session leaves the
// channel or skips some of its messages, when the link breaks, and after 10 s.
type echoes struct {
	mu   sync.Mutex
	list []echo
}

type echo struct {
	channel string
	hash    uint64
	at      int64
}

// add adds a message that is about to be published. If there are 64 already, it
// is not added, and the sender receives the message.
func (e *echoes) add(channel string, hash uint64, now int64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.expire(now)
	if len(e.list) < maxEchoes {
		e.list = append(e.list, echo{channel, hash, now})
	}
}

// match reports whether there is such a message, and removes it.
func (e *echoes) match(channel string, hash uint64, now int64) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.expire(now)
	return e.remove(channel, hash)
}

// drop removes a message that will not arrive.
func (e *echoes) drop(channel string, hash uint64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.remove(channel, hash)
}

// forget removes all messages of a channel: the session has left it, or skipped
// some of its messages, so they may never arrive. An equal message is then from
// another client.
func (e *echoes) forget(channel string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.list = slices.DeleteFunc(e.list, func(x echo) bool { return x.channel == channel })
}

func (e *echoes) clear() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.list = nil
}

func (e *echoes) remove(channel string, hash uint64) bool {
	i := slices.IndexFunc(e.list, func(x echo) bool { return x.hash == hash && x.channel == channel })
	if i < 0 {
		return false
	}
	e.list = slices.Delete(e.list, i, i+1)
	return true
}

func (e *echoes) expire(now int64) {
	e.list = slices.DeleteFunc(e.list, func(x echo) bool { return now-x.at > echoAge })
}
