package relaytest

import (
	"slices"
	"testing"
	"time"
)

// A simMutant is a way to break a relay or a client, and the rules of which one must notice it. Where all payloads are
// equal a client cannot tell which message it is that is missing, so that a hole or a duplicate will do.
type simMutant struct {
	broken string
	rules  []Rule
	tune   func(*simOptions) // what brings it out
}

// simMutants are the rules of delivery and of resuming by markers, each broken. A comment says what the rule is. What costs
// only gaps that need not be is in simSpenders.
//
// These relays, like the real one, let a subscription begin behind what has come in, whatever its shard has handed out. So
// it does no harm if a command comes in the middle of a batch, or if "handed out" is a batch behind. Neither have they
// markers that are forgotten for their age, which only costs gaps; streams, which other tests try; nor subscriptions on
// demand.
var simMutants = []simMutant{
	// Of what comes over the link, everybody hears everything, once, in its order, and nobody anything else.
	{"drop", lost, nil},
	{"duplicate", twice, nil},
	{"reorder", []Rule{Reorder, Hole}, nil},
	{"leak", []Rule{Leak}, nil},

	// A link that broke costs a gap, in front of the next message.
	{"late gap", []Rule{LateGap}, nil},
	{"missing gap", []Rule{MissingGap}, nil},
	// The gap comes when the next link is there: who fetches what it missed before that misses what comes until then.
	{"gap before resubscription", []Rule{EarlyGap, MissingGap}, nil},
	// The next link is there when Redis has confirmed the subscription, not when it was asked for.
	{"gap before the confirmation", []Rule{EarlyGap, MissingGap}, manyLinks},
	// A message that is too large costs a gap in its place.
	{"no gap where one was too large", []Rule{MissingGap}, oversized},

	// A link begins with no history, no markers and a new marker of its own: nothing is known of what was said before.
	{"old marker in a new epoch", misplaced, manyLinks},
	{"history outlives the link", lost, manyLinks},
	// Redis nodes have orders of their own: a position names its node.
	{"node ignored", misplaced, func(o *simOptions) { o.nodes = 2 }},
	// A marker is published once, whatever becomes of the answer.
	{"marker sent twice", misplaced, manyLinks},
	// A position carries a check of the messages since its marker: whoever counted others, or made it up, gets a gap.
	{"check ignored", misplaced, func(o *simOptions) { lagging(o); o.miscounts = 20 }},
	{"check ignored", lost, func(o *simOptions) { o.forges = 3 }},

	// Behind the position everything is still there, or there is a gap.
	{"resume off by one", lost, nil},
	{"resume off by one, early", twice, nil},
	{"floor ignored", lost, func(o *simOptions) { o.ring = 5 }},
	// A channel that is forgotten leaves a floor for all.
	{"forgets that it forgot", lost, forgetful},
	// A message that is too large stays in the history, as something that cannot be replayed.
	{"no tombstone", lost, oversized},

	// A gap is not told before the link has caught up (a PING, and everything before its PONG): else messages follow it that
	// the client has heard from a relay which is ahead.
	{"verdict before the barrier", []Rule{Duplicate, Reorder}, lagging},
	// Neither of those who come back from before the floor.
	{"no barrier below the floor", []Rule{Duplicate, Reorder}, func(o *simOptions) { lagging(o); o.ring = 5 }},
	// A PING under way may be in front of what the client has heard: it takes the next.
	{"joins a PING under way", []Rule{Duplicate, Reorder}, lagging},
	// The PONG says what has come in, so a gap begins behind that. A relay whose gaps begin behind what the session's shard has
	// handed out has to wait until the PONG has come through the shard, too. Who does half of each repeats.
	{"a gap joins at what was handed out", []Rule{Duplicate, Reorder}, func(o *simOptions) { lagging(o); slowShard(o); o.ring = 5 }},
	// Who was answered while there was no link hears what comes behind a PONG on the next, and a gap before.
	{"joined before the barrier", []Rule{Duplicate, Reorder}, lagging},
	{"no gap at a late join", []Rule{EarlyGap, MissingGap, Hole}, manyLinks},
	// And gets a position that nobody knows.
	{"old cursor while Redis is away", twice, func(o *simOptions) {
		lagging(o)
		o.faultKind = []string{"hole"}
	}},

	// Of two positions the later one in this relay's order holds.
	{"heartbeat rewinds", twice, slowShard},
	// But one of a message is exact: if it is not here yet, no heartbeat stands in for it.
	{"a heartbeat stands in for a position not here yet", twice, func(o *simOptions) { lagging(o); o.heartbeat = 200 * time.Millisecond }},

	// The answer carries the client's own position: the replay may never arrive.
	{"newest cursor in subscribed", lost, func(o *simOptions) {
		slowReplay(o)
		o.uplink, o.stay = 500*time.Millisecond, 500*time.Millisecond
	}},
	// The last page and the fan-out meet at one place.
	{"replays to the end of history, joins at what was handed out", twice, slowShard},
	{"replays what was handed out, joins at the end of history", lost, slowShard},
	// Nothing of a channel follows the answer to unsubscribe.
	{"replay outlives its subscription", []Rule{Leak}, func(o *simOptions) { slowReplay(o); o.again = time.Second }},

	// A heartbeat names the last marker that this session's shard has handed out.
	{"heartbeat overtakes", lost, slowShard},
	// Before the first marker of a link it names none: the gap may still be on its way.
	{"heartbeat with a local marker", lost, func(o *simOptions) {
		slowShard(o)
		o.relays, o.shard, o.heartbeat, o.stay = 1, 2*time.Second, 100*time.Millisecond, time.Second
		o.faultKind, o.lag, o.trouble = []string{"cut", "lag"}, 2*time.Second, 4*time.Second
	}},
	// It says nothing of channels that are not live yet.
	{"heartbeat in a replay", lost, slowReplay},
	// Nor does it follow what was dropped.
	{"heartbeat behind what was dropped", lost, func(o *simOptions) {
		o.faultKind, o.trouble, o.uplink, o.stay = []string{"evict"}, 500*time.Millisecond, 300*time.Millisecond, 10*time.Second
		o.every = []time.Duration{60 * time.Millisecond, 300 * time.Millisecond}
	}},

	// The client's side: a message is newer than the heartbeats before it,
	{"client keeps at behind a message", twice, lagging},
	// a heartbeat counts for channels whose subscribed came before it,
	{"client counts heartbeats before subscribed", lost, func(o *simOptions) {
		o.heartbeat, o.uplink, o.stay = 200*time.Millisecond, 300*time.Millisecond, time.Second
	}},
	// and who left a channel does not come back to it before its unsubscribed came, with what was under way.
	{"client subscribes before unsubscribed", twice, func(o *simOptions) {
		o.again, o.uplink, o.every = time.Second, 100*time.Millisecond, []time.Duration{60 * time.Millisecond}
	}},
}

