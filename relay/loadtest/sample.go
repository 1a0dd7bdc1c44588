package main

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"
)

// Points of a run are so many, if they are not closer than the shortest interval.
const (
	wantedPoints   = 150
	shortestSample = 250 * time.Millisecond
	longestSample  = 10 * time.Second
)

// A sampler turns what is counted from the beginning into what happened since the last look.
type sampler struct {
	rig       *rig
	at        int64
	seen      *tally
	published uint64
	used      usage
}

// sample begins to take samples, until ctx ends; the function that it returns waits for that.
func (r *rig) sample(ctx context.Context) func() {
	interval := min(max(r.options.length/wantedPoints, shortestSample), longestSample)
	s := &sampler{rig: r, at: r.marked.at, seen: r.fleet.tally(), published: r.marked.published, used: r.marked.server}
	var running sync.WaitGroup
	running.Go(func() {
		for pause(ctx, interval) {
			s.take()
		}
	})
	hide := r.progress.every(r.measuring)
	return func() {
		running.Wait()
		hide()
	}
}

// take adds a point.
func (s *sampler) take() {
	r := s.rig
	now, seen, published, used := r.course.clock.now(), r.fleet.tally(), r.publisher.published.Load(), r.serverUsage()
	seconds := time.Duration(now - s.at).Seconds()
	recent := seen.latency.since(&s.seen.latency)
	p := point{
		Seconds:    time.Duration(now - r.marked.at).Seconds(),
		Deliveries: float64(seen.deliveries-s.seen.deliveries) / seconds,
		Published:  float64(published-s.published) / seconds,
		P50MS:      milliseconds(recent.quantile(0.5)), P90MS: milliseconds(recent.quantile(0.9)),
		P99MS: milliseconds(recent.quantile(0.99)), MaxMS: milliseconds(recent.largest),
		Connected:  r.fleet.served.Load(),
		CPUPercent: 100 * (used.cpu - s.used.cpu).Seconds() / seconds,
		RSSBytes:   used.rss,
	}
	s.at, s.seen, s.published, s.used = now, seen, published, used
	r.mu.Lock()
	defer r.mu.Unlock()
	r.series = append(r.series, p)
}

// connecting is the line of progress while clients connect.
func (r *rig) connecting() string {
	line := fmt.Sprintf("connecting: %d of %d", r.fleet.served.Load(), r.options.clients)
	if refused := r.fleet.refusals(); len(refused) > 0 {
		line += ", refused " + list(refused)
	}
	return line
}

// measuring is the line of progress while measuring.
func (r *rig) measuring() string {
	elapsed := time.Duration(r.course.clock.now() - r.marked.at)
	sum := r.fleet.tally()
	parts := []string{
		fmt.Sprintf("%.0f of %.0f s", elapsed.Seconds(), r.options.length.Seconds()),
		count(r.fleet.served.Load()) + " clients",
	}
	r.mu.Lock()
	if len(r.series) > 0 {
		last := r.series[len(r.series)-1]
		parts = append(parts, count(int64(last.Deliveries))+" deliveries/s")
	}
	if n := len(r.stormed); n > 0 {
		parts = append(parts, fmt.Sprintf("%d storms", n))
	}
	r.mu.Unlock()
	parts = append(parts, "p50 "+ms(milliseconds(sum.latency.quantile(0.5))), "p99 "+ms(milliseconds(sum.latency.quantile(0.99))))
	for _, c := range []struct {
		n    uint64
		name string
	}{
		{sum.lost, "lost"}, {sum.doubled, "doubled"}, {sum.reordered, "reordered"}, {sum.corrupted, "corrupted"},
		{sum.numGaps(), "gaps"}, {sum.closed, "closed"},
	} {
		if c.n > 0 {
			parts = append(parts, count(int64(c.n))+" "+c.name)
		}
	}
	return strings.Join(parts, "  ")
}
