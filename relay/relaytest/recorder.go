package relaytest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"
)

// Patience bounds every wait of this package whose context has no deadline of its own.
const Patience = 30 * time.Second

// ErrEnded is returned by waits for something that cannot come any more: the connection is over.
var ErrEnded = errors.New("the connection is over")

// recorder is a log that grows and can be waited on. All methods may be called concurrently.
type recorder struct {
	mu      sync.Mutex
	events  []Event       // append-only: a prefix may be read without mu
	changed chan struct{} // closed at the next event; nil while nobody waits
	ended   bool          // the last event is KindEnd
}

// add appends the event, unless the log has ended, and numbers it.
func (r *recorder) add(e Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ended {
		return
	}
	e.N = len(r.events)
	r.events = append(r.events, e)
	r.ended = e.Kind == KindEnd
	if r.changed != nil {
		close(r.changed)
		r.changed = nil
	}
}

func (r *recorder) snapshot() []Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.events[:len(r.events):len(r.events)]
}

// from returns the events from place n on, whether more can come, and what announces them.
func (r *recorder) from(n int) (events []Event, changed <-chan struct{}, ended bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.changed == nil && !r.ended {
		r.changed = make(chan struct{})
	}
	return r.events[min(n, len(r.events)):len(r.events):len(r.events)], r.changed, r.ended
}

// await returns the first event at place n or later that matches.
func (r *recorder) await(ctx context.Context, n int, match func(Event) bool) (Event, error) {
	ctx, cancel := patient(ctx)
	defer cancel()
	for {
		events, changed, ended := r.from(n)
		for _, e := range events {
			if match(e) {
				return e, nil
			}
		}
		n += len(events)
		if ended {
			return Event{}, fmt.Errorf("%w; it ended with %s", ErrEnded, r.tail())
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return Event{}, fmt.Errorf("awaiting an event: %w; the log ends with %s", ctx.Err(), r.tail())
		}
	}
}

// tail is the end of the log, for errors.
func (r *recorder) tail() string {
	events := r.snapshot()
	if len(events) == 0 {
		return "nothing"
	}
	var b strings.Builder
	for _, e := range events[max(0, len(events)-5):] {
		fmt.Fprintf(&b, "\n\t%s", e)
	}
	return b.String()
}

// pause reports whether d passed before over was closed.
func pause(d time.Duration, over <-chan struct{}) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-over:
		return false
	}
}

func patient(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, Patience)
}
