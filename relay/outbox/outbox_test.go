package outbox_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sidecast/relay/outbox"
	"sidecast/relay/outbox/outboxtest"
	"sidecast/relay/stats"
)

// An outboxSetup is an outbox with its budget, its counters and its socket.
type outboxSetup struct {
	*outbox.Outbox
	t      *testing.T
	budget *outbox.Budget
	stats  *stats.Stats
	socket *outboxtest.FakeSocket
}

const slowFrame = "<slow>"

// inBubble runs test on an outbox with a bound of each bytes, whose socket
// accepts nothing. Afterwards it checks that nothing is charged and no Drain
// runs.
func inBubble(t *testing.T, each int, test func(*outboxSetup)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := &outboxSetup{t: t, stats: new(stats.Stats), socket: outboxtest.NewFakeSocket(0), Outbox: new(outbox.Outbox)}
		s.budget = outbox.NewBudget(each, 1<<40, 10*time.Second, s.stats)
		s.Init(s.budget, s.socket, []byte(slowFrame))
		test(s)
		synctest.Wait()
		s.check()
		s.Shut()
		s.socket.Poke()
		s.budget.Wait()
		if used := s.budget.Used(); used != 0 || s.budget.Holders() != 0 {
			t.Errorf("after Shut %d bytes are charged, by %d outboxes", used, s.budget.Holders())
		}
	})
}

// check compares the charges with the queue.
func (s *outboxSetup) check() {
	s.t.Helper()
	if fault := s.budget.Audit(s.Outbox); fault != "" {
		s.t.Error(fault)
	}
}

// send sends frames one by one.
func (s *outboxSetup) send(frames ...string) (ok bool) {
	for _, frame := range frames {
		ok = s.Send([]byte(frame))
		s.check()
	}
	return ok
}

// sendAll sends frames in one call, as a shard does.
func (s *outboxSetup) sendAll(frames ...string) bool {
	list := make([][]byte, len(frames))
	for i, frame := range frames {
		list[i] = []byte(frame)
	}
	ok := s.Deliver(list, nil)
	s.check()
	return ok
}

func (s *outboxSetup) give(n int) {
	s.socket.Give(n)
	synctest.Wait()
	s.check()
}

func (s *outboxSetup) want(got string, finished int) {
	s.t.Helper()
	synctest.Wait()
	if received := string(s.socket.Got()); received != got {
		s.t.Errorf("the client received %.200q, want %.200q", received, got)
	}
	if n := s.socket.Finished(); n != finished {
		s.t.Errorf("half-closed %d times, want %d", n, finished)
	}
}

