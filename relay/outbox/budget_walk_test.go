package outbox_test

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"

	"sidecast/relay/outbox"
	"sidecast/relay/stats"
)

// TestBudgetWalks makes random calls on several outboxes that share frames.
// After each call, everything that the budget counts must equal what a new
// count of the queues finds, and each eviction at the limit must choose the
// outbox that is first in order.
func TestBudgetWalks(t *testing.T) {
	seed := cmp.Or(*outboxSeed, rand.Uint64())
	t.Logf("go test -run %s -outbox.seed %d", t.Name(), seed)
	for i := range uint64(100) {
		random := rand.New(rand.NewPCG(seed, i))
		synctest.Test(t, func(t *testing.T) { walkBudget(t, random) })
		if t.Failed() {
			t.Fatalf("walk %d", i)
		}
	}
}

func walkBudget(t *testing.T, random *rand.Rand) {
	s := newBudgetSetup(t, 5000, 2+random.IntN(6))
	defer s.close()
	pool := make([][]byte, 8) // frames that several outboxes may get
	for range 120 {
		k := random.IntN(len(pool))
		if pool[k] == nil || random.IntN(3) == 0 {
			pool[k] = make([]byte, random.IntN(500))
		}
		i := random.IntN(len(s.outboxes))
		s.randomCall(random, i, pool)
		synctest.Wait()
		s.check()
		s.checkEvictions()
	}
}

// randomCall makes a random call on outbox i.
func (s *budgetSetup) randomCall(random *rand.Rand, i int, pool [][]byte) {
	o := s.outboxes[i]
	frames := make([][]byte, random.IntN(4))
	for k := range frames {
		frames[k] = pool[random.IntN(len(pool))]
	}
	switch op := random.IntN(50); {
	case op < 20:
		o.Deliver(frames, nil)
	case op < 30:
		o.DeliverReplay(frames)
	case op < 45:
		s.sockets[i].Give(random.IntN(600))
	case op == 45:
		o.Evict(stats.EvictAge)
	case op == 46:
		o.Close([]byte("bye"))
	case op == 47:
		o.Abort()
	}
}

// checkEvictions evicts as EnforceLimit does, and checks each choice.
func (s *budgetSetup) checkEvictions() {
	s.t.Helper()
	for o, evict := s.budget.Chosen(); o != nil; o, evict = s.budget.Chosen() {
		sizes := outbox.Sizes(s.outboxes)
		chosen := sizes[slices.Index(s.outboxes, o)]
		for i, size := range sizes {
			if size.Exclusive > chosen.Exclusive || size.Exclusive == chosen.Exclusive && size.Bytes > chosen.Bytes {
				s.t.Errorf("an outbox with %+v is evicted before outbox %d with %+v", chosen, i, size)
			}
		}
		before := s.budget.Used()
		evict()
		s.check()
		if used := s.budget.Used(); used > before-int64(chosen.Exclusive) {
			s.t.Errorf("%d bytes are used after the eviction of %+v, %d before", used, chosen, before)
		}
	}
}
