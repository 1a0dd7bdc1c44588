package relay_test

import (
	"cmp"
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"

	"sidecast/relay/outbox"
	"sidecast/relay/outbox/outboxtest"
	"sidecast/relay/stats"
)

var (
	modelSeed   = flag.Uint64("model.seed", 0, "seed of the random histories; 0: another one each time")
	modelWorlds = flag.Int("model.worlds", 60, "how many random histories there are")
)

// Random histories of one source and clients that come, listen, stall, leave and are thrown out: each client gets, of each
// channel, what was published while it listened, in order, once and whole, or is told where something may be missing.
func TestModel(t *testing.T) {
	seed := cmp.Or(*modelSeed, rand.Uint64())
	t.Logf("go test -race -run %s -model.seed %d -model.worlds %d", t.Name(), seed, *modelWorlds)
	ends, back := map[ending]int{}, map[bool]int{}
	for i := range *modelWorlds {
		w := live(t, seed, uint64(i), nil)
		for _, c := range w.lives {
			ends[c.life.end]++
			if err := check(w.log, &c.life); err != nil {
				t.Errorf("history %d, client %s, %s, end %d: %v%s", i, c.life.id, c.life.protocol, c.life.end, err, tail(&c.life))
			}
		}
		back[true] += int(w.stats.Resumes[stats.ResumeRecovered].Load())
		back[false] += int(w.stats.Resumes[stats.ResumeGap].Load())
		if t.Failed() {
			return
		}
	}
	t.Logf("clients who came back: %d recovered, %d had a gap", back[true], back[false])
	if (back[true] < 50 || back[false] < 50) && *modelWorlds >= 60 {
		t.Error("too few clients came back")
	}
	t.Logf("lives by how they ended: %v", ends)
	for _, end := range []ending{endAlive, endLeft, endClosed, endEvicted} {
		if ends[end] == 0 && *modelWorlds >= 60 {
			t.Errorf("no life ended in way %d", end)
		}
	}
}

// live runs history i of a seed.
func live(t *testing.T, seed, i uint64, change func(*world)) (w *world) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		random := rand.New(rand.NewPCG(seed, i))
		w = newWorld(t, random)
		if change != nil {
			change(w)
		}
		w.run(random)
	})
	lives := map[string]*life{"": {}}
	for _, c := range w.lives {
		lives[c.life.id] = &c.life
		c.life.known, c.life.perfect = lives[c.life.after].left, w.perfect
		_ = check(w.log, &c.life) // which finds out where it was at its end
	}
	return w
}

// tail is what a client heard last, for errors.
func tail(l *life) (text string) {
	list, err := frames(l.stream[min(len(l.handshake), len(l.stream)):])
	for _, h := range list[max(0, len(list)-30):] {
		text += fmt.Sprintf("\n\t%.120q", h.payload)
	}
	if err != nil {
		text += "\n\t" + err.Error()
	}
	return fmt.Sprintf("%s\n\tit asked: %+v", text, l.commands)
}

var _ outbox.Socket = (*outboxtest.FakeSocket)(nil)
