package auth

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// TestTurnQueue checks which flights start and which are rejected. In a script,
// +a adds a flight of requester a, -a1 ends its first flight, and ~a2 removes
// its second from the queue. In the result, >a1 means that the flight starts,
// and !a1 that it is rejected. With one slot, there are 8 places, and one
// requester may use 4; with four slots, it is 32 and 8; with seven, 56 and 14.
func TestTurnQueue(t *testing.T) {
	for _, tt := range []struct {
		comment      string
		slots        int
		script, want string
	}{
		{"while there are slots, flights start at once", 4,
			"+a +b +c +d", ">a1 >b1 >c1 >d1"},
		{"a flight waits for a slot", 4,
			"+a +b +c +d +e -c1", ">a1 >b1 >c1 >d1 >e1"},
		{"a requester uses at most a quarter of the slots, even if others are free", 8,
			"+a +a +a -a2", ">a1 >a2 >a3"},
		{"the flights of one requester start in order", 1,
			"+a +a +a +a -a1 -a2 -a3", ">a1 >a2 >a3 >a4"},
		{"requesters take turns", 1,
			"+a +a +a +a +b +b +c -a1 -a2 -b1 -c1 -a3 -b2", ">a1 >a2 >b1 >c1 >a3 >b2 >a4"},
		{"a requester that returns has the last turn", 1,
			"+x +a +b +c -x1 -a1 +a -b1 -c1", ">x1 >a1 >b1 >c1 >a2"},
		{"a requester at its share of the slots is passed over", 4,
			"+a +a +b +c +d +e -b1", ">a1 >b1 >c1 >d1 >e1"},
		{"and does not lose its turn", 4,
			"+a +a +b +c +d +e +f -a1 -b1 -c1", ">a1 >b1 >c1 >d1 >a2 >e1 >f1"},
		{"a requester with too many waiting flights loses its own", 1,
			"+x +a +a +a +a +a +b", ">x1 !a5"},
		{"a place is free again after a flight has started", 1,
			"+x +a +a +a +a -x1 +a +a", ">x1 >a1 !a6"},
		{"in a full queue, the requester with the most waiting flights loses its newest", 1,
			"+x +a +a +b +b +b +c +d +e +f", ">x1 !b3"},
		{"two have most: each loses one, and then all have as many", 1,
			"+x +a +a +a +a +b +b +b +b +c +c +c +c", ">x1 !a4 !b4 !c3 !c4"},
		{"also if it is the requester that adds one", 1,
			"+x +a +a +b +c +d +e +f +g +a", ">x1 !a3"},
		{"if all have as many, the new flight is rejected", 1,
			"+x +a +b +c +d +e +f +g +h +i", ">x1 !i1"},
		{"a requester needs no place in a full queue if it can use a slot", 7,
			strings.Repeat("+a +b +c +d ", 15) + "+e", ">a1 >b1 >c1 >d1 >e1"},
		{"a removed flight frees its place", 1,
			"+x +a +a +a +a ~a2 +a -x1 -a1 -a3 -a4", ">x1 >a1 >a3 >a4 >a5"},
		{"a requester without waiting flights has no turn", 1,
			"+x +a +b ~a1 -x1 +a -b1", ">x1 >b1 >a2"},
		{"a flight that runs is not removed", 1,
			"+a +b ~a1 -a1", ">a1 >b1"},
		{"nor one that has ended", 1,
			"+a -a1 ~a1 +a", ">a1 >a2"},
	} {
		if got := runScript(newTurnQueue(tt.slots), tt.script); got != tt.want {
			t.Errorf("%s:\n%s\ngot  %s\nwant %s", tt.comment, tt.script, got, tt.want)
		}
	}
}

// runScript executes a script of [TestTurnQueue] and returns its result.
func runScript(q *turnQueue, script string) string {
	var results []string
	names := make(map[*flight]string)
	flights := make(map[string]*flight)
	added := make(map[string]int)
	for step := range strings.FieldsSeq(script) {
		name := step[1:]
		switch step[0] {
		case '+':
			added[name]++
			f := &flight{requester: requester{user: name}}
			name += fmt.Sprint(added[name])
			names[f], flights[name] = name, f
			q.push(f)
		case '-':
			q.release(flights[name].requester)
		case '~':
			q.remove(flights[name])
		}
		for f := q.next(); f != nil; f = q.next() {
			results = append(results, ">"+names[f])
		}
		if step[0] == '+' {
			if f := q.shed(requester{user: step[1:]}); f != nil {
				results = append(results, "!"+names[f])
			}
		}
	}
	return strings.Join(results, " ")
}

// TestShares checks the shares of one requester, which are a quarter, but
// enough for one client that asks about four channels at once.
func TestShares(t *testing.T) {
	for _, tt := range []struct{ slots, slotShare, places, placeShare int }{
		{1, 1, 8, 4}, // half of the places
		{2, 1, 16, 4},
		{7, 1, 56, 14}, // rounded down
		{8, 2, 64, 16},
		{32, 8, 256, 64}, // the default
		{1000, 250, 8000, 2000},
	} {
		q := newTurnQueue(tt.slots)
		if q.slotShare != tt.slotShare || q.places != tt.places || q.placeShare != tt.placeShare {
			t.Errorf("%d slots: a share of %d; %d places: a share of %d; want %v",
				tt.slots, q.slotShare, q.places, q.placeShare, tt)
		}
	}
}

