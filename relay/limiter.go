package relay

import "time"

const (
	refusalWindow = int64(10 * time.Second)
	maxRefusals   = 100
)

type limitResult uint8

const (
	limitAllow  limitResult = iota
	limitRefuse             // and answer with an error
	limitDrop               // without an answer: the last one was less than a second ago
	limitClose              // too many refusals
)

// A limiter is one session's token bucket, in 40 bytes and without a timer. It
// answers a client that is too fast once per second, and closes the session at
// the hundredth rejected command in 10 s. It is not safe for concurrent use.
type limiter struct {
	cost     int64 // ns that one command costs
	burst    int64 // ns that may be spent at once
	fullAt   int64 // when the bucket is full again
	reported int64
	window   int64 // when the running count of refusals began
	refused  int32
}

// newLimiter allows rate commands per second and burst at once. A rate of 0
// allows everything.
func newLimiter(rate float64, burst int) limiter {
	if rate <= 0 {
		return limiter{}
	}
	cost := int64(float64(time.Second) / rate)
	return limiter{cost: cost, burst: cost * int64(max(burst, 1)), reported: -int64(time.Second), window: -refusalWindow}
}

func (l *limiter) take(now int64) limitResult {
	if l.cost == 0 {
		return limitAllow
	}
	if full := max(l.fullAt, now) + l.cost; full-now <= l.burst {
		l.fullAt = full
		return limitAllow
	}
	if now-l.window >= refusalWindow {
		l.window, l.refused = now, 0
	}
	l.refused++
	switch {
	case l.refused >= maxRefusals:
		return limitClose
	case now-l.reported < int64(time.Second):
		return limitDrop
	}
	l.reported = now
	return limitRefuse
}

// charge counts one more command, even if the bucket does not allow it: then the
// next commands have to wait for longer.
func (l *limiter) charge(now int64) {
	if l.cost > 0 {
		l.fullAt = max(l.fullAt, now) + l.cost
	}
}
