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

// A budgetSetup is a budget with outboxes whose sockets accept nothing.
type budgetSetup struct {
	t        testing.TB
	stats    *stats.Stats
	budget   *outbox.Budget
	outboxes []*outbox.Outbox
	sockets  []*outboxtest.FakeSocket
}

func newBudgetSetup(t testing.TB, total, outboxes int) *budgetSetup {
	s := &budgetSetup{t: t, stats: new(stats.Stats)}
	s.budget = outbox.NewBudget(1<<30, total, 10*time.Second, s.stats)
	for range outboxes {
		o, socket := new(outbox.Outbox), outboxtest.NewFakeSocket(0)
		o.Init(s.budget, socket, []byte(slowFrame))
		s.outboxes, s.sockets = append(s.outboxes, o), append(s.sockets, socket)
	}
	return s
}

// fill sends a frame that counts for n bytes to outbox i. No other outbox gets
// this frame.
func (s *budgetSetup) fill(i, n int) { s.outboxes[i].Send(make([]byte, n-outbox.FrameCharge)) }

// deliver delivers frames to outbox i, as a shard does.
func (s *budgetSetup) deliver(i int, frames ...[]byte) {
	s.outboxes[i].Deliver(frames, nil)
	s.budget.EnforceLimit()
}

// check compares the charges with all queues.
func (s *budgetSetup) check() {
	s.t.Helper()
	if fault := s.budget.Audit(s.outboxes...); fault != "" {
		s.t.Error(fault)
	}
}

// evicted returns the indexes of the evicted outboxes, and checks the reason
// and the counter.
func (s *budgetSetup) evicted(why stats.EvictionReason) (list []int) {
	s.t.Helper()
	for i, o := range s.outboxes {
		if got, evicted := o.Evicted(); evicted {
			list = append(list, i)
			if got != why {
				s.t.Errorf("outbox %d was evicted for %s, want %s", i, stats.EvictionReasons[got], stats.EvictionReasons[why])
			}
		}
	}
	if n := s.stats.Evictions[why].Load(); n != uint64(len(list)) {
		s.t.Errorf("%d evictions are counted, want %d", n, len(list))
	}
	return list
}

// close shuts all outboxes and checks that nothing stays charged.
func (s *budgetSetup) close() {
	s.t.Helper()
	for i, o := range s.outboxes {
		o.Shut()
		s.sockets[i].Poke()
	}
	s.budget.Wait()
	if used := s.budget.Used(); used != 0 || s.budget.Holders() != 0 {
		s.t.Errorf("after Shut %d bytes are charged, by %d outboxes", used, s.budget.Holders())
	}
}

// TestBudgetTotal checks that the largest outboxes are evicted, whichever
// outbox exceeds the limit, and only as many as necessary.
func TestBudgetTotal(t *testing.T) {
	for _, test := range []struct {
		why  string
		fill [][2]int // outbox, charge
		want []int
	}{
		{"exactly full", [][2]int{{0, 500}, {1, 300}, {2, 200}}, nil},
		{"one byte more by the smallest", [][2]int{{0, 500}, {1, 300}, {2, 201}}, []int{0}},
		{"exceeded by the largest", [][2]int{{1, 300}, {2, 200}, {0, 501}}, []int{0}},
		{"larger by several frames", [][2]int{{0, 300}, {1, 200}, {1, 200}, {2, 301}}, []int{1}},
		{"one larger than all others", [][2]int{{0, 330}, {1, 320}, {2, 350}, {3, 1000}}, []int{3}},
		{"several must be evicted", [][2]int{{0, 330}, {1, 320}, {2, 350}, {3, 400}, {0, 600}, {1, 650}}, []int{0, 1, 3}},
		{"one that is larger than the limit", [][2]int{{0, 1001}}, []int{0}},
	} {
		t.Run(test.why, func(t *testing.T) {
			s := newBudgetSetup(t, 1000, 4)
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

// TestBudgetDischargesEvicted checks that an evicted outbox counts for nothing,
// so that the next eviction chooses another one.
func TestBudgetDischargesEvicted(t *testing.T) {
	s := newBudgetSetup(t, 1000, 3)
	defer s.close()
	s.fill(0, 900)
	s.fill(1, 200)
	s.fill(1, 700)
	s.fill(2, 200)
	if got := s.evicted(stats.EvictTotal); !slices.Equal(got, []int{0, 1}) {
		t.Errorf("evicted %v, want 0 and then 1", got)
	}
}

// TestBudgetSweep checks that exactly the clients are evicted whose oldest
// frame has waited too long.
func TestBudgetSweep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newBudgetSetup(t, 1<<30, 5)
		defer s.close()
		s.sockets[1].Give(65)
		s.fill(0, 200)                    // old
		s.fill(1, 200)                    // a part was sent: still old
		s.fill(2, 200)                    // drained in time
		s.outboxes[4].Hold([]byte("101")) // as old as any other
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

// TestBudgetConcurrentTotal checks that only the largest outbox is evicted if
// many exceed the limit at once.
func TestBudgetConcurrentTotal(t *testing.T) {
	const small = 30
	s := newBudgetSetup(t, 1_000_000, small+1)
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

// TestBudgetSumIncludesLargest checks that an outbox that exceeds the limit is
// in the list before the sum shows it: another goroutine that enforces the
// limit at that moment must not evict the second largest.
func TestBudgetSumIncludesLargest(t *testing.T) {
	for range 2000 {
		s := newBudgetSetup(t, 1_000_000, 3)
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
