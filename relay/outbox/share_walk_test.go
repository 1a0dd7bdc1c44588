package outbox_test

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"sidecast/relay/outbox/outboxtest"
	"sidecast/relay/stats"
)

// TestReplayShareWalks runs many replays at random. A model of the line says
// which of them must be woken after each call. In the end, all clients read,
// and every replay must finish.
func TestReplayShareWalks(t *testing.T) {
	seed := cmp.Or(*outboxSeed, rand.Uint64())
	t.Logf("go test -run %s -outbox.seed %d", t.Name(), seed)
	for i := range uint64(30) {
		random := rand.New(rand.NewPCG(seed, i))
		synctest.Test(t, func(t *testing.T) { walkShare(t, random) })
		if t.Failed() {
			t.Fatalf("walk %d", i)
		}
	}
}

// A shareWalk has the replays of a walk and the model of their line.
type shareWalk struct {
	*budgetSetup
	random  *rand.Rand
	replays []walkReplay
	line    []int // the replays that must wait for the share, in order
	woken   []int // since the last check
}

// A walkReplay is the replay of the outbox with the same index.
type walkReplay struct {
	left    int // pages
	state   walkState
	granted bool // a page is reserved for it
	ended   bool // the outbox accepts nothing any more
}

type walkState uint8

const (
	walkIdle   walkState = iota // it may ask
	walkWaits                   // in the line
	walkBlocks                  // its own outbox is full
	walkReady                   // it may send
)

func walkShare(t *testing.T, random *rand.Rand) {
	pages, n := 1+random.IntN(5), 2+random.IntN(25)
	w := &shareWalk{budgetSetup: newBudgetSetup(t, 4*pages*page, n), random: random, replays: make([]walkReplay, n)}
	defer w.close()
	for i := range w.replays {
		w.replays[i].left = random.IntN(20)
	}
	for range 300 {
		w.call(random.IntN(n))
	}
	for _, s := range w.sockets {
		s.Give(outboxtest.Unlimited)
		w.settle()
	}
	w.finish()
}

// call makes a random call for one replay and checks what it causes.
func (w *shareWalk) call(i int) {
	r := &w.replays[i]
	switch op := w.random.IntN(100); {
	case op < 45:
		w.sockets[i].Give(w.random.IntN(2 * page))
	case op < 47:
		w.sweep()
	case op == 47:
		w.end(i)
	case op == 48 && r.state == walkReady:
		r.state = walkIdle // it ends without sending: the page stays reserved until the sweep
	case op < 55 && r.state == walkWaits:
		w.ask(i) // again
	default:
		w.step(i)
	}
	w.settle()
}

// step lets a replay ask or send.
func (w *shareWalk) step(i int) {
	switch r := &w.replays[i]; {
	case r.ended || r.left == 0:
	case r.state == walkIdle:
		w.ask(i)
	case r.state == walkReady:
		r.left--
		r.state, r.granted = walkIdle, false
		w.outboxes[i].DeliverReplay([][]byte{make([]byte, w.random.IntN(2*page))})
	}
}

// ask asks for a replay, and compares the answer with the model.
func (w *shareWalk) ask(i int) {
	r := &w.replays[i]
	pending, _ := w.outboxes[i].Pending()
	had := r.granted
	r.granted = false
	blocked := pending >= page
	room := w.hasRoom()
	ready, open := w.outboxes[i].Ready(page, func() { w.woken = append(w.woken, i) })
	if want := !blocked && r.state != walkWaits && room; ready != want || !open {
		w.t.Errorf("replay %d in state %d: ready %v, open %v, want %v", i, r.state, ready, open, want)
	}
	switch {
	case blocked:
		w.line = slices.DeleteFunc(w.line, func(k int) bool { return k == i })
		r.state = walkBlocks
	case r.state == walkWaits: // and keeps its place
	case ready:
		r.state, r.granted = walkReady, had
	case had:
		r.state, w.line = walkWaits, slices.Insert(w.line, 0, i)
	default:
		r.state, w.line = walkWaits, append(w.line, i)
	}
}

func (w *shareWalk) hasRoom() bool {
	held := w.budget.ReplayBytes()
	for _, r := range w.replays {
		if r.granted {
			held += page
		}
	}
	return held < w.budget.ReplayBound()
}

// end ends an outbox in one of the possible ways.
func (w *shareWalk) end(i int) {
	switch o := w.outboxes[i]; w.random.IntN(4) {
	case 0:
		o.Close(nil)
	case 1:
		o.Evict(stats.EvictAge)
	case 2:
		o.Abort()
	case 3:
		o.Shut()
	}
	r := &w.replays[i]
	waited := r.state == walkWaits || r.state == walkBlocks
	w.line = slices.DeleteFunc(w.line, func(k int) bool { return k == i })
	r.ended, r.granted, r.state = true, false, walkIdle
	if own := slices.Contains(w.woken, i); own != waited {
		w.t.Errorf("replay %d, whose outbox ends: woken %v, want %v", i, own, waited)
	}
	w.woken = slices.DeleteFunc(w.woken, func(k int) bool { return k == i })
}

func (w *shareWalk) sweep() {
	for i := range w.replays {
		w.replays[i].granted = false
	}
	w.budget.Sweep(time.Now())
}

// settle waits until nothing changes any more, and compares the replays that
// were woken with the model.
func (w *shareWalk) settle() {
	w.t.Helper()
	synctest.Wait()
	w.check()
	var fromLine []int
	for _, i := range w.woken {
		if w.replays[i].state == walkBlocks {
			w.replays[i].state = walkIdle
		} else {
			fromLine = append(fromLine, i)
		}
	}
	w.woken = nil
	var want []int
	for len(w.line) > 0 && w.hasRoom() {
		i := w.line[0]
		w.line = w.line[1:]
		w.replays[i].state, w.replays[i].granted = walkIdle, true
		want = append(want, i)
	}
	if !slices.Equal(fromLine, want) {
		w.t.Errorf("woken in the line %v, want %v", fromLine, want)
	}
	for i, r := range w.replays {
		pending, _ := w.outboxes[i].Pending()
		if r.state == walkBlocks && pending < page {
			w.t.Errorf("replay %d is not woken although its own outbox has room", i)
		}
	}
}

// finish lets all replays go on, at most one sweep apart, until they are done.
func (w *shareWalk) finish() {
	for range 1000 {
		busy := false
		for i := range w.replays {
			w.step(i)
			w.settle()
			busy = busy || !w.replays[i].ended && w.replays[i].left > 0
		}
		if !busy {
			return
		}
		w.sweep()
		w.settle()
	}
	w.t.Errorf("replays never finish: %+v", w.replays)
}
