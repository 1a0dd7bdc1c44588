package counts

import "time"

// largeCount is the number of subscriptions above which the clients of a channel
// are told it less often.
const largeCount = 100

// tell tells clients the numbers that have changed, and returns when there is
// more to tell.
func (w *worker) tell() (next time.Duration) {
	next = never
	now := w.c.cfg.Now()
	for ch := range w.due {
		n := ch.watch
		count := ch.subscriptions + n.others
		switch {
		case !n.known, count == n.told && !n.fresh: // after a read it is due again
		case now < n.next:
			next = min(next, n.next)
			continue
		default:
			n.told, n.fresh, n.next = count, false, now+w.c.cfg.interval(count)
			w.c.cfg.Notify(ch.name, count)
		}
		delete(w.due, ch)
	}
	return next
}

// interval returns the shortest time until the clients of a channel are told
// another number.
func (t *timing) interval(count int) time.Duration {
	if count > largeCount {
		return t.large
	}
	return t.small
}
