package relaytest

import (
	"flag"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

var simWorlds = flag.Int("sim.worlds", 25, "how many worlds the checker is tried on, of each kind")

// chaos is a world in which everything happens that tests do to a relay.
func chaos(seed uint64) simOptions {
	random := rand.New(rand.NewPCG(seed, 2))
	pick := func(choices ...time.Duration) time.Duration { return choices[random.IntN(len(choices))] }
	o := simOptions{
		nodes: 1, relays: 2 + random.IntN(2), clients: 8, ring: []int{5, 40, 2000, 2000}[random.IntN(4)],
		lag: pick(0, time.Second, 5*time.Second), shard: pick(time.Millisecond, 30*time.Millisecond, 500*time.Millisecond),
		page: []int{3, 100}[random.IntN(2)], pageEvery: pick(10*time.Millisecond, 200*time.Millisecond),
		heartbeat: pick(time.Second, 3*time.Second, 25*time.Second), uplink: pick(2*time.Millisecond, 30*time.Millisecond),
		stay: pick(2*time.Second, 10*time.Second), trouble: pick(4*time.Second, 10*time.Second), lasting: 70 * time.Second,
		faultKind: []string{"cut", "hole", "lag", "lag", "kill", "drain", "redis"},
		payloads:  Payloads{Equal: random.IntN(3) == 0, Anchors: 16},
	}
	for range 3 {
		o.every = append(o.every, pick(60*time.Millisecond, 300*time.Millisecond, 2*time.Second, 8*time.Second))
	}
	return o
}

// TestSimWhole: the checker has nothing to say of relays that resume as they should.
func TestSimWhole(t *testing.T) {
	var live Return
	violations := 0
	for seed := range uint64(*simWorlds) {
		r := Check(simulate(chaos(seed), seed))
		live.Same, live.Crossed = live.Same.plus(r.Live.Same), live.Crossed.plus(r.Live.Crossed)
		if r.Err() != nil {
			violations++
			t.Errorf("seed %d: %v", seed, r)
			if violations > 3 {
				break
			}
		}
	}
	t.Logf("the same relay: %v; another: %v", live.Same, live.Crossed)
}

// A simMutant is a way to break a relay or a client, and the rules of which one must notice it.
type simMutant struct {
	broken string
	rules  []Rule
	tune   func(*simOptions) // what brings it out
}

var simMutants = []simMutant{
	// Delivery.
	{"drop", []Rule{Hole, MissingGap}, nil},
	{"duplicate", []Rule{Duplicate}, nil},
	{"reorder", []Rule{Reorder, Hole}, nil},
	{"leak", []Rule{Leak}, nil},
	{"late gap", []Rule{LateGap}, nil},
	{"missing gap", []Rule{MissingGap}, nil},
	{"gap before resubscription", []Rule{EarlyGap, MissingGap}, nil},

	// Coming back.
	{"resume off by one", []Rule{Hole, MissingGap}, nil},
	{"resume off by one, early", []Rule{Duplicate}, nil},
	{"heartbeat overtakes", []Rule{Hole, MissingGap}, slowShard},
	{"heartbeat rewinds", []Rule{Duplicate}, slowShard},
	{"a heartbeat stands in for a position not here yet", []Rule{Duplicate}, lagging},
	{"newest cursor in subscribed", []Rule{Hole, MissingGap}, slowReplay},
	{"heartbeat in a replay", []Rule{Hole, MissingGap}, slowReplay},
	{"marker sent twice", []Rule{Hole, Duplicate, MissingGap, Reorder}, manyLinks},
	{"old marker in a new epoch", []Rule{Hole, Duplicate, MissingGap, Reorder}, manyLinks},
	{"verdict before the barrier", []Rule{Duplicate, Reorder}, lagging},
	{"no gap at a late join", []Rule{EarlyGap, MissingGap, Hole}, manyLinks},
	{"joined before the barrier", []Rule{Duplicate, Reorder}, lagging},
	{"old cursor while Redis is away", []Rule{Duplicate, Hole, MissingGap}, manyLinks},
	{"floor ignored", []Rule{Hole, MissingGap}, func(o *simOptions) { o.ring = 5 }},
	{"node ignored", []Rule{Hole, Duplicate, MissingGap, Reorder}, func(o *simOptions) { o.nodes = 2 }},
	{"replays to the end of history, joins at what was handed out", []Rule{Duplicate}, slowShard},
	{"replays what was handed out, joins at the end of history", []Rule{Hole, MissingGap}, slowShard},

	// The client's side of the rule.
	{"client keeps at behind a message", []Rule{Duplicate}, lagging},
	{"client counts heartbeats before subscribed", []Rule{Hole, MissingGap}, func(o *simOptions) {
		o.heartbeat, o.uplink, o.stay = 200*time.Millisecond, 300*time.Millisecond, time.Second
	}},
}

func slowShard(o *simOptions) {
	o.shard, o.heartbeat, o.every = 500*time.Millisecond, 700*time.Millisecond, []time.Duration{60 * time.Millisecond, 300 * time.Millisecond}
	o.stay = 2 * time.Second
}

func slowReplay(o *simOptions) {
	o.page, o.pageEvery, o.heartbeat, o.stay = 2, 200*time.Millisecond, 300*time.Millisecond, 2*time.Second
	o.every = []time.Duration{60 * time.Millisecond, 300 * time.Millisecond}
}

func manyLinks(o *simOptions) {
	o.faultKind, o.trouble, o.stay = []string{"cut", "cut", "kill"}, time.Second, 2*time.Second
	o.every = []time.Duration{60 * time.Millisecond, 300 * time.Millisecond}
}

func lagging(o *simOptions) {
	o.faultKind, o.lag, o.trouble, o.stay = []string{"lag", "lag", "cut"}, 5*time.Second, 2*time.Second, 2*time.Second
	o.every = []time.Duration{60 * time.Millisecond, 300 * time.Millisecond}
}

// TestSimMutants: the checker catches each of the broken ones, with numbered and with equal payloads, by a rule that it
// breaks; and what brings it out does not break the whole one.
func TestSimMutants(t *testing.T) {
	for _, m := range simMutants {
		t.Run(m.broken, func(t *testing.T) {
			t.Parallel()
			for _, equal := range []bool{false, true} {
				caught := false
				for seed := uint64(0); !caught && seed < 300; seed++ {
					o := chaos(seed)
					o.payloads.Equal = equal
					if m.tune != nil {
						m.tune(&o)
					}
					if seed == 0 {
						if r := Check(simulate(o, seed)); r.Err() != nil {
							t.Errorf("whole, equal=%v: %v", equal, r)
						}
					}
					o.broken = m.broken
					r := Check(simulate(o, seed))
					caught = slices.ContainsFunc(m.rules, func(rule Rule) bool { return r.Counts[rule] > 0 }) || equal && r.Err() != nil
					if caught {
						t.Logf("equal=%v: caught in world %d: %v", equal, seed, r.Counts)
					} else if r.Err() != nil {
						t.Logf("equal=%v: world %d: only %v", equal, seed, r.Counts)
					}
				}
				if !caught {
					t.Errorf("equal=%v: not caught", equal)
				}
			}
		})
	}
}

// rolling is a world in which one relay after the other is restarted, and nothing else happens.
func rolling(broken string) simOptions {
	return simOptions{
		broken: broken, nodes: 1, relays: 3, clients: 20, ring: 2000, shard: 10 * time.Millisecond, page: 100,
		heartbeat: 25 * time.Second, uplink: 5 * time.Millisecond, lasting: 120 * time.Second,
		every: []time.Duration{300 * time.Millisecond, 2 * time.Second, 30 * time.Second, 10 * time.Minute},
		roll:  20 * time.Second,
	}
}

// TestSimBounds: relays that give up where they need not are caught, too, although they tell everybody.
func TestSimBounds(t *testing.T) {
	strict := ResumeBounds{Enough: 20, Recovered: 1}
	for seed := range uint64(10) {
		run := simulate(rolling(""), seed)
		run.Rules.Resumes = strict
		if r := Check(run); r.Err() != nil || r.Live.Crossed.All() < 100 {
			t.Errorf("seed %d: %v", seed, r)
		}
	}
	for _, broken := range []string{"no last heartbeat", "always a gap"} {
		run := simulate(rolling(broken), 1)
		run.Rules.Resumes = strict
		if r := Check(run); r.Counts[FalseGaps] == 0 {
			t.Errorf("%s: no false gaps were found: %v", broken, r)
		}
	}
	run := simulate(rolling("always a gap"), 1)
	run.Rules.Resumes = ResumeBounds{Enough: 20, Recovered: 0.65, FalseGaps: 1}
	if r := Check(run); r.Counts[FewRecovered] == 0 {
		t.Errorf("nobody was recovered, and that was well: %v", r)
	}
}
