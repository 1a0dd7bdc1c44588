package outbox_test

import (
	"math/bits"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"sidecast/relay/outbox"
	"sidecast/relay/stats"
)

// TestBudgetSharedFrames checks what a frame counts for that several outboxes
// hold, and which outbox is evicted at the limit.
func TestBudgetSharedFrames(t *testing.T) {
	const (
		charge = outbox.FrameCharge
		total  = 10_000
	)
	type frames = map[byte]int // sizes, by name
	for _, test := range []struct {
		why   string
		sizes frames
		send  []string // for each outbox, the names of its frames; the outboxes get them in turn
		used  int
		want  []int // evicted
	}{
		{"one frame in every outbox counts once", frames{'a': 9000}, []string{"a", "a", "a"}, 9000 + 3*charge, nil},
		{"different frames count each", frames{'a': 3000, 'b': 3000, 'c': 3000}, []string{"a", "b", "c"}, 9000 + 3*charge, nil},
		{"some are shared", frames{'a': 2000, 'b': 1000, 'c': 500}, []string{"ab", "ac", "a"}, 3500 + 5*charge, nil},
		{"the same frame twice in one outbox", frames{'a': 4000}, []string{"aa"}, 4000 + 2*charge, nil},
		{"an empty frame", frames{'a': 0, 'b': 100}, []string{"ba", "ba"}, 100 + 4*charge, nil},
		{"the outbox with the most bytes of its own is evicted, not the one with the most bytes",
			frames{'a': 6000, 'b': 2500, 'c': 3000}, []string{"a", "ab", "c"}, 8500 + 3*charge, []int{2}},
		{"of those that have only shared frames, the one with the most bytes, and then the one that has its frame alone",
			frames{'a': 4000, 'b': 3000, 'c': 2900}, []string{"ab", "bc", "ac", "ac"}, 4000 + 2900 + 4*charge, []int{0, 1}},
	} {
		t.Run(test.why, func(t *testing.T) {
			s := newBudgetSetup(t, total, len(test.send))
			defer s.close()
			memory := make(map[byte][]byte)
			for name, size := range test.sizes {
				memory[name] = make([]byte, size)
			}
			for k := range 3 {
				for i, names := range test.send {
					if k < len(names) {
						s.outboxes[i].Deliver([][]byte{memory[names[k]]}, nil)
						s.check()
					}
				}
			}
			var got []int
			for o, evict := s.budget.Chosen(); o != nil; o, evict = s.budget.Chosen() {
				got = append(got, slices.Index(s.outboxes, o))
				evict()
				s.check()
			}
			if used := s.budget.Used(); used != int64(test.used) || !slices.Equal(got, test.want) {
				t.Errorf("%d bytes are used and %v are evicted, want %d and %v", used, got, test.used, test.want)
			}
		})
	}
}

// TestLargeMessageEvictsNobody checks that a message that all clients are still
// reading evicts none of them: the relay holds it once.
func TestLargeMessageEvictsNobody(t *testing.T) {
	s := newBudgetSetup(t, 256<<20, 600)
	defer s.close()
	message := make([]byte, 1_000_000)
	for i := range s.outboxes {
		s.deliver(i, message)
	}
	if got := s.evicted(stats.EvictTotal); got != nil {
		t.Errorf("%d clients are evicted", len(got))
	}
	if used, want := s.budget.Used(), int64(1_000_000+600*outbox.FrameCharge); used != want {
		t.Errorf("%d bytes are used, want %d", used, want)
	}
}

// TestOutboxBoundCountsSharedFrames checks that the bound of one outbox does
// not depend on what other outboxes hold.
func TestOutboxBoundCountsSharedFrames(t *testing.T) {
	s := newBudgetSetup(t, 1<<30, 2)
	defer s.close()
	s.budget = outbox.NewBudget(1000, 1<<30, time.Minute, s.stats)
	for i, o := range s.outboxes {
		o.Init(s.budget, s.sockets[i], nil)
	}
	frame, other := make([]byte, 600), make([]byte, 600)
	s.deliver(0, frame)
	s.deliver(1, frame)
	s.deliver(0, other)
	if got := s.evicted(stats.EvictBytes); !slices.Equal(got, []int{0}) {
		t.Errorf("evicted %v, want 0", got)
	}
	s.check()
}

