package relaytest

import (
	"flag"
	"math/rand/v2"
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
		faultKind: []string{"cut", "hole", "lag", "lag", "kill", "drain", "redis", "evict"},
		payloads:  Payloads{Equal: random.IntN(3) == 0, Anchors: 16},
	}
	for range 3 {
		o.every = append(o.every, pick(60*time.Millisecond, 300*time.Millisecond, 2*time.Second, 8*time.Second))
	}
	o.oversize, o.forget, o.again = []int{0, 0, 40}[random.IntN(3)], pick(0, 0, 3*time.Second), pick(0, 3*time.Second)
	o.miscounts, o.forges = []int{0, 0, 0, 20}[random.IntN(4)], []int{0, 0, 0, 5}[random.IntN(4)]
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

// rolling is a world in which one relay after the other is restarted, and nothing else happens.
func rolling(broken string) simOptions {
	return simOptions{
		broken: broken, nodes: 1, relays: 3, clients: 20, ring: 2000, shard: 10 * time.Millisecond, page: 100,
		heartbeat: 25 * time.Second, uplink: 5 * time.Millisecond, lasting: 120 * time.Second,
		every: []time.Duration{300 * time.Millisecond, 2 * time.Second, 30 * time.Second, 10 * time.Minute},
		roll:  20 * time.Second,
	}
}

// quietWorld is one in which clients move between relays, and nothing else happens.
func quietWorld() simOptions {
	o := rolling("")
	o.roll, o.stay, o.lasting = 0, 3*time.Second, 60*time.Second
	return o
}

// strict lets nobody come back to a gap. loose does not mind what a gap costs, but that there are so many.
var (
	strict = ResumeBounds{Enough: 20, Recovered: 1}
	loose  = ResumeBounds{Enough: 20, Recovered: 0.65, FalseGaps: 1}
)

// simSpenders lose nothing, but need more gaps for that than there have to be. A comment says what the rule is.
var simSpenders = []struct {
	broken string
	bounds ResumeBounds
	rule   Rule
}{
	// Who can be recovered is.
	{"always a gap", strict, FalseGaps},
	{"always a gap", loose, FewRecovered},
	// The last frame before a relay closes a connection names the newest marker: others know that one.
	{"no last heartbeat", strict, FalseGaps},
	// A shard passes markers on, whether anybody listens there or not.
	{"idle shard passes no markers", strict, FalseGaps},
}

// TestSimBounds: relays that give up where they need not are caught, too, although they tell everybody. The whole one
// recovers everybody where one relay after the other is restarted, and where nothing is.
func TestSimBounds(t *testing.T) {
	for seed := range uint64(10) {
		for _, o := range []simOptions{rolling(""), quietWorld()} {
			run := simulate(o, seed)
			run.Rules.Resumes = strict
			if r := Check(run); r.Err() != nil || r.Gaps > 0 || r.Live.Crossed.All() < 100 {
				t.Errorf("seed %d, restarts every %v: %v", seed, o.roll, r)
			}
		}
	}
	for _, m := range simSpenders {
		run := simulate(rolling(m.broken), 1)
		run.Rules.Resumes = m.bounds
		if r := Check(run); r.Counts[m.rule] == 0 {
			t.Errorf("%s: no %s: %v", m.broken, m.rule, r)
		}
	}
}
