package relay_test

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"testing"

	"sidecast/relay/protocol"
)

// A checker is useless if it does not notice a broken relay. A mutant changes
// the events that a client received to those that a broken hub might have sent;
// the checker has to find each one wrong.
type mutant struct {
	name   string
	events func() []event // nil if there is nothing to break in this story
}

// A subject is a correct story of a client that stayed to the end, for mutants
// to break.
type subject struct {
	*story
	facts
	random *rand.Rand
	check  func(*story) error
}

// facts say where a change must be noticed.
type facts interface {
	required(i int) bool        // event i, a message or a gap in place of one, must be between its neighbours
	gapNeeded(i int) bool       // event i is a gap that must be reported
	gapBefore(i, next int) bool // event i is a gap that must be reported before event next
	endNeeded(i int) bool       // no later event shows that i was sent
	falseGap(i int) *event      // a gap that must not follow event i; nil if a gap may follow
	sent(i int) *event          // some message of the channel of event i; nil if it has no message
	mutants(*subject) []mutant  // those of one kind of channel
}

// pick returns a random index that satisfies ok, or -1.
func (s *subject) pick(ok func(i int) bool) int {
	var all []int
	for i := range s.events {
		if ok(i) {
			all = append(all, i)
		}
	}
	if len(all) == 0 {
		return -1
	}
	return all[s.random.IntN(len(all))]
}

// following returns the next event of the channel of event i, preceding the one
// before it; -1 if it has no such event.
func (s *story) following(i int) int {
	k := slices.IndexFunc(s.events[i+1:], func(e event) bool { return e.channel == s.events[i].channel })
	if k < 0 {
		return -1
	}
	return i + 1 + k
}

func (s *story) preceding(i int) int {
	for k := i - 1; k >= 0; k-- {
		if s.events[k].channel == s.events[i].channel {
			return k
		}
	}
	return -1
}

// answerNeeded reports whether event i is an answer that must arrive: one that
// may be late only needs to arrive if the client waits for it to the end.
func (s *story) answerNeeded(i int) bool {
	e := &s.events[i]
	return e.ref > 0 && (s.commands[e.ref-1].kind != "subscribed" || s.end == endAlive && !slices.ContainsFunc(s.events[i:], func(later event) bool {
		return later.kind == "unsubscribed" && later.channel == e.channel
	}))
}

func (s *story) isMessage(i int) bool { return i >= 0 && s.events[i].kind == "message" }

// mutant returns one that breaks a random event that satisfies ok.
func (s *subject) mutant(name string, ok func(i int) bool, change func(i int) []event) mutant {
	return mutant{name, func() []event {
		i := s.pick(ok)
		if i < 0 {
			return nil
		}
		return change(i)
	}}
}

// remove returns a mutant that omits an event.
func (s *subject) remove(name string, ok func(i int) bool) mutant {
	return s.mutant(name, ok, func(i int) []event { return slices.Delete(slices.Clone(s.events), i, i+1) })
}

// insert returns one that adds an event after one.
func (s *subject) insert(name string, after func(i int) *event) mutant {
	return s.mutant(name, func(i int) bool { return after(i) != nil }, func(i int) []event {
		return slices.Insert(slices.Clone(s.events), i+1, *after(i))
	})
}

// swap returns one that exchanges an event and the next of its channel; a gap
// of all channels and the next event.
func (s *subject) swap(name string, ok func(i, next int) bool) mutant {
	next := func(i int) int {
		if s.events[i].channel == "" {
			return min(i+1, len(s.events)-1)
		}
		return s.following(i)
	}
	return s.mutant(name, func(i int) bool { return next(i) > i && ok(i, next(i)) }, func(i int) []event {
		list := slices.Clone(s.events)
		list[i], list[next(i)] = list[next(i)], list[i]
		return list
	})
}

// alter returns one that changes an event.
func (s *subject) alter(name string, ok func(i int) bool, change func(i int, e *event)) mutant {
	return s.mutant(name, ok, func(i int) []event {
		list := slices.Clone(s.events)
		change(i, &list[i])
		return list
	})
}

// all returns the mutants of a story.
func (s *subject) all() []mutant {
	return append([]mutant{
		s.remove("drops a message", func(i int) bool { return s.isMessage(i) && s.required(i) }),
		s.remove("does not report a gap", s.gapNeeded),
		s.remove("does not answer", s.answerNeeded),
		s.remove("loses the end", s.endNeeded),
		s.insert("sends a message twice", func(i int) *event {
			if !s.isMessage(i) {
				return nil
			}
			return &s.events[i]
		}),
		s.insert("sends what the client has left", func(i int) *event {
			if s.events[i].kind != "unsubscribed" {
				return nil
			}
			return s.sent(i)
		}),
		s.insert("reports a gap without a cause", s.falseGap),
		s.insert("closes without a reason", func(i int) *event {
			if i < len(s.events)-1 {
				return nil
			}
			return &event{kind: "close", closeCode: protocol.CloseSlow}
		}),
		s.swap("swaps two messages", func(i, next int) bool { return s.isMessage(i) && s.isMessage(next) }),
		s.swap("reports a gap after the next message", func(i, next int) bool {
			return s.gapBefore(i, next) && s.isMessage(next)
		}),
		s.swap("sends a message before the answer", func(i, next int) bool {
			return s.events[i].kind == "subscribed" && s.isMessage(next) && s.preceding(i) < 0
		}),
		s.alter("sends a message on another channel", s.isMessage, func(_ int, e *event) { e.channel += "x" }),
		s.alter("changes a byte", s.isMessage, func(_ int, e *event) {
			e.payload = bytes.Clone(e.payload)
			e.payload[s.random.IntN(len(e.payload))] ^= 0x80
		}),
	}, s.mutants(s)...)
}

// requireCaught fails unless every mutant of every subject is caught, and every
// kind of mutant applied to one of them. It generates histories up to the
// limit, until each did.
func requireCaught(t *testing.T, least, limit uint64, subjects func(random *rand.Rand, seed, history uint64) []*subject) {
	t.Helper()
	seed := newSeed(t)
	random := rand.New(rand.NewPCG(seed, 1))
	caught, missing := map[string]int{}, 1
	for history := uint64(0); history < limit && (history < least || missing > 0); history++ {
		missing = 0
		for _, s := range subjects(random, seed, history) {
			for _, m := range s.all() {
				caught[m.name] += 0
				list := m.events()
				if list == nil {
					continue
				}
				broken := *s.story
				broken.events = list
				if s.check(&broken) == nil {
					t.Errorf("history %d: a relay that %s is not caught%s", history, m.name, broken.tail())
				}
				caught[m.name]++
			}
		}
		for _, n := range caught {
			if n == 0 {
				missing++
			}
		}
		if t.Failed() {
			return
		}
	}
	t.Logf("mutants caught: %v", caught)
	for name, n := range caught {
		if n == 0 {
			t.Errorf("no story could be changed to that of a relay that %s", name)
		}
	}
}
