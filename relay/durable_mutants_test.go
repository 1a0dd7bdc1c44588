package relay_test

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"testing"

	"sidecast/relay/protocol"
)

// A scene is one story that a mutant may change.
type scene struct {
	random *rand.Rand
	vault  *vault
	story  *durableStory
	list   []dated
}

// pick returns a random index that satisfies ok, or -1.
func (s *scene) pick(ok func(i int) bool) int {
	var all []int
	for i := range s.list {
		if ok(i) {
			all = append(all, i)
		}
	}
	if len(all) == 0 {
		return -1
	}
	return all[s.random.IntN(len(all))]
}

// next returns the next frame on the channel of frame i, and before the one before it; -1 if there is none.
func (s *scene) next(i int) int {
	for k := i + 1; k < len(s.list); k++ {
		if s.list[k].channel == s.list[i].channel {
			return k
		}
	}
	return -1
}

func (s *scene) before(i int) int {
	for k := i - 1; k >= 0; k-- {
		if s.list[k].channel == s.list[i].channel {
			return k
		}
	}
	return -1
}

// entry returns the record that frame i carries, or stands for, or nil.
func (s *scene) entry(i int) *record {
	switch h := s.list[max(i, 0)]; {
	case i < 0:
	case h.kind == "message":
		return s.vault.recordOf(h.payload)
	case h.kind == "gap" && h.reason == "too_large":
		p, _ := (&audit{vault: s.vault}).find(h.channel, h.cursor, h.moment)
		return p.record
	}
	return nil
}

// lasts reports whether nothing excuses that a client does not hear a record.
func (s *scene) lasts(r *record) bool {
	return r != nil && r.by != s.story.id && (r.gone == 0 || r.fate == fateTrimmed)
}

// vital reports whether frame i carries what has to come between the frames around it.
func (s *scene) vital(i int) bool {
	r, was, next := s.entry(i), s.entry(s.before(i)), s.entry(s.next(i))
	return s.lasts(r) && was != nil && next != nil && was.line == r.line && next.line == r.line
}

// broken reports whether frame i tells of a gap in which something was lost that is known to be.
func (s *scene) broken(i int) bool {
	h := s.list[i]
	was, next := s.entry(s.before(i)), s.entry(s.next(i))
	if h.kind != "gap" || h.reason == "too_large" || h.reason == "redis" || was == nil || next == nil || h.channel == "" {
		return false
	}
	return was.line != next.line || slices.ContainsFunc(s.vault.log[was.number:next.number-1], func(r *record) bool {
		return r.channel == h.channel && s.lasts(r)
	})
}

func (s *scene) message(i int) bool { return s.list[i].kind == "message" }

// without is the list without frame i.
func (s *scene) without(i int) []dated { return slices.Concat(s.list[:i], s.list[i+1:]) }

// with is the list with a frame before i.
func (s *scene) with(i int, h dated) []dated {
	return slices.Concat(s.list[:i], []dated{h}, s.list[i:])
}

// swapped is the list with two frames exchanged.
func (s *scene) swapped(i, k int) []dated {
	list := slices.Clone(s.list)
	list[i], list[k] = list[k], list[i]
	return list
}

// changed is the list with frame i changed.
func (s *scene) changed(i int, change func(*dated)) []dated {
	list := slices.Clone(s.list)
	change(&list[i])
	return list
}

// of is a frame that carries a record, sent when frame i was.
func (s *scene) of(r *record, i int) dated {
	cursor, _ := r.entry.AppendText(nil)
	h := dated{moment: s.list[i].moment}
	h.kind, h.channel, h.cursor, h.payload = "message", r.channel, string(cursor), r.entry.Payload
	return h
}

// The checker is no use if it does not see a broken relay: each mutant of what clients got has to be caught.
func TestDurableModelCatchesMutants(t *testing.T) {
	seed := cmp.Or(*modelSeed, rand.Uint64())
	t.Logf("go test -run %s -model.seed %d", t.Name(), seed)
	random := rand.New(rand.NewPCG(seed, 1))
	caught := map[string]int{}
	for i := uint64(0); i < 40 && (i < 8 || len(caught) < len(durableMutants)); i++ {
		w := liveDurably(t, seed, i)
		for _, l := range w.lives {
			if l.end != endAlive || l.protocol != protocol.V1ID || auditStory(w.vault, &l.durableStory, map[string]int{}) != nil {
				continue
			}
			for _, m := range durableMutants {
				list := m.mutate(&scene{random, w.vault, &l.durableStory, l.heard})
				if list == nil {
					continue
				}
				broken := l.durableStory
				broken.heard = list
				if auditStory(w.vault, &broken, map[string]int{}) == nil {
					t.Errorf("history %d, client %s: nobody notices a relay that %s%s", i, l.id, m.name, story(w.vault, &broken))
				}
				caught[m.name]++
			}
		}
		if t.Failed() {
			return
		}
	}
	for _, m := range durableMutants {
		if caught[m.name] == 0 {
			t.Errorf("no client could be sent what a relay sends that %s", m.name)
		}
	}
	t.Logf("mutants caught: %v", caught)
}