// FuzzTurnQueue compares the queue with a simpler one. The first byte is the
// number of slots. Each other byte is a step, and the requester or flight that
// it concerns.
func FuzzTurnQueue(f *testing.F) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 50 {
		steps := make([]byte, 500)
		for i := range steps {
			steps[i] = byte(random.Uint32())
		}
		f.Add(steps)
	}
	f.Fuzz(func(t *testing.T, steps []byte) {
		if len(steps) == 0 || len(steps) > 2000 {
			return
		}
		q := newTurnQueue(1 + int(steps[0]%9))
		m := &simpleQueue{limits: *q, running: make(map[requester]int), turn: make(map[requester]int)}
		var running []*flight
		for _, step := range steps[1:] {
			which := int(step >> 2)
			switch {
			case step&3 == 0 && len(running) > 0:
				i := which % len(running)
				q.release(running[i].requester)
				m.running[running[i].requester]--
				running = slices.Delete(running, i, i+1)
			case step&3 == 1 && len(m.waiting) > 0 && which < 16:
				f := m.waiting[which*len(m.waiting)/16]
				if !q.remove(f) {
					t.Fatal("a flight that waits was not removed")
				}
				m.remove(f)
			default:
				f := &flight{requester: requester{connection: uint64(which * which / 300)}} // some ask more often
				q.push(f)
				m.push(f)
				running = append(running, startAll(t, q, m)...)
				if got, want := q.shed(f.requester), m.shed(f.requester); got != want {
					t.Fatalf("rejected %p, want %p", got, want)
				}
			}
			running = append(running, startAll(t, q, m)...)
			checkBounds(t, q)
		}
		for _, f := range running {
			q.release(f.requester)
		}
		if removed := q.removeAll(); len(removed) != len(m.waiting) || len(q.lines)+len(q.turns)+q.running+q.waiting != 0 {
			t.Fatalf("%d of %d flights removed at the end; left: %+v", len(removed), len(m.waiting), q)
		}
	})
}

// startAll starts all flights that can start, and checks that both queues
// select the same.
func startAll(t *testing.T, q *turnQueue, m *simpleQueue) (started []*flight) {
	for {
		got, want := q.next(), m.next()
		if got != want {
			t.Fatalf("started %p, want %p", got, want)
		}
		if got == nil {
			return started
		}
		started = append(started, got)
	}
}

func checkBounds(t *testing.T, q *turnQueue) {
	running, waiting := 0, 0
	for _, l := range q.lines {
		running, waiting = running+l.running, waiting+len(l.waiting)
		if l.running > q.slotShare || len(l.waiting) > q.placeShare || l.running+len(l.waiting) == 0 {
			t.Fatalf("one requester: %d running, %d waiting", l.running, len(l.waiting))
		}
	}
	if running != q.running || waiting != q.waiting || running > q.slots || waiting > q.places {
		t.Fatalf("%d running, counted as %d; %d waiting, counted as %d", running, q.running, waiting, q.waiting)
	}
}

// A simpleQueue is a turnQueue that searches one list of all waiting flights.
type simpleQueue struct {
	limits  turnQueue // only its limits are used
	waiting []*flight // oldest first
	running map[requester]int
	turn    map[requester]int // the requester that waits with the smallest number has the next turn
	clock   int
}

func (m *simpleQueue) push(f *flight) {
	if m.counts()[f.requester] == 0 {
		m.clock++
		m.turn[f.requester] = m.clock
	}
	m.waiting = append(m.waiting, f)
}

func (m *simpleQueue) next() (first *flight) {
	total := 0
	for _, n := range m.running {
		total += n
	}
	if total >= m.limits.slots {
		return nil
	}
	for _, f := range m.waiting {
		if m.running[f.requester] < m.limits.slotShare && (first == nil || m.turn[f.requester] < m.turn[first.requester]) {
			first = f
		}
	}
	if first != nil {
		m.remove(first)
		m.clock++
		m.turn[first.requester] = m.clock
		m.running[first.requester]++
	}
	return first
}

func (m *simpleQueue) shed(r requester) *flight {
	loser, counts := r, m.counts()
	if counts[r] <= m.limits.placeShare {
		if len(m.waiting) <= m.limits.places {
			return nil
		}
		for other, n := range counts {
			most := counts[loser]
			if n > most || n == most && loser != r && m.turn[other] < m.turn[loser] {
				loser = other
			}
		}
	}
	for _, f := range slices.Backward(m.waiting) {
		if f.requester == loser {
			m.remove(f)
			return f
		}
	}
	return nil
}

func (m *simpleQueue) remove(f *flight) {
	i := slices.Index(m.waiting, f)
	m.waiting = slices.Delete(m.waiting, i, i+1)
}

// counts returns how many flights of each requester wait.
func (m *simpleQueue) counts() map[requester]int {
	counts := make(map[requester]int)
	for _, f := range m.waiting {
		counts[f.requester]++
	}
	return counts
}