// outboxPaths are sequences of calls with the bytes that the client must
// receive. After each call the charges must match the queue.
var outboxPaths = []struct {
	why      string
	run      func(*outboxSetup)
	got      string
	finished int
}{
	{"the kernel accepts everything", func(s *outboxSetup) { s.give(100); s.send("one", "two") }, "onetwo", 0},
	{"it accepts nothing, and later everything", func(s *outboxSetup) { s.send("one", "two"); s.give(100) }, "onetwo", 0},
	{"it accepts a part of a frame", func(s *outboxSetup) { s.give(2); s.send("one"); s.give(1) }, "one", 0},
	{"it accepts one byte at a time", func(s *outboxSetup) {
		s.send("one", "two", "three")
		for range 11 {
			s.give(1)
		}
	}, "onetwothree", 0},
	{"a batch is cut inside a frame", func(s *outboxSetup) { s.give(4); s.sendAll("one", "two", "three"); s.give(7) }, "onetwothree", 0},
	{"a batch is cut between frames", func(s *outboxSetup) { s.give(3); s.sendAll("one", "two"); s.give(3) }, "onetwo", 0},
	{"an empty batch", func(s *outboxSetup) { s.sendAll(); s.send("one"); s.sendAll(); s.give(3) }, "one", 0},
	{"a frame that is sent while another waits is queued after it", func(s *outboxSetup) {
		s.give(1)
		s.send("one")
		s.socket.Allow(2)
		s.send("two")
		s.give(3)
	}, "onetwo", 0},
	{"an empty frame", func(s *outboxSetup) { s.send("", "one"); s.give(3) }, "one", 0},

	{"the socket fails at once", func(s *outboxSetup) { s.socket.Break(); s.refuse("one") }, "", 0},
	{"it fails with a queue", func(s *outboxSetup) { s.send("one", "two"); s.give(4); s.socket.Break(); s.wait(); s.refuse("three") }, "onet", 0},

	{"close with nothing queued", func(s *outboxSetup) { s.give(100); s.send("one"); s.Close([]byte("bye")); s.refuse("two") }, "onebye", 1},
	{"close with a queue", func(s *outboxSetup) { s.send("one"); s.Close([]byte("bye")); s.check(); s.refuse("two"); s.give(100) }, "onebye", 1},
	{"close, and the queue never drains", func(s *outboxSetup) { s.send("one"); s.Close([]byte("bye")); s.give(2) }, "on", 0},
	{"close without a last frame", func(s *outboxSetup) { s.send("one"); s.Close(nil); s.check(); s.give(100) }, "one", 1},
	{"close without a last frame and with nothing queued", func(s *outboxSetup) { s.Close(nil) }, "", 1},
	{"close twice", func(s *outboxSetup) {
		s.send("one")
		s.Close([]byte("bye"))
		s.Close([]byte("again"))
		s.give(100)
		s.Close(nil)
	}, "onebye", 1},
	{"close, then the socket fails", func(s *outboxSetup) { s.send("one"); s.Close([]byte("bye")); s.socket.Break(); s.wait() }, "", 0},
	{"close, then abort", func(s *outboxSetup) { s.send("one"); s.Close([]byte("bye")); s.Abort(); s.check(); s.give(100) }, "", 0},
	{"close, then shut", func(s *outboxSetup) { s.send("one"); s.Close([]byte("bye")); s.Shut(); s.check(); s.give(100) }, "", 0},
	{"close, then evicted", func(s *outboxSetup) { s.give(1); s.send("one"); s.Close([]byte("bye")); s.evict(); s.give(100) }, "one<slow>", 1},

	{"close, then evicted after a part of the close frame", func(s *outboxSetup) { s.give(4); s.send("one"); s.Close([]byte("bye")); s.evict(); s.give(100) }, "onebye", 1},
	{"close without a close frame, then evicted", func(s *outboxSetup) { s.give(1); s.send("one"); s.Close(nil); s.evict(); s.give(100) }, "one<slow>", 1},

	{"evicted before any byte was sent", func(s *outboxSetup) { s.send("one", "two"); s.evict(); s.refuse("three"); s.give(100) }, "<slow>", 1},
	{"evicted inside a frame, which is completed", func(s *outboxSetup) { s.give(4); s.send("one", "two", "three"); s.evict(); s.give(100) }, "onetwo<slow>", 1},
	{"evicted between frames", func(s *outboxSetup) { s.give(3); s.send("one", "two"); s.evict(); s.give(100) }, "one<slow>", 1},
	{"evicted, and the client never reads again", func(s *outboxSetup) { s.give(1); s.send("one", "two"); s.evict(); s.give(1) }, "on", 0},
	{"evicted twice", func(s *outboxSetup) { s.send("one"); s.evict(); s.Evict(stats.EvictBytes); s.give(100) }, "<slow>", 1},
	{"evicted with an empty queue", func(s *outboxSetup) { s.give(3); s.send("one"); s.evict(); s.give(100) }, "one<slow>", 1},
	{"evicted, then closed", func(s *outboxSetup) { s.send("one"); s.evict(); s.Close([]byte("bye")); s.give(100) }, "<slow>", 1},
	{"evicted, then the socket fails", func(s *outboxSetup) { s.send("one"); s.evict(); s.socket.Break(); s.wait() }, "", 0},
	{"shut, then evicted", func(s *outboxSetup) { s.send("one"); s.Shut(); s.Evict(stats.EvictAge); s.check(); s.give(100) }, "", 0},

	{"aborted with a queue", func(s *outboxSetup) {
		s.give(1)
		s.send("one")
		s.Abort()
		s.check()
		s.refuse("two")
		s.give(100)
	}, "o", 0},
	{"shut with a queue", func(s *outboxSetup) {
		s.give(1)
		s.send("one")
		s.Shut()
		s.check()
		s.refuse("two")
		s.give(100)
	}, "o", 0},

	{"held, and the kernel accepts everything", func(s *outboxSetup) { s.hold("101"); s.give(100); s.send("one"); s.release() }, "101one", 0},
	{"held, and it accepts a part", func(s *outboxSetup) { s.hold("101"); s.give(2); s.send("one"); s.release(); s.give(100) }, "101one", 0},
	{"held, and it accepts nothing", func(s *outboxSetup) { s.hold("101"); s.release(); s.send("one"); s.give(100) }, "101one", 0},
	{"held, and nothing is sent before release", func(s *outboxSetup) { s.give(100); s.hold("101"); s.send("one"); s.want("", 0) }, "", 0},
	{"closed while held", func(s *outboxSetup) { s.give(100); s.hold("101"); s.Close([]byte("bye")); s.want("", 0); s.release() }, "101bye", 1},
	{"aborted while held", func(s *outboxSetup) { s.give(100); s.hold("101"); s.Abort(); s.release() }, "", 0},
	{"shut while held", func(s *outboxSetup) { s.give(100); s.hold("101"); s.Shut(); s.release() }, "", 0},
	{"evicted while held: the handshake response is sent", func(s *outboxSetup) { s.give(100); s.hold("101"); s.send("one"); s.evict(); s.release() }, "101<slow>", 1},
	{"evicted after release, before any byte was sent", func(s *outboxSetup) { s.hold("101"); s.send("one"); s.release(); s.evict(); s.give(100) }, "101<slow>", 1},
	{"evicted after the handshake response was sent", func(s *outboxSetup) {
		s.hold("101")
		s.send("one")
		s.release()
		s.give(3)
		s.evict()
		s.give(100)
	}, "101<slow>", 1},
}

