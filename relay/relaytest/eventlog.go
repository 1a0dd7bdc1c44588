package relaytest

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// ErrEnded is returned by waits that cannot succeed any more because the
// connection has ended.
var ErrEnded = errors.New("the connection has ended")

// An eventLog is the log of a client.
type eventLog struct{ growingLog[Event] }

// add numbers the event and appends it, unless the log has ended. KindEnd ends
// it.
func (l *eventLog) add(e Event) {
	l.growingLog.add(func(n int) Event {
		e.N = n
		return e
	}, e.Kind == KindEnd)
}

// await returns the first event from index n on that matches, and waits for it
// if necessary.
func (l *eventLog) await(ctx context.Context, n int, match func(Event) bool) (Event, error) {
	e, err := l.growingLog.await(ctx, n, match)
	switch {
	case errors.Is(err, errLogEnded):
		return e, fmt.Errorf("%w; the log ends with %s", ErrEnded, l.tail())
	case err != nil:
		return e, fmt.Errorf("awaiting an event: %w; the log ends with %s", err, l.tail())
	}
	return e, nil
}

// tail returns the last events, for errors.
func (l *eventLog) tail() string {
	events := l.snapshot()
	if len(events) == 0 {
		return "nothing"
	}
	var b strings.Builder
	for _, e := range events[max(0, len(events)-5):] {
		fmt.Fprintf(&b, "\n\t%s", e)
	}
	return b.String()
}
