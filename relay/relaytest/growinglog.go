package relaytest

import (
	"context"
	"errors"
	"sync"
	"time"
)

// Patience is the timeout of every wait of this package whose context has no
// deadline.
const Patience = 30 * time.Second

// A growingLog is a log on which goroutines can wait for the next item. All
// methods may be called concurrently.
type growingLog[T any] struct {
	mu      sync.Mutex
	items   []T           // append-only: a prefix may be read without mu
	changed chan struct{} // closed at the next change; nil if no goroutine waits
	ended   bool          // no item follows
}

// add appends the item that next returns for its index, unless the log has
// ended. If last is true, the log ends.
func (l *growingLog[T]) add(next func(n int) T, last bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended {
		return
	}
	l.items = append(l.items, next(len(l.items)))
	l.ended = last
	l.wake()
}

// end ends the log.
func (l *growingLog[T]) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended = true
	l.wake()
}

// wake is called with mu locked.
func (l *growingLog[T]) wake() {
	if l.changed != nil {
		close(l.changed)
		l.changed = nil
	}
}

// snapshot returns the items so far. The caller must not change them.
func (l *growingLog[T]) snapshot() []T {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.items[:len(l.items):len(l.items)]
}

// from returns the items from index n on, a channel that is closed at the next
// change, and whether the log has ended.
func (l *growingLog[T]) from(n int) (items []T, changed <-chan struct{}, ended bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.changed == nil && !l.ended {
		l.changed = make(chan struct{})
	}
	return l.items[min(n, len(l.items)):len(l.items):len(l.items)], l.changed, l.ended
}

// errLogEnded is returned by await if no item can follow.
var errLogEnded = errors.New("the log has ended")

// await returns the first item from index n on that matches, and waits for it
// if necessary, until ctx ends or for [Patience].
func (l *growingLog[T]) await(ctx context.Context, n int, match func(T) bool) (none T, err error) {
	ctx, cancel := patient(ctx)
	defer cancel()
	for {
		items, changed, ended := l.from(n)
		for _, item := range items {
			if match(item) {
				return item, nil
			}
		}
		n += len(items)
		if ended {
			return none, errLogEnded
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return none, ctx.Err()
		}
	}
}

// patient adds the timeout [Patience] to a context without a deadline.
func patient(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, Patience)
}

// pause waits for d, or until done is closed, and reports whether d has passed.
func pause(d time.Duration, done <-chan struct{}) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-done:
		return false
	}
}
