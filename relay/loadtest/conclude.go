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
		Notices: noticeResult{Gaps: sum.gaps, Offline: sum.offline, Closes: sum.closes, Evicted: sum.evicted, Overrun: sum.overrun},
		Storms:  append([]stormResult{}, r.stormed...),
		Server:  r.serverResult(),
		Series:  append([]point{}, r.series...),
	}
	res.Generator = generatorResult{
		CPUPercent: 100 * (r.stopped.own.cpu - r.marked.own.cpu).Seconds() / published,
		RSSBytes:   r.stopped.own.rss, Cores: runtime.GOMAXPROCS(0),
	}
	res.Failures = append([]string{}, res.failures()...)
	res.Warnings = append([]string{}, res.warnings()...)
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
	c, n, p := res.Checks, res.Notices, res.Parameters
	fail := func(n uint64, what string) {
		if n > 0 {
			failures = append(failures, what+": "+count(int64(n)))
		}
	}
	fail(c.Lost, "lost, and nobody was told")
	fail(c.Doubled, "came twice")
	fail(c.Reordered, "came out of order")
	fail(c.Corrupted, "changed")
	fail(c.Leaked, "came on another channel")
	fail(c.Faults, "frames that are not WebSocket, or not sidecast.v1")
	fail(c.Broken, "connections ended without a word, or with an accusation")
	for _, s := range res.Storms {
		fail(uint64(s.Clients-s.Served), "clients not served again after a storm")
	}
	if res.Published.Messages > 0 && res.Delivered.Messages == 0 {
		failures = append(failures, "nothing was delivered")
	}
	if p.Strict {
		fail(sumOf(n.Gaps), "gap notices, of which -strict allows none")
		fail(n.Offline, "offline notices, of which -strict allows none")
		fail(sumOf(n.Closes), "connections closed by the relay, of which -strict allows none")
	}
	return failures
}

// warnings says what makes the figures doubtful.
func (res *result) warnings() (warnings []string) {
	warn := func(wrong bool, format string, args ...any) {
		if wrong {
			warnings = append(warnings, fmt.Sprintf(format, args...))
		}
	}
	p := res.Published
	warn(p.Wanted > 0 && p.PerSecond < 0.98*p.Wanted && !res.Interrupted, "only %s messages/s were published of %s wanted: "+
		"this machine or Redis could not do more", number(p.PerSecond), number(p.Wanted))
	warn(p.Failed > 0, "messages that Redis did not confirm, so that nobody knows whether they were published: %d; "+
		"they are not checked", p.Failed)
	warn(p.Unheard > 0, "messages for which Redis had no subscriber: %d", p.Unheard)
	busy := res.Generator.CPUPercent / float64(res.Generator.Cores)
	warn(busy > 60, "this program used %.0f%% of all cores: latencies are its own too; lower the load, or run it elsewhere", busy)
	warn(res.Notices.Overrun > 0, "clients that read, but were closed as slow: %d; perhaps this program did not keep up",
		res.Notices.Overrun)
	warn(res.Checks.Foreign > 0, "messages of another run: %d; give each run its own -prefix", res.Checks.Foreign)
	warn(p.Messages > 0 && res.Delivered.Measured < 1000, "deliveries measured: %d; too few for p99 and above",
		res.Delivered.Measured)
	return warnings
}
