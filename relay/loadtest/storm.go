package main

import (
	"context"
	"maps"
	"sync"
	"time"
)

// storms lets all clients drop and return, every so often until the time to measure ends. A storm that has begun is
// waited for.
func (r *rig) storms(ctx context.Context, until time.Time) {
	if r.options.storm == 0 {
		return
	}
	for next := time.Now().Add(r.options.storm); next.Before(until); next = next.Add(r.options.storm) {
		next = maxTime(next, time.Now())
		if !pause(ctx, time.Until(next)) {
			return
		}
		s := r.storm(ctx)
		r.mu.Lock()
		r.stormed = append(r.stormed, s)
		r.mu.Unlock()
	}
}

func maxTime(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// storm is one of them.
func (r *rig) storm(ctx context.Context) stormResult {
	ctx, cancel := context.WithTimeout(ctx, r.options.connectFor)
	defer cancel()
	refused := r.fleet.refusals()
	var (
		mu    sync.Mutex
		times histogram
	)
	began := r.course.clock.now()
	dropped := r.fleet.drop()
	r.fleet.connect(ctx, dropped, func() {
		mu.Lock()
		defer mu.Unlock()
		times.record(r.course.clock.now() - began)
	})
	s := stormResult{
		AtSeconds: time.Duration(began - r.marked.at).Seconds(), Clients: len(dropped), Served: int(times.total),
		P50MS: milliseconds(times.quantile(0.5)), P99MS: milliseconds(times.quantile(0.99)), AllMS: milliseconds(times.largest),
		Refused: r.fleet.refusals(),
	}
	for reason, n := range refused {
		s.Refused[reason] -= n
	}
	maps.DeleteFunc(s.Refused, func(_ string, n uint64) bool { return n == 0 })
	return s
}