func (s *outboxSetup) hold(first string) { s.Hold([]byte(first)); s.check() }
func (s *outboxSetup) release()          { s.Release(); s.check() }
func (s *outboxSetup) wait()             { synctest.Wait(); s.check() }

func (s *outboxSetup) evict() {
	s.Evict(stats.EvictAge)
	s.check()
	if why, evicted := s.Evicted(); why != stats.EvictAge || !evicted || s.stats.Evictions[stats.EvictAge].Load() != 1 {
		s.t.Errorf("evicted: %v for %d, counted %d times", evicted, why, s.stats.Evictions[stats.EvictAge].Load())
	}
}

// refuse sends a frame that the outbox must reject.
func (s *outboxSetup) refuse(frame string) {
	s.t.Helper()
	if s.send(frame) {
		s.t.Errorf("the outbox accepts %q, want it to be rejected", frame)
	}
}

func TestOutboxPaths(t *testing.T) {
	for _, test := range outboxPaths {
		t.Run(test.why, func(t *testing.T) {
			inBubble(t, 1<<20, func(s *outboxSetup) {
				test.run(s)
				s.want(test.got, test.finished)
			})
		})
	}
}

// TestOutboxBound checks that the bound is exact: a queue of the bound fits,
// one byte more does not, and one frame always fits into an empty outbox.
func TestOutboxBound(t *testing.T) {
	const each = 1000
	for _, test := range []struct {
		why    string
		space  int   // bytes that the kernel accepts
		frames []int // sizes
		evicts bool
	}{
		{"one frame of the bound", 0, []int{each - outbox.FrameCharge}, false},
		{"one frame above the bound", 0, []int{each - outbox.FrameCharge + 1}, false},
		{"one frame far above the bound", 0, []int{100 * each}, false},
		{"and a second frame", 0, []int{100 * each, 1}, true},
		{"two frames that reach the bound", 0, []int{each - 2*outbox.FrameCharge - 10, 10}, false},
		{"two frames that exceed it by a byte", 0, []int{each - 2*outbox.FrameCharge - 10, 11}, true},
		{"bytes that the kernel accepted do not count", 5, []int{each - 2*outbox.FrameCharge - 10, 15}, false},
		{"and one byte more", 5, []int{each - 2*outbox.FrameCharge - 10, 16}, true},
		{"small frames count for more than their bytes", 0, slices.Repeat([]int{1}, each/(outbox.FrameCharge+1)), false},
		{"and one more small frame", 0, slices.Repeat([]int{1}, each/(outbox.FrameCharge+1)+1), true},
	} {
		for _, together := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, together %v", test.why, together), func(t *testing.T) {
				inBubble(t, each, func(s *outboxSetup) {
					s.give(test.space)
					var frames []string
					for _, n := range test.frames {
						frames = append(frames, strings.Repeat("x", n))
					}
					var ok bool
					if together {
						ok = s.sendAll(frames...)
					} else {
						ok = s.send(frames...)
					}
					_, evicted := s.Evicted()
					if evicted != test.evicts || ok == test.evicts || (s.stats.Evictions[stats.EvictBytes].Load() == 1) != test.evicts {
						t.Errorf("accepted: %v, evicted: %v, want evicted %v", ok, evicted, test.evicts)
					}
				})
			})
		}
	}
}

