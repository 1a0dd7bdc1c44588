package outbox_test

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"sidecast/relay/outbox"
	"sidecast/relay/stats"
)

// A shareSetup has outboxes whose replays ask whether they may send. below is
// the limit of an outbox's own queue.
type shareSetup struct {
	*budgetSetup
	woken []int // the outboxes whose wake was called, in order
}

const (
	page  = outbox.ReplayPage
	below = 4 * page
)

// inShare runs test with outboxes whose replays may hold pages pages together.
func inShare(t *testing.T, pages, outboxes int, test func(*shareSetup)) {
	synctest.Test(t, func(t *testing.T) {
		s := &shareSetup{budgetSetup: newBudgetSetup(t, 4*pages*page, outboxes)}
		defer s.close()
		test(s)
		synctest.Wait()
		s.check()
	})
}

// ask asks for outbox i, and checks the answer.
func (s *shareSetup) ask(i int, wantReady bool) {
	s.t.Helper()
	ready, open := s.outboxes[i].Ready(below, func() { s.woken = append(s.woken, i) })
	if ready != wantReady || !open {
		s.t.Errorf("outbox %d: ready %v, open %v, want %v", i, ready, open, wantReady)
	}
	s.check()
}

// send sends a page of a replay to outbox i.
func (s *shareSetup) send(i int) {
	s.outboxes[i].DeliverReplay([][]byte{make([]byte, page-outbox.FrameCharge)})
	s.check()
}

// read makes the client of outbox i read n pages.
func (s *shareSetup) read(i, n int) {
	s.sockets[i].Give(n * (page - outbox.FrameCharge))
	synctest.Wait()
	s.check()
}

// want checks which outboxes were woken since the last call.
func (s *shareSetup) want(woken ...int) {
	s.t.Helper()
	if !slices.Equal(s.woken, woken) {
		s.t.Errorf("woken %v, want %v", s.woken, woken)
	}
	s.woken = nil
}

// fill sends n pages to outbox i, which may hold them.
func (s *shareSetup) fill(i, n int) {
	for range n {
		s.ask(i, true)
		s.send(i)
	}
}

// sharePaths are sequences of calls. The replays may hold two pages together.
var sharePaths = []struct {
	why string
	run func(*shareSetup)
}{
	{"a replay may send until the share is full", func(s *shareSetup) {
		s.fill(0, 2)
		s.ask(1, false)
		s.want()
	}},
	{"what the kernel accepts does not count", func(s *shareSetup) {
		s.sockets[0].Give(10 * page)
		s.fill(0, 5)
		s.want()
	}},
	{"messages that are not of replays do not count", func(s *shareSetup) {
		s.deliver(0, make([]byte, 5*page))
		s.ask(1, true)
	}},
	{"one replay is woken for each page that is read, in the order of asking", func(s *shareSetup) {
		s.fill(0, 2)
		for i := 1; i <= 4; i++ {
			s.ask(i, false)
		}
		s.read(0, 1)
		s.want(1)
		s.read(0, 1)
		s.want(2)
	}},
	{"a replay that was woken makes room only when it has sent", func(s *shareSetup) {
		s.fill(0, 2)
		s.ask(1, false)
		s.ask(2, false)
		s.read(0, 1)
		s.want(1)
		s.ask(1, true)
		s.want()
		s.sockets[1].Give(page)
		s.send(1)
		s.want(2)
	}},
	{"a replay that did not wait does not overtake one that was woken", func(s *shareSetup) {
		s.fill(0, 2)
		s.ask(1, false)
		s.read(0, 1)
		s.want(1)
		s.ask(2, false)
		s.ask(1, true)
		s.send(1)
		s.want()
		s.read(1, 1)
		s.want(2)
	}},
	{"a replay that was woken and finds the share full again is the next", func(s *shareSetup) {
		s.fill(0, 2)
		s.ask(1, false)
		s.ask(2, false)
		s.read(0, 1)
		s.want(1)
		s.send(3) // without asking
		s.ask(1, false)
		s.read(3, 1)
		s.want(1)
	}},
	{"asking again replaces wake and keeps the place", func(s *shareSetup) {
		s.fill(0, 2)
		s.ask(1, false)
		s.ask(2, false)
		s.outboxes[1].Ready(below, func() { s.woken = append(s.woken, 100) })
		s.read(0, 2)
		s.want(100, 2)
	}},
	{"the outbox's own queue is full", func(s *shareSetup) {
		s.deliver(0, make([]byte, below))
		s.ask(0, false)
		s.sockets[0].Give(outbox.FrameCharge)
		synctest.Wait()
		s.want()
		s.sockets[0].Give(1)
		synctest.Wait()
		s.want(0)
		s.ask(0, true)
	}},
	{"its own queue is full and then the share", func(s *shareSetup) {
		s.deliver(0, make([]byte, below))
		s.ask(0, false)
		s.fill(1, 2)
		s.sockets[0].Give(below)
		synctest.Wait()
		s.want(0)
		s.ask(0, false)
		s.read(1, 1)
		s.want(0)
	}},
	{"its own queue becomes full while it waits for the share", func(s *shareSetup) {
		s.fill(0, 2)
		s.ask(1, false)
		s.ask(2, false)
		s.deliver(1, make([]byte, below))
		s.read(0, 1)
		s.want(1)
		s.ask(1, false)
		s.want(2) // 1 waits for its own queue now
		s.sockets[1].Give(below)
		synctest.Wait()
		s.want(1)
	}},
	{"its own queue is full, and a page is sent nevertheless", func(s *shareSetup) {
		s.deliver(0, make([]byte, below))
		s.ask(0, false)
		s.send(0)
		s.sockets[0].Give(below + page)
		synctest.Wait()
		s.want(0)
	}},
	{"a shared frame counts once", func(s *shareSetup) {
		frame := [][]byte{make([]byte, page)}
		for i := range 3 {
			s.ask(i, true)
			s.outboxes[i].DeliverReplay(frame)
		}
		s.check()
		if n := s.budget.ReplayBytes(); n != page+3*outbox.FrameCharge {
			s.t.Errorf("the replays hold %d bytes", n)
		}
	}},
	{"a frame of a replay and of the fan-out", func(s *shareSetup) {
		frame := [][]byte{make([]byte, page)}
		s.outboxes[0].DeliverReplay(frame)
		s.outboxes[1].Deliver(frame, nil)
		if n := s.budget.ReplayBytes(); n != page+outbox.FrameCharge {
			s.t.Errorf("the replay holds %d bytes", n)
		}
		s.read(0, 2)
		if n, used := s.budget.ReplayBytes(), s.budget.Used(); n != 0 || used != page+outbox.FrameCharge {
			s.t.Errorf("the replay holds %d bytes after it was read, all outboxes %d", n, used)
		}
	}},
	{"a replay that was woken and does not ask again is forgotten at the next sweep", func(s *shareSetup) {
		s.fill(0, 2)
		s.ask(1, false)
		s.ask(2, false)
		s.read(0, 1)
		s.want(1)
		s.budget.Sweep(time.Now())
		s.want(2)
	}},
	{"a replay that was forgotten may ask again", func(s *shareSetup) {
		s.fill(0, 2)
		s.ask(1, false)
		s.read(0, 1)
		s.want(1)
		s.budget.Sweep(time.Now())
		s.ask(1, true)
		s.send(1)
		s.ask(2, false)
		s.read(1, 1)
		s.want(2)
	}},
}