// TestManyEvictionsCompareLittle checks that the work of evictions at the limit
// grows with the number of clients only as n log n: not every eviction looks at
// every outbox.
func TestManyEvictionsCompareLittle(t *testing.T) {
	const n = 20_000
	s := newStuckClients(t, n, 4096, 0)
	defer s.close()
	before := s.budget.Compared()
	s.fanOut(make([]byte, 1024))
	compared := s.budget.Compared() - before
	if evicted := s.stats.Evictions[stats.EvictTotal].Load(); evicted < 200 || evicted > 1000 {
		t.Errorf("%d clients are evicted", evicted)
	}
	if most := uint64(2 * n * bits.Len(n)); compared > most {
		t.Errorf("outboxes are compared %d times, want at most %d", compared, most)
	}
}

// newStuckClients returns n outboxes that each hold a frame of size bytes. The
// total has room for spare bytes more.
func newStuckClients(t testing.TB, n, size, spare int) *budgetSetup {
	s := newBudgetSetup(t, n*(size+outbox.FrameCharge)+spare, n)
	for i := range s.outboxes {
		s.deliver(i, make([]byte, size))
	}
	return s
}

// fanOut delivers one message to all outboxes.
func (s *budgetSetup) fanOut(message []byte) {
	frames := [][]byte{message}
	for _, o := range s.outboxes {
		o.Deliver(frames, nil)
		s.budget.EnforceLimit()
	}
}

// TestDrainedOutboxIsNotEvicted checks that an outbox that drains after it was
// chosen is not evicted in vain.
func TestDrainedOutboxIsNotEvicted(t *testing.T) {
	for _, test := range []struct {
		why  string
		then func(s *budgetSetup) // after outbox 0 was chosen
		want []int                // evicted in the end
	}{
		{"nothing changes", func(*budgetSetup) {}, []int{0}},
		{"it drains", func(s *budgetSetup) { s.sockets[0].Give(1000) }, nil},
		{"it drains, and another one grows", func(s *budgetSetup) { s.sockets[0].Give(1000); s.fillOnly(1, 600) }, []int{1}},
		{"another one grows", func(s *budgetSetup) { s.fillOnly(1, 600) }, []int{1}},
		{"it drains and queues again", func(s *budgetSetup) {
			s.sockets[0].Give(700 - outbox.FrameCharge)
			synctest.Wait()
			s.fillOnly(0, 100)
			s.fillOnly(1, 600)
		}, []int{1}},
	} {
		t.Run(test.why, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newBudgetSetup(t, 1000, 2)
				defer s.close()
				s.fillOnly(0, 700)
				s.fillOnly(1, 500)
				o, evict := s.budget.Chosen()
				if o != s.outboxes[0] {
					t.Fatal("the largest outbox is not chosen")
				}
				test.then(s)
				synctest.Wait()
				evict()
				s.check()
				s.budget.EnforceLimit()
				if got := s.evicted(stats.EvictTotal); !slices.Equal(got, test.want) {
					t.Errorf("evicted %v, want %v", got, test.want)
				}
			})
		})
	}
}

// fillOnly is fill without enforcing the limit.
func (s *budgetSetup) fillOnly(i, n int) {
	s.outboxes[i].Deliver([][]byte{make([]byte, n-outbox.FrameCharge)}, nil)
}

// BenchmarkStuck measures the fan-out of one message to clients that do not
// read: far below the limit, and at the limit, where some are evicted.
func BenchmarkStuck(b *testing.B) {
	const n, size = 50_000, 4096
	var below, at time.Duration
	for b.Loop() {
		for _, spare := range []int{1 << 30, 0} {
			s := newStuckClients(b, n, size, spare)
			began := time.Now()
			s.fanOut(make([]byte, 1024))
			if took := time.Since(began); spare == 0 {
				at += took
			} else {
				below += took
			}
			s.close()
		}
	}
	b.ReportMetric(float64(below.Microseconds())/1000/float64(b.N), "ms-below")
	b.ReportMetric(float64(at.Microseconds())/1000/float64(b.N), "ms-at-limit")
	b.ReportMetric(float64(at)/float64(below), "x-at-limit")
	b.ReportMetric(0, "ns/op")
}
