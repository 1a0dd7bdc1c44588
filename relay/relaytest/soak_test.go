//go:build unix

package relaytest

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"testing"
	"time"

	"sidecast/relay/relaytest/redistest"
)

var (
	soakSeeds   = flag.Int("seeds", 0, "how many soak runs there are; 0: a short one, with CI=true two")
	soakSeed    = flag.Uint64("seed", 0, "seed of the first soak run; the next have the next ones; 0: any")
	soakFor     = flag.Duration("for", 60*time.Second, "how long there is trouble in a soak run")
	soakOnly    = flag.String("faults", "", "do only those faults of a soak run whose names contain this, or behind a ! do not")
	soakDurable = flag.Bool("durable", true, "soak durable channels, too")
)

// soakBounds are for the resumes of all runs together that keep a long history.
var soakBounds = ResumeBounds{Enough: 200, Recovered: 0.65, FalseGaps: 0.08}

// TestSoak: real relays on a real Redis, one listener after the other moving between them, and everything that breaks in
// production breaking: nobody misses a message without being told, and none comes twice. Replay a run by its seed:
//
//	go test ./relay/relaytest -run Soak -v -timeout 1h -seeds 20 -seed 1 -parallel 2 -for 60s
//
// A seed fixes the settings and what is done when; what the machine makes of it differs.
func TestSoak(t *testing.T) {
	redistest.Require(t, "redis-server", "redis-server")
	seeds, lasting := []uint64{}, *soakFor
	switch {
	case *soakSeeds > 0:
		first := *soakSeed
		if first == 0 {
			first = 1 + rand.Uint64N(1<<30)
		}
		for i := range *soakSeeds {
			seeds = append(seeds, first+uint64(i))
		}
	case testing.Short():
		t.Skip("-short")
	default:
		lasting = 4 * time.Second
		seeds = append(seeds, 1)
		if os.Getenv("CI") == "true" {
			seeds = append(seeds, 1+rand.Uint64N(1<<30))
		}
	}
	var total soakTotal
	t.Run("seeds", func(t *testing.T) {
		for _, seed := range seeds {
			t.Run(fmt.Sprint(seed), func(t *testing.T) {
				t.Parallel()
				soak(t, seed, lasting, &total)
			})
		}
	})
	t.Log(&total)
	total.judge(t)
}

// soak is one run.
func soak(t *testing.T, seed uint64, lasting time.Duration, total *soakTotal) {
	w := newSoakWorld(t, seed)
	t.Logf("go test ./relay/relaytest -run Soak -v -seeds 1 -seed %d -for %v -durable=%v  # %s", seed, lasting, *soakDurable, w.settings())
	w.start()
	w.trouble(lasting)
	run := w.end()
	report := Check(run)
	line := fmt.Sprintf("seed %d: %d messages, %d moves, %d faults, %d gaps, %d false gaps, %d violations",
		seed, report.Messages, w.moves(), len(run.Faults), report.Gaps, report.falseGaps(), report.violations())
	t.Logf("%s\n%v", line, report)
	for _, f := range run.Faults {
		t.Logf("fault: %s to %s %s %s", f.From.Format("15:04:05.000000"), f.To.Format("15:04:05.000000"), f.Name, f.Relay)
	}
	if report.Err() != nil {
		t.Error(line)
		w.tellLogs(report)
	}
	total.add(report, w.moves(), len(run.Faults), w.history == 0)
}

// tellLogs shows what the listeners heard that a violation is about.
func (w *soakWorld) tellLogs(r Report) {
	told := make(map[string]bool)
	for _, v := range r.Violations {
		key := v.Client + v.Channel
		if v.Client == "" || told[key] || len(told) >= 5 {
			continue
		}
		told[key] = true
		for _, s := range w.sessions() {
			if s.Client != v.Client {
				continue
			}
			near := !v.At.IsZero()
			for i, e := range s.Events {
				control := e.Kind != KindMessage && e.Kind != KindPingFrame
				beside := near && e.At.Sub(v.At).Abs() < 2*time.Second
				if (e.Channel == "" || e.Channel == v.Channel) && (control || beside || i < 4) {
					w.t.Logf("%s at %s: %v", s.Client, s.Relay, e)
				}
			}
		}
	}
}

func (r Report) falseGaps() int {
	return r.Live.Same.False + r.Live.Crossed.False + r.Durable.Same.False + r.Durable.Crossed.False
}

func (r Report) violations() (n int) {
	for _, count := range r.Counts {
		n += count
	}
	return n
}

// soakTotal sums up the runs.
type soakTotal struct {
	mu                                               sync.Mutex
	runs, messages, moves, faults, gaps, false_, bad int
	live, durable                                    Return // of those with a long history
}

func (s *soakTotal) add(r Report, moves, faults int, keeps bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.runs++
	s.messages += r.Messages
	s.moves += moves
	s.faults += faults
	s.gaps += r.Gaps
	s.false_ += r.falseGaps()
	s.bad += r.violations()
	if keeps {
		s.live = Return{s.live.Same.plus(r.Live.Same), s.live.Crossed.plus(r.Live.Crossed)}
		s.durable = Return{s.durable.Same.plus(r.Durable.Same), s.durable.Crossed.plus(r.Durable.Crossed)}
	}
}

// String is the one line that a night's work comes to.
func (s *soakTotal) String() string {
	return fmt.Sprintf("%d runs: %d messages, %d moves, %d faults, %d gaps, %d false gaps, %d violations; live: %v, across relays: %v; "+
		"durable: %v, across relays: %v", s.runs, s.messages, s.moves, s.faults, s.gaps, s.false_, s.bad,
		s.live.Same, s.live.Crossed, s.durable.Same, s.durable.Crossed)
}

// judge holds all runs together to the bounds of resuming.
func (s *soakTotal) judge(t *testing.T) {
	j := &judge{run: Run{Rules: Rules{Resumes: soakBounds}}}
	j.report.Live, j.report.Durable = s.live, s.durable
	j.bounds()
	if err := j.report.Err(); err != nil {
		t.Error(err)
	}
}
