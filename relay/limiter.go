package relay

import "time"

const (
	refusalWindow = int64(10 * time.Second)
	maxRefusals   = 100
)

type limitVerdict uint8

const (
	limitAllow  limitVerdict = iota
	limitRefuse              // and say so
	limitSilent              // refuse; it was said less than a second ago
	limitClose               // too many refusals
)

// A limiter is one session's token bucket, in 40 bytes and without a clock of its own. It tells a client that it is too
// fast once a second, and gives it up at the hundredth refusal in 10 s. Not safe for concurrent use.
type limiter struct {
	cost    int64 // ns that one command costs
	room    int64 // ns that may be spent at once
	full    int64 // when the bucket is full again
	told    int64
	window  int64 // when the running count of refusals began
	refused int32
}

// newLimiter allows rate commands a second and burst at once. A rate of 0 allows everything.
func newLimiter(rate float64, burst int) limiter {
	if rate <= 0 {
		return limiter{}
	}
	cost := int64(float64(time.Second) / rate)
	return limiter{cost: cost, room: cost * int64(max(burst, 1)), told: -int64(time.Second), window: -refusalWindow}
}

func (l *limiter) take(now int64) limitVerdict {
	if l.cost == 0 {
		return limitAllow
	}
	if full := max(l.full, now) + l.cost; full-now <= l.room {
		l.full = full
		return limitAllow
	}
	if now-l.window >= refusalWindow {
		l.window, l.refused = now, 0
	}
	l.refused++
	switch {
	case l.refused >= maxRefusals:
		return limitClose
	case now-l.told < int64(time.Second):
		return limitSilent
	}
	l.told = now
	return limitRefuse
}