// TestOutboxExpires checks when reading from the connection ends: a second
// after an eviction, and at once after a failure.
func TestOutboxExpires(t *testing.T) {
	for _, test := range []struct {
		why  string
		run  func(*outboxSetup)
		want []time.Duration
	}{
		{"evicted", func(s *outboxSetup) { s.send("one"); s.Evict(stats.EvictBytes) }, []time.Duration{time.Second}},
		{"failed", func(s *outboxSetup) { s.socket.Break(); s.send("one") }, []time.Duration{0}},
		{"aborted", func(s *outboxSetup) { s.Abort(); s.Abort() }, []time.Duration{0}},
		{"evicted, then aborted", func(s *outboxSetup) { s.Evict(stats.EvictAge); s.Abort() }, []time.Duration{time.Second, 0}},
		{"shut, then aborted", func(s *outboxSetup) { s.Shut(); s.Abort() }, nil},
	} {
		t.Run(test.why, func(t *testing.T) {
			inBubble(t, 1<<20, func(s *outboxSetup) {
				test.run(s)
				synctest.Wait()
				if got := s.socket.Expired(); !slices.Equal(got, test.want) {
					t.Errorf("Expire is called with %v, want %v", got, test.want)
				}
			})
		})
	}
}

// TestOutboxPending checks that Pending returns the time at which the kernel
// last accepted a byte, or the first frame was queued.
func TestOutboxPending(t *testing.T) {
	inBubble(t, 1<<20, func(s *outboxSetup) {
		began := time.Now()
		for _, step := range []struct {
			why   string
			do    func()
			bytes int
			since time.Time
		}{
			{"nothing", func() {}, 0, time.Time{}},
			{"one", func() { s.send("one") }, 3 + outbox.FrameCharge, began},
			{"two, the second later", func() { <-time.After(3 * time.Second); s.send("two") }, 6 + 2*outbox.FrameCharge, began},
			{"a part of the first was sent", func() { s.give(2) }, 4 + 2*outbox.FrameCharge, began.Add(3 * time.Second)},
			{"and later a part of the second", func() { <-time.After(time.Second); s.give(2) }, 2 + outbox.FrameCharge, began.Add(4 * time.Second)},
			{"all", func() { s.give(2) }, 0, time.Time{}},
		} {
			step.do()
			if bytes, since := s.Pending(); bytes != step.bytes || !since.Equal(step.since) {
				t.Errorf("%s: Pending = %d bytes since %v, want %d since %v", step.why, bytes, since, step.bytes, step.since)
			}
		}
	})
}

