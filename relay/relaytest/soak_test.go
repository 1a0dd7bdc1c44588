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
	soakSeeds   = flag.Int("seeds", 0, "number of soak runs; 0: one short run, with CI=true two")
	soakSeed    = flag.Uint64("seed", 0, "seed of the first soak run; the others have the following ones; 0: random")
	soakFor     = flag.Duration("for", 60*time.Second, "how long faults are injected in a soak run")
	soakOnly    = flag.String("faults", "", "inject only faults whose names contain this text, or with ! before it, do not")
	soakDurable = flag.Bool("durable", true, "soak durable channels, too")
)

// soakBounds are checked for the resumes of all runs with the default history, if
// these are more than short runs have: there, one kill -9 costs a large share.
var soakBounds = ResumeBounds{Enough: 600, Recovered: 0.65, FalseGaps: 0.08}

// TestSoak: clients move between real relays on a real Redis while faults of
// production are injected. No client misses a message without a gap or receives
// one twice, and the black boxes of the relays, which outlive kill -9, agree on
// who has received each message. Repeat a run with its seed:
//
//	go test ./relay/relaytest -run Soak -v -timeout 1h -seeds 20 -seed 1 -parallel 2 -for 60s
//
// A seed determines the settings and the faults with their times, but not how
// the machine schedules the processes.
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
		lasting = 6 * time.Second
		seeds = append(seeds, 1)
		if os.Getenv("CI") == "true" {
			seeds = append(seeds, 1+rand.Uint64N(1<<30))
		}
	}
	total := soakTotals{why: newWhyCounts()}
	t.Run("seeds", func(t *testing.T) {
		for _, seed := range seeds {
			t.Run(fmt.Sprint(seed), func(t *testing.T) {
				t.Parallel()
				soak(t, seed, lasting, &total)
			})
		}
	})
	total.check(t)
}

// soak does one run.
func soak(t *testing.T, seed uint64, lasting time.Duration, total *soakTotals) {
	w := newSoakWorld(t, seed)
	t.Logf("go test ./relay/relaytest -run Soak -v -seeds 1 -seed %d -for %v -durable=%v  # %s",
		seed, lasting, *soakDurable, w.settings())
	w.start()
	w.injectFaults(lasting)
	run := w.end()
	report := Check(run)
	t.Logf("seed %d: %d moves, %d faults: %v", seed, w.moves(), len(run.Faults), report)
	for _, f := range run.Faults {
		t.Logf("fault: %s to %s %s %s", f.From.Format("15:04:05.000000"), f.To.Format("15:04:05.000000"), f.Name, f.Relay)
	}
	if report.Err() != nil {
		t.Errorf("seed %d: the run broke the delivery guarantees", seed)
		w.showLogs(report)
	}
	total.why.add(w.checkWhy(run))
	total.add(report, w.moves(), len(run.Faults), w.history == 0)
}

// showLogs logs the events of the clients near the violations.
func (w *soakWorld) showLogs(r Report) {
	shown := make(map[string]bool)
	for _, v := range r.Violations {
		key := v.Client + v.Channel
		if v.Client == "" || shown[key] || len(shown) >= 5 {
			continue
		}
		shown[key] = true
		for _, s := range w.sessions() {
			if s.Client != v.Client {
				continue
			}
			near := !v.At.IsZero()
			for i, e := range s.Events {
				control := e.Kind != KindMessage && e.Kind != KindPingFrame
				inTime := near && e.At.Sub(v.At).Abs() < 2*time.Second
				if (e.Channel == "" || e.Channel == v.Channel) && (control || inTime || i < 4) {
					w.t.Logf("%s at %s: %v", s.Client, s.Relay, e)
				}
			}
		}
	}
}

// soakTotals are the sums of all runs.
type soakTotals struct {
	mu                          sync.Mutex
	runs, failed, moves, faults int
	why                         *whyCounts
	sum                         Report // without violations, and with the resumes of the runs with the default history
}

func (s *soakTotals) add(r Report, moves, faults int, defaultHistory bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.runs++
	s.moves += moves
	s.faults += faults
	if r.Err() != nil {
		s.failed++
	}
	s.sum.Messages += r.Messages
	s.sum.Sessions += r.Sessions
	s.sum.Deliveries += r.Deliveries
	s.sum.Gaps += r.Gaps
	s.sum.Offlines += r.Offlines
	s.sum.Lost += r.Lost
	if defaultHistory {
		s.sum.Live, s.sum.Durable = s.sum.Live.plus(r.Live), s.sum.Durable.plus(r.Durable)
	}
}

// check logs the sums, and checks the bounds of resuming for all runs together.
func (s *soakTotals) check(t *testing.T) {
	s.sum.checkResumes(soakBounds)
	t.Logf("%d runs, of which %d failed: %d moves, %d faults: %v", s.runs, s.failed, s.moves, s.faults, s.sum)
	t.Logf("why: %v", s.why)
	s.why.checkAll(t)
	if err := s.sum.Err(); err != nil {
		t.Error(err)
	}
}
