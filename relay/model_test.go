package relay_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"sidecast/relay/protocol"
	"sidecast/relay/stream"
)

// checkModel runs random histories of one kind of world, and checks what each
// client received. It returns how often what happened.
func checkModel(t *testing.T, kind worldKind) map[string]int {
	t.Helper()
	seed := newSeed(t)
	counts := map[string]int{}
	for i := range uint64(*modelWorlds) {
		w := runWorld(t, seed, i, kind)
		for _, c := range w.clients {
			counts[[]string{"alive", "left", "closed", "evicted"}[c.end]]++
			if c.wrong != nil {
				t.Errorf("history %d: %v%s%s", i, c.wrong, c.tail(), w.store.describe(c.failed))
				break
			}
		}
		for what, n := range w.counts {
			counts[what] += n
		}
		if t.Failed() {
			t.FailNow()
		}
	}
	t.Logf("counts: %v", counts)
	requireCounts(t, counts, 1, "alive", "left", "closed", "evicted")
	return counts
}

// Random histories of one relay and of clients that connect, subscribe, stall,
// leave and are evicted: each client receives, of each live channel, all
// messages published while it was subscribed, in order, once and whole, or is
// notified where messages may be missing.
func TestModel(t *testing.T) {
	counts := checkModel(t, worldKind{live: true, relays: 1})
	requireCounts(t, counts, 20, "live recovered", "live not recovered", "live last")
}

// Clients move between relays that receive from the same Redis, each at its own
// pace, and lose it at times: each client receives everything once and in
// order, or gets a gap.
func TestReplicas(t *testing.T) {
	counts := checkModel(t, worldKind{live: true, relays: 3})
	requireCounts(t, counts, 20, "live recovered", "live not recovered", "live last")
	requireCounts(t, counts, 1, "gap redis", "gap too_large")
}

// The channels of most clients share a cursor: at any relay, they receive
// everything once and in one order over all channels, or get a gap.
func TestModelOfOneCursor(t *testing.T) {
	counts := checkModel(t, worldKind{live: true, relays: 3, together: true})
	requireCounts(t, counts, 20, "live recovered", "live not recovered", "messages with a list")
	requireCounts(t, counts, 1, "gap too_large", "together gap redis")
}

// Random histories of streams that several relays read, and of clients that
// move between them: each client receives every entry once and in order, or is
// notified where entries may be missing, and why. The clients of a second run
// have live channels too.
func TestDurableModel(t *testing.T) {
	counts := checkModel(t, worldKind{durable: true, relays: 3})
	requireCounts(t, counts, 1, "recovered", "not recovered", "begun", "begun without a cursor", "unavailable", "durable last", "since recovered", "since not recovered", "messages",
		"gap trimmed", "gap reset", "gap redis", "gap too_large")
	checkModel(t, worldKind{live: true, durable: true, relays: 3})
}

// describe lists everything that was ever in a stream, for failures.
func (s *store) describe(channel string) string {
	var text strings.Builder
	for _, r := range s.log {
		if r.channel == channel {
			fmt.Fprintf(&text, "\n\t%d: generation %d, %v, added @%d, removed @%d (%d) by %q", r.number, r.generation, r.entry.ID,
				r.added, r.removed, r.removal, r.by)
		}
	}
	return text.String()
}