// TestOutboxWaitingSocket covers sockets that write by waiting. Each case
// defines the results of the writes and what happens during the first one.
func TestOutboxWaitingSocket(t *testing.T) {
	for _, test := range []struct {
		why    string
		during func(*outboxSetup) // while the first write waits
		writes []written
		got    string
	}{
		{"everything at once", func(*outboxSetup) {}, []written{{-1, nil}}, "onetwo"},
		{"another frame is sent during the write", func(s *outboxSetup) { s.send("three") }, []written{{-1, nil}, {-1, nil}}, "onetwothree"},
		{"a partial write continues where it stopped", func(*outboxSetup) {}, []written{{1, nil}, {1, nil}, {-1, nil}}, "onetwo"},
		{"a write fails", func(*outboxSetup) {}, []written{{0, outboxtest.ErrBroken}}, ""},
		{"a write fails in the middle", func(s *outboxSetup) { s.send("three") }, []written{{4, outboxtest.ErrBroken}}, "onet"},
		{"closed during the write", func(s *outboxSetup) { s.Close([]byte("bye")) }, []written{{-1, nil}, {-1, nil}}, "onetwobye"},
		{"evicted during the write: the frames that are being written stay", func(s *outboxSetup) { s.send("three"); s.Evict(stats.EvictAge) },
			[]written{{-1, nil}, {-1, nil}}, "onetwo<slow>"},
		{"evicted during a partial write", func(s *outboxSetup) { s.send("three"); s.Evict(stats.EvictAge) },
			[]written{{4, nil}, {-1, nil}}, "onetwo<slow>"},
		{"evicted during a write that fails", func(s *outboxSetup) { s.Evict(stats.EvictAge) }, []written{{2, outboxtest.ErrBroken}}, "on"},
		{"aborted during the write", func(s *outboxSetup) { s.Abort() }, []written{{-1, nil}}, "onetwo"},
		{"shut during the write", func(s *outboxSetup) { s.Shut() }, []written{{0, outboxtest.ErrBroken}}, ""},
	} {
		t.Run(test.why, func(t *testing.T) {
			inBubble(t, 1<<20, func(s *outboxSetup) {
				socket := newWaitingSocket()
				s.Init(s.budget, socket, []byte(slowFrame))
				s.hold("one")
				s.send("two")
				s.release()
				for i, w := range test.writes {
					<-socket.writing
					if i == 0 {
						test.during(s)
					}
					s.check()
					socket.result <- w
				}
				synctest.Wait()
				s.check()
				if got := string(socket.Got()); got != test.got {
					t.Errorf("the client received %q, want %q", got, test.got)
				}
			})
		})
	}
}

// TestOutboxNextIsBounded checks that Next returns at most nextBytes, and cuts
// frames for that.
func TestOutboxNextIsBounded(t *testing.T) {
	inBubble(t, 1<<30, func(s *outboxSetup) {
		const n = outbox.NextBytes
		frames := []string{strings.Repeat("a", 2*n+n/2), strings.Repeat("b", n/2-1), "c", "", "d", "e"} // the empty one counts as written with the one before it
		s.send(frames...)
		s.StartDraining()
		var got []byte
		for i, want := range [][]int{{n}, {n}, {n / 2, n/2 - 1, 1}, {1, 1}} {
			var sizes []int
			for _, part := range s.Next(nil) {
				sizes = append(sizes, len(part))
				got = append(got, part...)
			}
			if !slices.Equal(sizes, want) {
				t.Fatalf("call %d of Next returns parts of %v bytes, want %v", i, sizes, want)
			}
			written := 0
			for _, size := range sizes {
				written += size
			}
			s.Written(written, nil)
			s.check()
		}
		if parts := s.Next(nil); parts != nil {
			t.Errorf("Next of an empty outbox = %q", parts)
		}
		if string(got) != strings.Join(frames, "") {
			t.Error("Next has returned other bytes than were sent")
		}
	})
}
