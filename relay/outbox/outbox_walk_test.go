package outbox_test

import (
	"cmp"
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"sidecast/relay/stats"
)

var outboxSeed = flag.Uint64("outbox.seed", 0, "seed of the random walks through an outbox; 0 for a new one each time")

// TestOutboxWalks makes random calls in random order. The client must receive
// whole frames and miss no frame between two others. After an eviction it must
// receive the frame that was begun and then the last frame.
func TestOutboxWalks(t *testing.T) {
	seed := cmp.Or(*outboxSeed, rand.Uint64())
	t.Logf("go test -run %s -outbox.seed %d", t.Name(), seed)
	for i := range uint64(300) {
		walkOutbox(t, rand.New(rand.NewPCG(seed, i)))
		if t.Failed() {
			t.Fatalf("walk %d", i)
		}
	}
}

func walkOutbox(t *testing.T, random *rand.Rand) {
	inBubble(t, 1500, func(s *outboxSetup) {
		offered := "" // the frames sent while the outbox was open
		n := 0
		next := func() string {
			n++
			return fmt.Sprintf("[%d%s]", n, strings.Repeat(".", random.IntN(300)))
		}
		offer := func(frames ...string) {
			if s.IsOpen() {
				offered += strings.Join(frames, "")
			}
		}
		for range 60 {
			switch op := random.IntN(40); {
			case op < 16:
				frame := next()
				offer(frame)
				s.send(frame)
			case op < 22:
				frames := make([]string, random.IntN(70))
				for i := range frames {
					frames[i] = fmt.Sprintf("[%d]", n+i)
				}
				n += len(frames)
				offer(frames...)
				s.sendAll(frames...)
			case op < 37:
				s.give(random.IntN(400))
			case op == 37:
				offer("<bye>")
				s.Close([]byte("<bye>"))
			case op == 38 && random.IntN(4) == 0:
				s.Evict(stats.EvictAge)
			case op == 39 && random.IntN(4) == 0:
				s.Abort()
			}
			s.check()
		}
		s.give(1 << 20)
		s.checkWalk(offered)
	})
}

// checkWalk compares the bytes that the client received with the frames that
// were sent.
func (s *outboxSetup) checkWalk(offered string) {
	got := string(s.socket.Got())
	if s.IsClosed() {
		for k := range len(slowFrame) + 1 { // a part of the last frame may have been sent
			if frames, found := strings.CutSuffix(got, slowFrame[:k]); found && strings.HasPrefix(offered, frames) {
				return
			}
		}
		s.t.Errorf("closed: received %q of %q", got, offered)
		return
	}
	if _, evicted := s.Evicted(); !evicted {
		if got != offered {
			s.t.Errorf("received %q, want %q", got, offered)
		}
		return
	}
	frames, found := strings.CutSuffix(got, slowFrame)
	if strings.HasSuffix(frames, "<bye>") { // then it must be the last frame
		if found || got != offered {
			s.t.Errorf("evicted after the close frame: received %q of %q", got, offered)
		}
		return
	}
	if !found || !strings.HasPrefix(offered, frames) || frames != "" && !strings.HasSuffix(frames, "]") {
		s.t.Errorf("evicted: received %q of %q", got, offered)
	}
}
