package relay

import "time"

const (
	refusalWindow = int64(10 * time.Second)
	maxRefusals   = 100
	// maxPusherRefusals is maxRefusals in the Pusher protocol. Its servers only
	// drop what is too much, so pages send an event for each move of the mouse, and
	// a client that is closed returns after a second with a full bucket.
	maxPusherRefusals = 1000
)

type limitResult uint8

const (
	limitAllow  limitResult = iota
	limitRefuse             // and answer with an error
	limitDrop               // without an answer: the last one was less than a second ago
	limitClose              // too many refusals
)

// A commandRate says how many commands a session may run. The zero value allows
// everything.
type commandRate struct {
	cost     int64 // ns that one command costs
	burst    int64 // ns that may be spent at once
	refusals int32 // rejected commands in 10 s that close the session
}

// newCommandRate allows perSecond commands per second and burst at once. A rate
// of 0 allows everything.
func newCommandRate(perSecond float64, burst int) commandRate {
	if perSecond <= 0 {
		return commandRate{}
	}
	cost := int64(float64(time.Second) / perSecond)
	return commandRate{cost: cost, burst: cost * int64(max(burst, 1)), refusals: maxRefusals}
}

// A limiter is one session's token bucket, in 16 bytes and without a timer. It
// answers a client that is too fast once per second, and closes the session at
// the hundredth rejected command in 10 s. The zero value is a full bucket. It is
// not safe for concurrent use.
type limiter struct {
	fullAt   int64     // when the bucket is full again
	refusals *refusals // nil until there is one
}

// Refusals are the rejected commands of a session, which few sessions have.
type refusals struct {
	reported int64 // when the last one was answered
	window   int64 // when the running count began
	count    int32
}

func (l *limiter) take(rate commandRate, now int64) limitResult {
	if rate.cost == 0 {
		return limitAllow
	}
	if full := max(l.fullAt, now) + rate.cost; full-now <= rate.burst {
		l.fullAt = full
		return limitAllow
	}
	if l.refusals == nil {
		l.refusals = &refusals{reported: now - int64(time.Second), window: now}
	}
	return l.refusals.add(now, rate.refusals)
}

func (r *refusals) add(now int64, most int32) limitResult {
	if now-r.window >= refusalWindow {
		r.window, r.count = now, 0
	}
	r.count++
	switch {
	case r.count >= most:
		return limitClose
	case now-r.reported < int64(time.Second):
		return limitDrop
	}
	r.reported = now
	return limitRefuse
}

// charge counts one more command, even if the bucket does not allow it: then the
// next commands have to wait for longer.
func (l *limiter) charge(rate commandRate, now int64) {
	if rate.cost > 0 {
		l.fullAt = max(l.fullAt, now) + rate.cost
	}
}