func TestReplayShare(t *testing.T) {
	for _, test := range sharePaths {
		t.Run(test.why, func(t *testing.T) { inShare(t, 2, 5, test.run) })
	}
}

// TestReplayShareEnds checks that an outbox that ends wakes its own replay once
// if it waits, and gives its place or its page to the next.
func TestReplayShareEnds(t *testing.T) {
	for _, end := range []struct {
		why string
		do  func(*shareSetup, int)
	}{
		{"closed", func(s *shareSetup, i int) { s.outboxes[i].Close(nil) }},
		{"evicted", func(s *shareSetup, i int) { s.outboxes[i].Evict(stats.EvictAge) }},
		{"aborted", func(s *shareSetup, i int) { s.outboxes[i].Abort() }},
		{"shut", func(s *shareSetup, i int) { s.outboxes[i].Shut() }},
	} {
		for _, test := range []struct {
			why string
			run func(*shareSetup)
		}{
			{"while it waits", func(s *shareSetup) {
				s.fill(0, 2)
				s.ask(1, false)
				s.ask(2, false)
				end.do(s, 1)
				s.want(1)
				s.read(0, 1)
				s.want(2)
			}},
			{"after it was woken", func(s *shareSetup) {
				s.fill(0, 2)
				s.ask(1, false)
				s.ask(2, false)
				s.read(0, 1)
				s.want(1)
				end.do(s, 1)
				s.want(2)
			}},
			{"while its own queue is full", func(s *shareSetup) {
				s.deliver(0, make([]byte, below))
				s.ask(0, false)
				end.do(s, 0)
				s.want(0)
			}},
			{"and asks again", func(s *shareSetup) {
				end.do(s, 0)
				if ready, open := s.outboxes[0].Ready(below, nil); ready || open {
					s.t.Errorf("ready %v, open %v, want neither", ready, open)
				}
			}},
		} {
			t.Run(fmt.Sprint(end.why, " ", test.why), func(t *testing.T) { inShare(t, 2, 5, test.run) })
		}
	}
	t.Run("an outbox that held the share is evicted", func(t *testing.T) {
		inShare(t, 2, 5, func(s *shareSetup) {
			s.fill(0, 2)
			s.ask(1, false)
			s.ask(2, false)
			s.ask(3, false)
			s.outboxes[0].Evict(stats.EvictAge)
			s.want(1, 2)
		})
	})
}