// What most of them come to.
var (
	lost      = []Rule{Hole, MissingGap}
	twice     = []Rule{Duplicate}
	misplaced = []Rule{Hole, MissingGap, Duplicate, Reorder}
)

func slowShard(o *simOptions) {
	o.shard, o.heartbeat, o.every = 500*time.Millisecond, 700*time.Millisecond, []time.Duration{60 * time.Millisecond, 300 * time.Millisecond}
	o.stay = 2 * time.Second
}

func slowReplay(o *simOptions) {
	o.page, o.pageEvery, o.heartbeat, o.stay = 2, 200*time.Millisecond, 300*time.Millisecond, 2*time.Second
	o.every = []time.Duration{60 * time.Millisecond, 300 * time.Millisecond}
}

func manyLinks(o *simOptions) {
	o.faultKind, o.trouble, o.stay, o.heartbeat = []string{"cut", "cut", "kill"}, time.Second, 2*time.Second, 300*time.Millisecond
	o.every = []time.Duration{60 * time.Millisecond, 300 * time.Millisecond}
}

func lagging(o *simOptions) {
	o.faultKind, o.lag, o.trouble, o.stay = []string{"lag", "lag", "cut"}, 5*time.Second, 2*time.Second, 2*time.Second
	o.every = []time.Duration{60 * time.Millisecond, 300 * time.Millisecond}
}

func oversized(o *simOptions) {
	o.oversize, o.ring, o.trouble, o.stay = 20, 2000, 0, time.Second
	o.every = []time.Duration{300 * time.Millisecond, 300 * time.Millisecond}
}

func forgetful(o *simOptions) {
	o.forget, o.trouble, o.stay = time.Second, 0, time.Second
	o.every = []time.Duration{2 * time.Second, 8 * time.Second}
}

// TestSimMutants: the checker catches each of the broken ones, with numbered and with equal payloads, by a rule that it
// breaks; and has nothing to say of the whole one in the same world.
func TestSimMutants(t *testing.T) {
	for _, m := range simMutants {
		t.Run(m.broken, func(t *testing.T) {
			t.Parallel()
			for _, equal := range []bool{false, true} {
				m.hunt(t, equal)
			}
		})
	}
}

// hunt looks for a world in which the mutant is caught.
func (m simMutant) hunt(t *testing.T, equal bool) {
	rules := m.rules
	if equal {
		rules = append(slices.Clone(rules), Hole, Duplicate)
	}
	for seed := range uint64(300) {
		o := chaos(seed)
		o.payloads.Equal = equal
		if m.tune != nil {
			m.tune(&o)
		}
		whole := o
		o.broken = m.broken
		r := Check(simulate(o, seed))
		if !slices.ContainsFunc(rules, func(rule Rule) bool { return r.Counts[rule] > 0 }) {
			if r.Err() != nil {
				t.Logf("equal=%v: world %d: only %v", equal, seed, r.Counts)
			}
			continue
		}
		t.Logf("equal=%v: caught in world %d: %v", equal, seed, r.Counts)
		if r := Check(simulate(whole, seed)); r.Err() != nil {
			t.Errorf("equal=%v: the whole one in world %d: %v", equal, seed, r)
		}
		return
	}
	t.Errorf("equal=%v: not caught", equal)
}
