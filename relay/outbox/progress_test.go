package outbox_test

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"sidecast/relay/stats"
)

// A line describes how fast bytes leave the relay for a client each second.
type line struct {
	accepts      int  // bytes of the outbox that the kernel accepts
	acknowledges int  // bytes that the client's kernel acknowledges
	knows        bool // the socket knows how many bytes are not acknowledged
}

// TestWriteTimeoutCountsFromProgress checks that exactly those clients are
// evicted that make no progress for 10 s, however long their queue waits.
func TestWriteTimeoutCountsFromProgress(t *testing.T) {
	const minute = 60
	for _, test := range []struct {
		why     string
		line    line
		seconds int // for which the line works
		want    int // the second in which the client is evicted; 0 for never
	}{
		{"the kernel accepts a little each second, on any system", line{accepts: 2500}, minute, 0},
		{"the kernel accepts nothing, and the client acknowledges 20 kbit/s", line{acknowledges: 2500, knows: true}, minute, 0},
		{"the client acknowledges one byte each second", line{acknowledges: 1, knows: true}, minute, 0},
		{"both", line{accepts: 2500, acknowledges: 2500, knows: true}, minute, 0},
		{"nothing moves", line{}, minute, 11},
		{"nothing moves, and the socket would know", line{knows: true}, minute, 11},
		{"a line that stops after the kernel accepted bytes", line{accepts: 2500}, 20, 31},
		{"a line that stops after the client acknowledged bytes", line{acknowledges: 2500, knows: true}, 20, 31},
	} {
		t.Run(test.why, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newBudgetSetup(t, 1<<30, 1)
				defer s.close()
				s.fill(0, 1_000_000)
				unacknowledged := 256 << 10
				evicted := 0
				for second := range minute {
					time.Sleep(time.Second)
					if second < test.seconds {
						s.sockets[0].Give(test.line.accepts)
						unacknowledged += test.line.accepts - test.line.acknowledges
					}
					if test.line.knows {
						s.sockets[0].SetUnacknowledged(unacknowledged)
					}
					synctest.Wait()
					s.budget.Sweep(time.Now())
					if _, gone := s.outboxes[0].Evicted(); gone && evicted == 0 {
						evicted = second + 1
					}
				}
				if evicted != test.want {
					t.Errorf("the client is evicted in second %d, want %d (0: never)", evicted, test.want)
				}
			})
		})
	}
}

// TestWriteTimeoutShorterThanSweeps checks that a client is not evicted before
// two sweeps have looked at it, if they can see progress.
func TestWriteTimeoutShorterThanSweeps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newBudgetSetup(t, 1<<30, 2)
		defer s.close()
		for i := range s.outboxes {
			s.sockets[i].SetUnacknowledged(1000)
			s.fill(i, 1000)
		}
		time.Sleep(time.Minute)
		s.budget.Sweep(time.Now())
		if got := s.evicted(stats.EvictAge); got != nil {
			t.Errorf("after one sweep %v are evicted", got)
		}
		s.sockets[0].SetUnacknowledged(999)
		s.budget.Sweep(time.Now())
		if got := s.evicted(stats.EvictAge); !slices.Equal(got, []int{1}) {
			t.Errorf("after two sweeps %v are evicted, want 1", got)
		}
	})
}

// TestOutboxProgress checks how many bytes count as received and as sent or
// queued.
func TestOutboxProgress(t *testing.T) {
	inBubble(t, 1<<20, func(s *outboxSetup) {
		for _, step := range []struct {
			why                 string
			do                  func()
			acknowledged, total int64
		}{
			{"nothing", func() {}, 0, 0},
			{"queued", func() { s.send("one", "two") }, 0, 6},
			{"a part was sent", func() { s.give(4) }, 4, 6},
			{"the socket knows that the client's kernel has less", func() { s.socket.SetUnacknowledged(3) }, 1, 6},
			{"all was sent", func() { s.give(2) }, 3, 6},
			{"all was acknowledged", func() { s.socket.SetUnacknowledged(0) }, 6, 6},
			{"more is queued", func() { s.send("three") }, 6, 11},
			{"evicted: that is dropped", func() { s.evict() }, 6, 6},
		} {
			step.do()
			if acknowledged, total := s.Progress(); acknowledged != step.acknowledged || total != step.total {
				t.Errorf("%s: Progress = %d of %d bytes, want %d of %d", step.why, acknowledged, total, step.acknowledged, step.total)
			}
		}
	})
}
