package presence

import (
	"log/slog"
	"time"
)

// reportEvery is the shortest time between two log entries about the same.
const reportEvery = time.Minute

// reportAfter is how long something must fail until it is worth a log entry: it
// does when the link breaks.
const reportAfter = 5 * time.Second

// A reporter logs what goes wrong, not too often.
type reporter struct {
	failing                  bool
	since                    time.Duration
	nextFailure, nextRefusal time.Duration
}

func (r *reporter) worked() { r.failing = false }

func (r *reporter) failed(log *slog.Logger, now time.Duration, err error) {
	if !r.failing {
		r.failing, r.since = true, now
	}
	if now-r.since >= reportAfter && now >= r.nextFailure {
		r.nextFailure = now + reportEvery
		log.Warn("the members of the presence channels cannot be written to redis; the relay tries again", "err", err,
			"do", "run sidecast check, which names the rights that are missing")
	}
}

func (r *reporter) refused(log *slog.Logger, now time.Duration, reason string) {
	if now >= r.nextRefusal {
		r.nextRefusal = now + reportEvery
		log.Warn("redis refuses to publish that members have arrived or left, or to store events about it", "err", reason,
			"do", "grant +publish on the relay's presence channel and +xadd on its stream of events; sidecast check names them")
	}
}
