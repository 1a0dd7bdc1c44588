package main

import (
	"fmt"
	"runtime"
	"time"
)

// result puts together what was found. All clients have left.
func (r *rig) result(interrupted bool) *result {
	sum := r.fleet.tally()
	span := time.Duration(max(sum.lastMeasured, r.stopped.at) - r.marked.at).Seconds()
	published := time.Duration(r.stopped.at - r.marked.at).Seconds()
	res := &result{
		Version: resultVersion, Started: r.course.clock.began.UTC().Truncate(time.Millisecond),
		Parameters:  newParameters(r.options, r.publisher.client.Options().Addr),
		Interrupted: interrupted, Seconds: published, Connect: r.connected,
		Published: publishResult{
			Messages: r.publisher.published.Load(), Unheard: r.publisher.unheard.Load(), Failed: r.publisher.failed.Load(),
			PerSecond: float64(r.stopped.published-r.marked.published) / published, Wanted: r.perSecond,
			LateMS: milliseconds(r.publisher.late.Load()),
		},
		Delivered: deliverResult{
			Messages: sum.all(), Measured: sum.latency.total, PerSecond: float64(sum.latency.total) / span,
			Slow: sum.slowDeliveries, Bytes: sum.bytes,
		},
		Latency: newLatency(&sum.latency),
		Checks: checkResult{
			Lost: sum.lost, Doubled: sum.doubled, Reordered: sum.reordered, Corrupted: sum.corrupted, Leaked: sum.leaked,
			Faults: sum.faults, Broken: sum.broken, Excused: sum.excused, MissedEvicted: sum.missedEvicted,
			MissedClosed: sum.missedClosed, Foreign: sum.foreign,
		},
		Notices: noticeResult{Gaps: sum.gaps, Offline: sum.offline, Closes: sum.closes, Evicted: sum.evicted},
		Storms:  append([]stormResult{}, r.stormed...),
		Server:  r.serverResult(),
		Series:  append([]point{}, r.series...),
	}
	res.Generator = generatorResult{
		CPUPercent: 100 * (r.stopped.own.cpu - r.marked.own.cpu).Seconds() / published,
		RSSBytes:   r.stopped.own.rss, Cores: runtime.GOMAXPROCS(0),
	}
	res.Failures = append([]string{}, res.failures()...)
	res.Warnings = append([]string{}, res.warnings(sum)...)
	res.Passed = len(res.Failures) == 0
	return res
}

// serverResult tells what the relay used from the mark until everything had come.
func (r *rig) serverResult() *serverResult {
	if r.options.pid == 0 || r.settled.server == (usage{}) {
		return nil
	}
	cpu := r.settled.server.cpu - r.marked.server.cpu
	s := &serverResult{
		PID: r.options.pid, CPUSeconds: cpu.Seconds(), RSSBytes: r.settled.server.rss,
		CPUPercent: 100 * (r.stopped.server.cpu - r.marked.server.cpu).Seconds() /
			time.Duration(r.stopped.at-r.marked.at).Seconds(),
		RSSBefore: r.before.rss, RSSConnected: r.after.rss,
		BytesPerConnection: float64(r.after.rss-r.before.rss) / float64(r.options.clients),
	}
	if n := r.settled.deliveries - r.marked.deliveries; n > 0 {
		s.CPUMicros = float64(cpu.Microseconds()) / float64(n)
	}
	return s
}

// failures says what the relay did wrong.
func (res *result) failures() (failures []string) {
	for _, f := range []struct {
		n    uint64
		what string
	}{
		{res.Checks.Lost, "messages were lost and nobody was told"},
		{res.Checks.Doubled, "messages came twice"},
		{res.Checks.Reordered, "messages came out of order"},
		{res.Checks.Corrupted, "messages were changed"},
		{res.Checks.Leaked, "messages came on another channel"},
		{res.Checks.Faults, "frames were not WebSocket, or not sidecast.v1"},
		{res.Checks.Broken, "connections were ended without a word, or with an accusation"},
	} {
		if f.n > 0 {
			failures = append(failures, count(int64(f.n))+" "+f.what)
		}
	}
	for _, s := range res.Storms {
		if s.Served < s.Clients {
			failures = append(failures, fmt.Sprintf("%d of %d clients were not served again after a storm", s.Clients-s.Served, s.Clients))
		}
	}
	if res.Published.Messages > 0 && res.Delivered.Messages == 0 {
		failures = append(failures, "nothing was delivered")
	}
	if !res.Parameters.Strict {
		return failures
	}
	for what, counts := range map[string]uint64{
		"gap notices": sumOf(res.Notices.Gaps), "offline notices": res.Notices.Offline, "closes": sumOf(res.Notices.Closes),
	} {
		if counts > 0 {
			failures = append(failures, count(int64(counts))+" "+what+", and -strict allows none")
		}
	}
	return failures
}

// warnings says what makes the figures doubtful.
func (res *result) warnings(sum *tally) (warnings []string) {
	warn := func(wrong bool, format string, args ...any) {
		if wrong {
			warnings = append(warnings, fmt.Sprintf(format, args...))
		}
	}
	p := res.Published
	warn(p.Wanted > 0 && p.PerSecond < 0.98*p.Wanted && !res.Interrupted, "%.1f messages/s were published of %.1f wanted: "+
		"this machine or Redis could not do more", p.PerSecond, p.Wanted)
	warn(p.Failed > 0, "Redis did not confirm %d messages: nobody knows whether they were published, and they are not checked", p.Failed)
	warn(p.Unheard > 0, "Redis had no subscriber for %d messages", p.Unheard)
	busy := res.Generator.CPUPercent / float64(res.Generator.Cores)
	warn(busy > 60, "this program used %.0f%% of all cores: latencies are its own too; lower the load, or run it elsewhere", busy)
	readers := sum.closes[codeSlow] + sum.closes[abnormal]
	warn(readers > sum.evicted && sum.closes[codeSlow] > 0, "%d clients that read were closed as slow, perhaps because "+
		"this program did not keep up", min(readers-sum.evicted, sum.closes[codeSlow]))
	warn(res.Checks.Foreign > 0, "%d messages of another run came: give each its own -prefix", res.Checks.Foreign)
	warn(res.Delivered.Measured < 1000 && p.Messages > 0, "p99 and above mean little: only %d deliveries were measured",
		res.Delivered.Measured)
	return warnings
}
