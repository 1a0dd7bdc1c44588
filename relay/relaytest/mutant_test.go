package relaytest

import (
	"context"
	"fmt"
	"testing"
	"time"
)

// mutant is a way to break a relay, and the rule by which the checker must notice it.
type mutant struct {
	name     string
	mutation mutation
	rule     Rule
	equal    Rule // where payloads are equal; empty where a client cannot tell
	v1       bool // raw has no words for what is broken
	gaps     bool // raw has, if it asked for gap=close
}

// The mutants that a checker must catch to be trusted. A relay that resumes off by one joins them with resume.
var mutants = []mutant{
	{name: "drop", mutation: mutation{drop: 13}, rule: Hole, equal: Hole},
	{name: "duplicate", mutation: mutation{duplicate: 13}, rule: Duplicate, equal: Duplicate},
	{name: "reorder", mutation: mutation{swap: 13}, rule: Reorder},
	{name: "late gap", mutation: mutation{gapLate: true}, rule: LateGap, gaps: true},
	{name: "missing gap", mutation: mutation{gapMissing: true}, rule: MissingGap, equal: Hole, gaps: true},
	{name: "leak", mutation: mutation{leak: 13}, rule: Leak, equal: Leak},

	{name: "early gap", mutation: mutation{gapEarly: true}, rule: EarlyGap, equal: Hole, v1: true},
	{name: "gap twice", mutation: mutation{gapTwice: true}, rule: GapCount, equal: GapCount, v1: true},
	{name: "gap in a quiet run", mutation: mutation{gapQuiet: true}, rule: CauselessGap, equal: CauselessGap, gaps: true},
	{name: "no offline", mutation: mutation{offlineMissing: true}, rule: OfflineCount, equal: OfflineCount, v1: true},
	{name: "changed byte", mutation: mutation{corrupt: 13}, rule: Corrupt, equal: Corrupt},
	{name: "wrong frame", mutation: mutation{misframe: 13}, rule: Corrupt, equal: Corrupt},
	{name: "dead after the fault", mutation: mutation{dead: true}, rule: Unproven, equal: Unproven},
}

// populations are what the clients of a run may be.
var populations = []struct {
	name  string
	dials func(url string, channels []string) *Dialer
}{
	{"v1", func(url string, _ []string) *Dialer { return &Dialer{URL: url} }},
	{"raw", func(url string, channels []string) *Dialer {
		return &Dialer{URL: url, Protocol: Raw, Channels: channels}
	}},
	{"raw with gap=close", func(url string, channels []string) *Dialer {
		return &Dialer{URL: url, Protocol: Raw, Channels: channels, GapClose: true}
	}},
}

// TestMutants: the checker has nothing to say of a relay that is whole, and catches each of the broken ones by the rule
// that it breaks.
func TestMutants(t *testing.T) {
	for _, p := range populations {
		for _, equal := range []bool{false, true} {
			run := func(m mutation) Report {
				return rehearse(t, m, equal, func(url string, channels []string) *Dialer { return p.dials(url, channels) })
			}
			t.Run(fmt.Sprintf("%s, equal=%v/whole", p.name, equal), func(t *testing.T) {
				if r := run(mutation{}); r.Err() != nil || r.Deliveries == 0 || r.Gaps == 0 && p.name != "raw" {
					t.Error(r)
				}
			})
			for _, m := range mutants {
				rule := m.rule
				if equal {
					rule = m.equal
				}
				if rule == "" || m.v1 && p.name != "v1" || m.gaps && p.name == "raw" {
					continue
				}
				t.Run(fmt.Sprintf("%s, equal=%v/%s", p.name, equal, m.name), func(t *testing.T) {
					if r := run(m.mutation); r.Counts[rule] == 0 {
						t.Errorf("no %s was found: %v", rule, r)
					}
				})
			}
		}
	}
}

// rehearse runs a relay through a link that breaks and heals, with clients from before and after.
func rehearse(t *testing.T, m mutation, equal bool, dials func(url string, channels []string) *Dialer) Report {
	f := newFake(t, m)
	payloads := Payloads{Bytes: BytesBinary, Sizes: []int{50, 200, 3000}, Equal: equal}
	if m.misframe > 0 {
		payloads.Bytes = BytesHostile // what is not UTF-8 in a text frame breaks the protocol, another rule
	}
	p := NewPublisher(f.publish, payloads)
	all := []string{"a", "b", "c"}
	var fleet Fleet
	join := func() {
		for i := range 3 {
			channels := []string{all[i%3], all[(i+1)%3]}
			c := dial(t, dials(f.url, channels))
			if c.protocol == V1 {
				check(t, c.Subscribe(t.Context(), channels...))
			}
			check(t, c.Barrier(t.Context()))
			fleet = append(fleet, c)
		}
		// Who speaks raw is not told that it has joined, and may miss what comes at once: less than the lag that is allowed.
		<-time.After(5 * time.Millisecond)
	}
	publish := func(n int) { check(t, p.Run(t.Context(), all, n, 0)) }

	join()
	publish(20)
	if m.gapQuiet {
		f.mu.Lock()
		f.gap()
		f.mu.Unlock()
	}
	settle(t, fleet)
	var faults FaultLog
	<-time.After(5 * time.Millisecond) // more than the lag that the rules below allow
	fault := faults.Begin(Fault{Name: "cut", Gap: Once, Offline: Once})
	f.cut()
	if m.gapEarly {
		settle(t, fleet) // the gap is read before the messages that it should cover are published
	}
	publish(8)
	f.heal()
	fault.Undone()
	publish(3)
	settle(t, fleet)
	fault.Settled()

	join()
	publish(20)
	f.mu.Lock()
	f.broken = mutation{dead: m.dead}
	f.mu.Unlock()
	check(t, p.Finish(t.Context()))
	settle(t, fleet)
	run := Run{Published: p.Log(), Sessions: fleet.Sessions(), Faults: faults.Faults()}
	run.Rules = Rules{Lag: time.Millisecond}
	return Check(run)
}

// settle waits until everything that was sent is in the logs.
func settle(t *testing.T, fleet Fleet) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), Patience)
	defer cancel()
	check(t, fleet.each(ctx, func(ctx context.Context, c *Client) error {
		if err := c.Barrier(ctx); err != nil && !c.over() {
			_, err = c.Await(ctx, Is(KindEnd))
			return err
		}
		return nil
	}))
}
