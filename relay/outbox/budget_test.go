package outbox_test

import (
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sidecast/relay/outbox"
	"sidecast/relay/outbox/outboxtest"
	"sidecast/relay/stats"
)

// A store is a budget with outboxes on it whose sockets take nothing.
type store struct {
	t       *testing.T
	stats   *stats.Stats
	budget  *outbox.Budget
	boxes   []*outbox.Outbox
	sockets []*outboxtest.FakeSocket
}

func newStore(t *testing.T, total, boxes int) *store {
	s := &store{t: t, stats: new(stats.Stats)}
	s.budget = outbox.NewBudget(1<<30, total, 10*time.Second, s.stats)
	for range boxes {
		o, socket := new(outbox.Outbox), outboxtest.NewFakeSocket(0)
		o.Init(s.budget, socket, []byte(slowFrame))
		s.boxes, s.sockets = append(s.boxes, o), append(s.sockets, socket)
	}
	return s
}

var zeros = make([]byte, 1<<20)

// fill sends box i a frame that charges n bytes.
func (s *store) fill(i, n int) { s.boxes[i].Send(zeros[:n-outbox.FrameCharge]) }

// evicted returns the boxes that were, and checks that they were counted.
func (s *store) evicted(why stats.EvictionReason) (list []int) {
	s.t.Helper()
	for i, o := range s.boxes {
		if got, evicted := o.Evicted(); evicted {
			list = append(list, i)
			if got != why {
				s.t.Errorf("box %d was evicted for %s, want %s", i, stats.EvictionReasons[got], stats.EvictionReasons[why])
			}
		}
	}
	if n := s.stats.Evictions[why].Load(); n != uint64(len(list)) {
		s.t.Errorf("%d evictions are counted, want %d", n, len(list))
	}
	return list
}

// close ends all boxes and checks that nothing stays charged.
func (s *store) close() {
	s.t.Helper()
	for i, o := range s.boxes {
		o.Shut()
		s.sockets[i].Poke()
	}
	s.budget.Wait()
	if used := s.budget.Used(); used != 0 || s.budget.Holders() != 0 {
		s.t.Errorf("after the end %d bytes are charged, by %d outboxes", used, s.budget.Holders())
	}
}

// Whoever crosses the line, the largest goes, and as many as it takes.
func TestBudgetTotal(t *testing.T) {
	for _, test := range []struct {
		why  string
		fill [][2]int // box, charge
		want []int
	}{
		{"just full", [][2]int{{0, 500}, {1, 300}, {2, 200}}, nil},
		{"one byte more by the smallest", [][2]int{{0, 500}, {1, 300}, {2, 201}}, []int{0}},
		{"crossed by the largest", [][2]int{{1, 300}, {2, 200}, {0, 501}}, []int{0}},
		{"larger by several frames", [][2]int{{0, 300}, {1, 200}, {1, 200}, {2, 301}}, []int{1}},
		{"two have to go", [][2]int{{0, 330}, {1, 320}, {2, 350}, {3, 1000}}, []int{3}},
		{"and then the next ones", [][2]int{{0, 330}, {1, 320}, {2, 350}, {3, 400}, {0, 600}, {1, 650}}, []int{0, 1, 3}},
		{"one that is larger than all may hold", [][2]int{{0, 1001}}, []int{0}},
	} {
		t.Run(test.why, func(t *testing.T) {
			s := newStore(t, 1000, 4)
			defer s.close()
			for _, f := range test.fill {
				s.fill(f[0], f[1])
			}
			if got := s.evicted(stats.EvictTotal); !slices.Equal(got, test.want) {
				t.Errorf("evicted %v, want %v", got, test.want)
			}
			if used := s.budget.Used(); used > 1000 {
				t.Errorf("%d bytes are charged, more than 1000", used)
			}
		})
	}
}

// An evicted outbox holds nothing that counts, so that it does not go twice in place of the next.
func TestBudgetForgetsTheEvicted(t *testing.T) {
	s := newStore(t, 1000, 3)
	defer s.close()
	s.fill(0, 900)
	s.fill(1, 200)
	s.fill(1, 700)
	s.fill(2, 200)
	if got := s.evicted(stats.EvictTotal); !slices.Equal(got, []int{0, 1}) {
		t.Errorf("evicted %v, want 0 and then 1", got)
	}
}

// A client whose oldest byte waits for longer than it may goes, and no other.
func TestBudgetSweep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t, 1<<30, 5)
		defer s.close()
		s.sockets[1].Give(65)
		s.fill(0, 200)                 // old
		s.fill(1, 200)                 // a part has left: still old
		s.fill(2, 200)                 // drained in time
		s.boxes[4].Hold([]byte("101")) // as old as any other
		<-time.After(time.Second)
		s.fill(3, 200) // younger
		s.fill(0, 200)
		s.sockets[2].Give(1000)
		<-time.After(9 * time.Second)
		s.budget.Sweep(time.Now())
		if got := s.evicted(stats.EvictAge); got != nil {
			t.Errorf("after exactly 10 s %v are evicted", got)
		}
		<-time.After(time.Nanosecond)
		s.budget.Sweep(time.Now())
		if got := s.evicted(stats.EvictAge); !slices.Equal(got, []int{0, 1, 4}) {
			t.Errorf("after 10 s %v are evicted, want 0, 1 and 4", got)
		}
	})
}

// Many that cross the line at once cost the largest its place, and nobody else.
func TestBudgetConcurrentTotal(t *testing.T) {
	const small = 30
	s := newStore(t, 1_000_000, small+1)
	defer s.close()
	s.fill(small, 700_000)
	var senders sync.WaitGroup
	for i := range small {
		senders.Go(func() {
			for range 200 {
				s.fill(i, 100)
			}
		})
	}
	senders.Wait()
	if got := s.evicted(stats.EvictTotal); !slices.Equal(got, []int{small}) {
		t.Errorf("evicted %v, want %d", got, small)
	}
	if used := s.budget.Used(); used != small*200*100 {
		t.Errorf("%d bytes are charged, want %d", used, small*200*100)
	}
}

// The one that crosses the line is the largest by that: another who looks at the same moment must not take the second
// largest for it.
func TestBudgetCrossingMakesTheLargest(t *testing.T) {
	for range 2000 {
		s := newStore(t, 1_000_000, 3)
		s.fill(0, 450_000)
		var senders sync.WaitGroup
		senders.Go(func() { s.fill(1, 600_000) })
		senders.Go(func() {
			for range 20 {
				s.fill(2, 100)
			}
		})
		senders.Wait()
		got := s.evicted(stats.EvictTotal)
		s.close()
		if !slices.Equal(got, []int{1}) {
			t.Fatalf("evicted %v, want 1", got)
		}
	}
}
