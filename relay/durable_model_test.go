package relay_test

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
)

// Random histories of streams that several relays read, and of clients that move between them: each hears every entry once
// and in order, or is told where something may be missing, and why that may be.
func TestDurableModel(t *testing.T) {
	seed := cmp.Or(*modelSeed, rand.Uint64())
	t.Logf("go test -race -run %s -model.seed %d -model.worlds %d", t.Name(), seed, *modelWorlds)
	counts := map[string]int{}
	for i := range uint64(*modelWorlds) {
		w := liveDurably(t, seed, i)
		for _, l := range w.lives {
			if err := auditStory(w.vault, &l.durableStory, counts); err != nil {
				t.Errorf("history %d, client %s, %d, end %d: %v%s", i, l.id, l.protocol, l.end, err, story(w.vault, &l.durableStory))
				break
			}
		}
		if t.Failed() {
			t.Fatalf("in history %d", i)
		}
	}
	t.Logf("what came of it: %v", counts)
	for _, what := range []string{
		"recovered", "not recovered", "begun", "begun nowhere", "unavailable", "messages",
		"gap trimmed", "gap reset", "gap redis", "gap too_large",
	} {
		if counts[what] == 0 && *modelWorlds >= 60 {
			t.Errorf("nobody had: %s", what)
		}
	}
}

// liveDurably runs history i of a seed.
func liveDurably(t *testing.T, seed, i uint64) (w *durableWorld) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w = newDurableWorld(t, seed, i)
		for range 250 {
			w.step()
		}
		w.end()
	})
	return w
}

// story is what a client asked, and heard last of the channel where it was wronged, and what was in that, for errors.
func story(v *vault, s *durableStory) (text string) {
	var lines []string
	for _, h := range s.heard {
		if h.kind != "ping" && h.kind != "heartbeat" && (h.channel == "" || h.channel == s.where) {
			lines = append(lines, fmt.Sprintf("@%d %s %s ref %d %.20q %s %s %v", h.moment, h.kind, h.channel, h.ref, h.payload, h.reason, h.cursor, h.recovered))
		}
	}
	lines = lines[max(0, len(lines)-30):]
	lines = append(lines, fmt.Sprintf("asked %.600s", fmt.Sprint(s.asked)))
	for _, r := range v.log {
		if r.channel == s.where {
			lines = append(lines, fmt.Sprintf("%d: line %d, %v, added @%d, gone @%d (%d) by %q", r.number, r.line, r.entry.ID, r.added, r.gone, r.fate, r.by))
		}
	}
	return "\n\t" + strings.Join(lines, "\n\t")
}
