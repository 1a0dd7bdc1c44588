package outbox_test

import (
	"math"
	"strings"
	"testing"
	"testing/synctest"

	"sidecast/relay/outbox"
	"sidecast/relay/stats"
)

// An outbox knows the first message that it did not send, however its connection
// ends.
func TestLost(t *testing.T) {
	const frame = 100
	for name, test := range map[string]struct {
		room int // bytes that the kernel accepts
		end  func(s *outboxSetup)
		want outbox.Losses
	}{
		"everything is sent":                       {5 * frame, func(s *outboxSetup) { s.Shut() }, outbox.Losses{}},
		"the second one waits and the client goes": {frame, func(s *outboxSetup) { s.Shut() }, outbox.Losses{Live: live(2), Durable: durable(3)}},
		"the connection fails":                     {frame, func(s *outboxSetup) { s.Abort() }, outbox.Losses{Live: live(2), Durable: durable(3)}},
		"of one only a part is sent":               {frame + 1, func(s *outboxSetup) { s.Shut() }, outbox.Losses{Live: live(2), Durable: durable(3)}},
		"it is evicted":                            {frame, func(s *outboxSetup) { s.Evict(stats.EvictAge) }, outbox.Losses{Live: live(2), Durable: durable(3)}},
		"it is evicted, and a part was sent":       {frame + 1, func(s *outboxSetup) { s.Evict(stats.EvictAge) }, outbox.Losses{Live: live(4), Durable: durable(3)}},
		"that part is not completed either":        {frame + 1, func(s *outboxSetup) { s.Evict(stats.EvictAge); s.Shut() }, outbox.Losses{Live: live(2), Durable: durable(3)}},
		"one comes after the end":                  {5 * frame, func(s *outboxSetup) { s.Close(nil); s.deliverTagged(live(5)) }, outbox.Losses{Live: live(5)}},
		"one does not fit": {frame, func(s *outboxSetup) {
			for range 10_000 {
				s.deliverTagged(0)
			}
		}, outbox.Losses{Live: live(2), Durable: durable(3)}},
		"a replay is lost": {0, func(s *outboxSetup) { s.DeliverReplay([][]byte{{1}, {2}, {3}}); s.Shut() }, outbox.Losses{Live: live(1), Durable: durable(3), Replayed: 3}},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, 10_000, func(s *outboxSetup) {
				s.give(test.room)
				s.deliverTagged(live(1), live(2), durable(3), live(4))
				test.end(s)
				synctest.Wait()
				got := s.Lost()
				got.Unconfirmed = 0
				if got != test.want {
					t.Errorf("lost %+v, want %+v", got, test.want)
				}
			})
		})
	}
}

func live(seq uint64) outbox.Tag    { return outbox.MakeTag(seq, false) }
func durable(seq uint64) outbox.Tag { return outbox.MakeTag(seq, true) }

// deliverTagged delivers messages of 100 bytes with these tags.
func (s *outboxSetup) deliverTagged(tags ...outbox.Tag) {
	var frames [][]byte
	for range tags {
		frames = append(frames, []byte(strings.Repeat("x", 100)))
	}
	s.Deliver(frames, tags)
	s.check()
}

// A tag is resolved to the number that is closest, before or after.
func TestTag(t *testing.T) {
	for _, near := range []uint64{0, 1, 5, 1 << 31, 1<<31 + 7, 1 << 40, math.MaxUint32} {
		for _, distance := range []int64{-1 << 29, -3, -1, 0, 1, 2, 1 << 29} {
			seq := near + uint64(distance)
			for _, d := range []bool{false, true} {
				if tag := outbox.MakeTag(seq, d); tag != 0 && (tag.Seq(near) != seq || tag.IsDurable() != d) {
					t.Errorf("%d near %d: %d, durable: %v", seq, near, tag.Seq(near), tag.IsDurable())
				}
			}
		}
	}
	if outbox.Tag(0).Seq(7) != 0 {
		t.Error("no message has a number")
	}
}