// A client is excused from the entries that its relay missed while it was
// connected, although an earlier outage would fit its story as well.
func TestModelExcusesMissedEntries(t *testing.T) {
	w := &world{store: newStore(rand.New(rand.NewPCG(1, 1))), counts: map[string]int{}}
	for n := range 50 {
		w.log = append(w.log, entry{entryMessage, "a", fmt.Sprintf("#%d:", n+1)})
	}
	r := &worldRelay{world: w, missed: map[int]bool{15: true, 35: true}}
	r.outages = []outage{{true, 0}, {false, 10}, {true, 20}, {false, 30}, {true, 40}}
	c := &actorClient{relay: r, joinedFrom: 3, joinedBy: 3}
	positions, err := c.check(&story{
		protocol: protocol.V1ID, end: endLeft,
		commands: []*command{{kind: "subscribed", channels: []string{"a"}, before: 25, begunBy: 25}},
		events: []event{
			{kind: "welcome"}, {kind: "subscribed", channel: "a", ref: 1}, {kind: "offline", reason: "redis"}, {kind: "gap", reason: "redis"},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if p := positions["a"]; !p.optional[35] || p.optional[34] {
		t.Errorf("35 is excused: %v, 34: %v", p.optional[35], p.optional[34])
	}
}

// What a client with since receives depends on the entries that existed from
// its request to the answer. The relay may not have seen those that were added
// or removed in between.
func TestModelChecksSinceAtTheRequest(t *testing.T) {
	id := stream.ID{Ms: 5}
	at, none := stream.Cursor{ID: id}, stream.Cursor{}
	for _, test := range []struct {
		why           string
		asked, moment int64 // 1: 5-0 is added. 2: the key is deleted. 3 to 5: 4-0, 5-0 and 6-0 are added
		events        []event
		ok            bool
	}{
		{"an entry with the id was added after the relay had looked", 2, 5, notRecovered(at, none, 2, 3, 4), true},
		{"an entry with the id was removed before the relay looked", 1, 5, notRecovered(at, none, 2, 3, 4), true},
		{"the entry exists", 1, 1, notRecovered(at, none), false},
		{"the entry existed when the client asked and still does", 4, 5, notRecovered(at, none, 4), false},
		{"the entry that the application has read arrives", 1, 5, notRecovered(at, none, 1), false},
		{"an entry with a higher id is skipped", 2, 5, notRecovered(at, none, 2, 4), false},
		{"a message arrives before the gap", 2, 5, slices.Delete(notRecovered(at, none, 2, 3, 4), 2, 3), false},
		{"the answer has another id", 2, 5, notRecovered(none, none, 2, 3, 4), false},
	} {
		w := &world{store: newPlainStore(), counts: map[string]int{}}
		add := func(ms uint64) {
			text := fmt.Sprintf("s%d:", len(w.store.log)+1)
			w.store.add("s:a", stream.ID{Ms: ms}, []string{stream.PayloadField, text}, "", 0)
		}
		add(5)
		w.store.reset("s:a")
		for ms := range uint64(3) {
			add(4 + ms)
		}
		c := &actorClient{relay: &worldRelay{world: w}}
		s := &story{
			id: "c", protocol: protocol.V1ID, end: endLeft, events: test.events,
			commands: []*command{{kind: "subscribed", channels: []string{"s:a"}, since: []string{id.String()}, last: []int{0}, asked: test.asked}},
		}
		for i := range s.events {
			e := &s.events[i]
			if e.moment = test.moment; e.kind == "message" {
				rec := w.store.log[e.number-1]
				e.payload, e.cursor = rec.entry.Payload, string(rec.entry.Text())
			}
		}
		if err := s.check(c.newRules(s, 0)); (err == nil) != test.ok {
			t.Errorf("%s: %v", test.why, err)
		}
	}
}

// notRecovered returns the events of a client that was not recovered at one
// place, got a gap that ends at another, and then the records.
func notRecovered(at, to stream.Cursor, records ...int) []event {
	list := []event{
		{kind: "welcome"}, {kind: "subscribed", channel: "s:a", ref: 1, cursor: string(at.Text())},
		{kind: "gap", channel: "s:a", reason: "reset", cursor: string(to.Text())},
	}
	for _, n := range records {
		list = append(list, event{kind: "message", channel: "s:a", number: n})
	}
	return list
}

func TestModelCatchesMutants(t *testing.T) {
	kinds := []worldKind{{live: true, relays: 2}, {durable: true, relays: 2}, {live: true, durable: true, relays: 1}}
	requireCaught(t, 24, 240, func(random *rand.Rand, seed, i uint64) (list []*subject) {
		for _, c := range runWorld(t, seed, i, kinds[i%3]).clients {
			if c.end == endAlive && c.protocol == protocol.V1ID && len(c.events) > 0 && c.wrong == nil {
				check := func(s *story) error { _, err := c.check(s); return err }
				list = append(list, &subject{story: &c.story, facts: c.facts(), random: random, check: check})
			}
		}
		return list
	})
}

// A relay that does not keep the order over all channels of a client is caught,
// also if each channel keeps its own.
func TestModelCatchesMutantsOfOneCursor(t *testing.T) {
	seed, swapped := newSeed(t), 0
	for i := range uint64(12) {
		for _, c := range runWorld(t, seed, i, worldKind{live: true, relays: 2, together: true}).clients {
			for k := 1; c.together && c.wrong == nil && k < len(c.events); k++ {
				if !c.isMessage(k-1) || !c.isMessage(k) || c.events[k-1].channel == c.events[k].channel {
					continue
				}
				broken := c.story
				broken.events = slices.Clone(c.events)
				broken.events[k-1], broken.events[k] = broken.events[k], broken.events[k-1]
				if _, err := c.check(&broken); err == nil {
					t.Errorf("history %d: it is not caught that events %d and %d are swapped%s", i, k-1, k, broken.tail())
				}
				swapped++
				k += 20
			}
		}
	}
	if swapped < 100 {
		t.Errorf("%d events were swapped", swapped)
	}
}

// A connection that changes the frames while the hub runs is caught, too.
func TestModelCatchesBadConnections(t *testing.T) {
	seed := newSeed(t)
	for name, tamper := range map[string]func([][]byte) [][]byte{
		"loses a frame":    func(frames [][]byte) [][]byte { return slices.Delete(frames, 1, 2) },
		"repeats a frame":  func(frames [][]byte) [][]byte { return slices.Insert(frames, 1, frames[1]) },
		"swaps two frames": func(frames [][]byte) [][]byte { frames[1], frames[2] = frames[2], frames[1]; return frames },
		"mixes two frames": func(frames [][]byte) [][]byte { frames[1], frames[2] = mix(frames[1], frames[2]); return frames },
		"cuts a frame":     func(frames [][]byte) [][]byte { frames[1] = frames[1][:len(frames[1])-1]; return frames },
		"nests a frame": func(frames [][]byte) [][]byte {
			half := len(frames[1]) / 2
			return slices.Replace(frames, 1, 3, slices.Concat(frames[1][:half], frames[2], frames[1][half:]))
		},
	} {
		tampered := 0
		for i := range uint64(8) {
			for _, c := range runWorld(t, seed, i, worldKind{live: true, relays: 1, tamper: tamper}).clients {
				if !c.socket.tampered || c.end == endLeft {
					continue
				}
				tampered++
				if c.wrong == nil {
					t.Errorf("history %d: a connection that %s is not caught%s", i, name, c.tail())
				}
			}
		}
		if tampered == 0 {
			t.Errorf("no connection %s", name)
		}
	}
}

// mix exchanges the second halves of two frames.
func mix(a, b []byte) ([]byte, []byte) {
	return slices.Concat(a[:len(a)/2], b[len(b)/2:]), slices.Concat(b[:len(b)/2], a[len(a)/2:])
}
