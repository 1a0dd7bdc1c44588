package counts

import (
	"log/slog"
	"time"
)

// reportEvery is the shortest time between two log entries.
const reportEvery = time.Minute

// reportAfter is how long something must fail until it is worth a log entry: it
// does when the link breaks.
const reportAfter = 5 * time.Second

// A reporter logs what goes wrong, not too often.
type reporter struct {
	failing     bool
	since, next time.Duration
}

func (r *reporter) worked() { r.failing = false }

func (r *reporter) failed(log *slog.Logger, now time.Duration, err error) {
	if !r.failing {
		r.failing, r.since = true, now
	}
	if now-r.since >= reportAfter && now >= r.next {
		r.next = now + reportEvery
		log.Warn("the numbers of subscriptions cannot be written to redis or read; the relay tries again", "err", err,
			"do", "run sidecast check, which names the rights that are missing")
	}
}
