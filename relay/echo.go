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

// echoes is what a session published and does not want to hear itself. An entry is made before PUBLISH and skips one
// equal message; which of several equal ones makes no difference to anybody. An entry goes when Redis refused the
// message or counted no subscriber, when the link breaks, and after 10 s.
type echoes struct {
	mu   sync.Mutex
	list []echo
}

type echo struct {
	channel string
	hash    uint64
	at      int64
}

// add notes a message about to be published. Beyond 64 at once it is not noted, and the sender hears it.
func (e *echoes) add(channel string, hash uint64, now int64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.expire(now)
	if len(e.list) < maxEchoes {
		e.list = append(e.list, echo{channel, hash, now})
	}
}

// take reports whether such a message was noted, and forgets it.
func (e *echoes) match(channel string, hash uint64, now int64) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.expire(now)
	return e.remove(channel, hash)
}

// drop forgets a message that will not come.
func (e *echoes) drop(channel string, hash uint64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.remove(channel, hash)
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
