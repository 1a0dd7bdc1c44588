package counts

import (
	"strings"
	"sync"
)

// changes are the changes since the last pass. They contain only channels that have
// subscriptions, or had some at the last pass.
type changes struct {
	mu   sync.Mutex
	list map[string]*change // nil if nothing has changed
}

// A change is that of one channel.
type change struct {
	before, subscriptions int
	watching              int  // subscriptions whose clients are told the number
	joined                bool // one of them may be new
}

// Changed reports that a channel has so many subscriptions now, by of which (or
// -by) are new (or gone), and so many of clients that are told the number. It
// does not wait, and may be called with locks held.
func (c *Counts) Changed(channel string, subscriptions, watching, by int) {
	if c.changes.add(channel, subscriptions, watching, by) {
		c.awake()
	}
}

// add adds a change, and reports whether it is the first one.
func (l *changes) add(name string, subscriptions, watching, by int) (first bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	ch := l.list[name]
	if ch == nil {
		if l.list == nil {
			l.list, first = make(map[string]*change), true
		}
		ch = &change{before: subscriptions - by}
		l.list[strings.Clone(name)] = ch // the hub's name shares the memory of its channel
	}
	ch.subscriptions, ch.watching = subscriptions, watching
	ch.joined = ch.joined || by > 0
	if subscriptions == 0 && ch.before == 0 {
		delete(l.list, name)
	}
	return first
}

// take returns the changes and forgets them.
func (l *changes) take() map[string]*change {
	l.mu.Lock()
	defer l.mu.Unlock()
	list := l.list
	l.list = nil
	return list
}
