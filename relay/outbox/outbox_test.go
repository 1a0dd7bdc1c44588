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

// A setup is an outbox with its budget, its counters and its socket.
type setup struct {
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
func inBubble(t *testing.T, each int, test func(*setup)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := &setup{t: t, stats: new(stats.Stats), socket: outboxtest.NewFakeSocket(0), Outbox: new(outbox.Outbox)}
		b.budget = outbox.NewBudget(each, 1<<40, 10*time.Second, b.stats)
		b.Init(b.budget, b.socket, []byte(slowFrame))
		test(b)
		synctest.Wait()
		b.check()
		b.Shut()
		b.socket.Poke()
		b.budget.Wait()
		if used := b.budget.Used(); used != 0 || b.budget.Holders() != 0 {
			t.Errorf("after Shut %d bytes are charged, by %d outboxes", used, b.budget.Holders())
		}
	})
}

// check compares the charges with the queue.
func (b *setup) check() {
	b.t.Helper()
	if fault := b.Audit(); fault != "" {
		b.t.Error(fault)
	}
}

// send sends frames one by one.
func (b *setup) send(frames ...string) (ok bool) {
	for _, frame := range frames {
		ok = b.Send([]byte(frame))
		b.check()
	}
	return ok
}

// sendAll sends frames in one call, as a shard does.
func (b *setup) sendAll(frames ...string) bool {
	list := make([][]byte, len(frames))
	for i, frame := range frames {
		list[i] = []byte(frame)
	}
	ok := b.Deliver(list)
	b.check()
	return ok
}

func (b *setup) give(n int) {
	b.socket.Give(n)
	synctest.Wait()
	b.check()
}

func (b *setup) want(got string, finished int) {
	b.t.Helper()
	synctest.Wait()
	if s := string(b.socket.Got()); s != got {
		b.t.Errorf("the client received %.200q, want %.200q", s, got)
	}
	if n := b.socket.Finished(); n != finished {
		b.t.Errorf("half-closed %d times, want %d", n, finished)
	}
}

// outboxPaths are sequences of calls with the bytes that the client must
// receive. After each call the charges must match the queue.
var outboxPaths = []struct {
	why      string
	run      func(*setup)
	got      string
	finished int
}{
	{"the kernel accepts everything", func(b *setup) { b.give(100); b.send("one", "two") }, "onetwo", 0},
	{"it accepts nothing, and later everything", func(b *setup) { b.send("one", "two"); b.give(100) }, "onetwo", 0},
	{"it accepts a part of a frame", func(b *setup) { b.give(2); b.send("one"); b.give(1) }, "one", 0},
	{"it accepts one byte at a time", func(b *setup) {
		b.send("one", "two", "three")
		for range 11 {
			b.give(1)
		}
	}, "onetwothree", 0},
	{"a batch is cut inside a frame", func(b *setup) { b.give(4); b.sendAll("one", "two", "three"); b.give(7) }, "onetwothree", 0},
	{"a batch is cut between frames", func(b *setup) { b.give(3); b.sendAll("one", "two"); b.give(3) }, "onetwo", 0},
	{"an empty batch", func(b *setup) { b.sendAll(); b.send("one"); b.sendAll(); b.give(3) }, "one", 0},
	{"a frame that is sent while another waits is queued after it", func(b *setup) {
		b.give(1)
		b.send("one")
		b.socket.Allow(2)
		b.send("two")
		b.give(3)
	}, "onetwo", 0},
	{"an empty frame", func(b *setup) { b.send("", "one"); b.give(3) }, "one", 0},

	{"the socket fails at once", func(b *setup) { b.socket.Break(); b.refuse("one") }, "", 0},
	{"it fails with a queue", func(b *setup) { b.send("one", "two"); b.give(4); b.socket.Break(); b.wait(); b.refuse("three") }, "onet", 0},

	{"close with nothing queued", func(b *setup) { b.give(100); b.send("one"); b.Close([]byte("bye")); b.refuse("two") }, "onebye", 1},
	{"close with a queue", func(b *setup) { b.send("one"); b.Close([]byte("bye")); b.check(); b.refuse("two"); b.give(100) }, "onebye", 1},
	{"close, and the queue never drains", func(b *setup) { b.send("one"); b.Close([]byte("bye")); b.give(2) }, "on", 0},
	{"close without a last frame", func(b *setup) { b.send("one"); b.Close(nil); b.check(); b.give(100) }, "one", 1},
	{"close without a last frame and with nothing queued", func(b *setup) { b.Close(nil) }, "", 1},
	{"close twice", func(b *setup) {
		b.send("one")
		b.Close([]byte("bye"))
		b.Close([]byte("again"))
		b.give(100)
		b.Close(nil)
	}, "onebye", 1},
	{"close, then the socket fails", func(b *setup) { b.send("one"); b.Close([]byte("bye")); b.socket.Break(); b.wait() }, "", 0},
	{"close, then abort", func(b *setup) { b.send("one"); b.Close([]byte("bye")); b.Abort(); b.check(); b.give(100) }, "", 0},
	{"close, then shut", func(b *setup) { b.send("one"); b.Close([]byte("bye")); b.Shut(); b.check(); b.give(100) }, "", 0},
	{"close, then evicted", func(b *setup) { b.give(1); b.send("one"); b.Close([]byte("bye")); b.evict(); b.give(100) }, "one<slow>", 1},

	{"close, then evicted after a part of the close frame", func(b *setup) { b.give(4); b.send("one"); b.Close([]byte("bye")); b.evict(); b.give(100) }, "onebye", 1},
	{"close without a close frame, then evicted", func(b *setup) { b.give(1); b.send("one"); b.Close(nil); b.evict(); b.give(100) }, "one<slow>", 1},

	{"evicted before any byte was sent", func(b *setup) { b.send("one", "two"); b.evict(); b.refuse("three"); b.give(100) }, "<slow>", 1},
	{"evicted inside a frame, which is completed", func(b *setup) { b.give(4); b.send("one", "two", "three"); b.evict(); b.give(100) }, "onetwo<slow>", 1},
	{"evicted between frames", func(b *setup) { b.give(3); b.send("one", "two"); b.evict(); b.give(100) }, "one<slow>", 1},
	{"evicted, and the client never reads again", func(b *setup) { b.give(1); b.send("one", "two"); b.evict(); b.give(1) }, "on", 0},
	{"evicted twice", func(b *setup) { b.send("one"); b.evict(); b.Evict(stats.EvictBytes); b.give(100) }, "<slow>", 1},
	{"evicted with an empty queue", func(b *setup) { b.give(3); b.send("one"); b.evict(); b.give(100) }, "one<slow>", 1},
	{"evicted, then closed", func(b *setup) { b.send("one"); b.evict(); b.Close([]byte("bye")); b.give(100) }, "<slow>", 1},
	{"evicted, then the socket fails", func(b *setup) { b.send("one"); b.evict(); b.socket.Break(); b.wait() }, "", 0},
	{"shut, then evicted", func(b *setup) { b.send("one"); b.Shut(); b.Evict(stats.EvictAge); b.check(); b.give(100) }, "", 0},

	{"aborted with a queue", func(b *setup) {
		b.give(1)
		b.send("one")
		b.Abort()
		b.check()
		b.refuse("two")
		b.give(100)
	}, "o", 0},
	{"shut with a queue", func(b *setup) {
		b.give(1)
		b.send("one")
		b.Shut()
		b.check()
		b.refuse("two")
		b.give(100)
	}, "o", 0},

	{"held, and the kernel accepts everything", func(b *setup) { b.hold("101"); b.give(100); b.send("one"); b.release() }, "101one", 0},
	{"held, and it accepts a part", func(b *setup) { b.hold("101"); b.give(2); b.send("one"); b.release(); b.give(100) }, "101one", 0},
	{"held, and it accepts nothing", func(b *setup) { b.hold("101"); b.release(); b.send("one"); b.give(100) }, "101one", 0},
	{"held, and nothing is sent before release", func(b *setup) { b.give(100); b.hold("101"); b.send("one"); b.want("", 0) }, "", 0},
	{"closed while held", func(b *setup) { b.give(100); b.hold("101"); b.Close([]byte("bye")); b.want("", 0); b.release() }, "101bye", 1},
	{"aborted while held", func(b *setup) { b.give(100); b.hold("101"); b.Abort(); b.release() }, "", 0},
	{"shut while held", func(b *setup) { b.give(100); b.hold("101"); b.Shut(); b.release() }, "", 0},
	{"evicted while held: the handshake response is sent", func(b *setup) { b.give(100); b.hold("101"); b.send("one"); b.evict(); b.release() }, "101<slow>", 1},
	{"evicted after release, before any byte was sent", func(b *setup) { b.hold("101"); b.send("one"); b.release(); b.evict(); b.give(100) }, "101<slow>", 1},
	{"evicted after the handshake response was sent", func(b *setup) {
		b.hold("101")
		b.send("one")
		b.release()
		b.give(3)
		b.evict()
		b.give(100)
	}, "101<slow>", 1},
}

func (b *setup) hold(first string) { b.Hold([]byte(first)); b.check() }
func (b *setup) release()          { b.Release(); b.check() }
func (b *setup) wait()             { synctest.Wait(); b.check() }

func (b *setup) evict() {
	b.Evict(stats.EvictAge)
	b.check()
	if why, evicted := b.Evicted(); why != stats.EvictAge || !evicted || b.stats.Evictions[stats.EvictAge].Load() != 1 {
		b.t.Errorf("evicted: %v for %d, counted %d times", evicted, why, b.stats.Evictions[stats.EvictAge].Load())
	}
}

// refuse sends a frame that the outbox must reject.
func (b *setup) refuse(frame string) {
	b.t.Helper()
	if b.send(frame) {
		b.t.Errorf("the outbox accepts %q, want it to be rejected", frame)
	}
}

func TestOutboxPaths(t *testing.T) {
	for _, test := range outboxPaths {
		t.Run(test.why, func(t *testing.T) {
			inBubble(t, 1<<20, func(b *setup) {
				test.run(b)
				b.want(test.got, test.finished)
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
				inBubble(t, each, func(b *setup) {
					b.give(test.space)
					var frames []string
					for _, n := range test.frames {
						frames = append(frames, strings.Repeat("x", n))
					}
					var ok bool
					if together {
						ok = b.sendAll(frames...)
					} else {
						ok = b.send(frames...)
					}
					_, evicted := b.Evicted()
					if evicted != test.evicts || ok == test.evicts || (b.stats.Evictions[stats.EvictBytes].Load() == 1) != test.evicts {
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
		run  func(*setup)
		want []time.Duration
	}{
		{"evicted", func(b *setup) { b.send("one"); b.Evict(stats.EvictBytes) }, []time.Duration{time.Second}},
		{"failed", func(b *setup) { b.socket.Break(); b.send("one") }, []time.Duration{0}},
		{"aborted", func(b *setup) { b.Abort(); b.Abort() }, []time.Duration{0}},
		{"evicted, then aborted", func(b *setup) { b.Evict(stats.EvictAge); b.Abort() }, []time.Duration{time.Second, 0}},
		{"shut, then aborted", func(b *setup) { b.Shut(); b.Abort() }, nil},
	} {
		t.Run(test.why, func(t *testing.T) {
			inBubble(t, 1<<20, func(b *setup) {
				test.run(b)
				synctest.Wait()
				if got := b.socket.Expired(); !slices.Equal(got, test.want) {
					t.Errorf("Expire is called with %v, want %v", got, test.want)
				}
			})
		})
	}
}

// TestOutboxPending checks that Pending returns the time at which the oldest
// frame was queued, even if a part of it was sent.
func TestOutboxPending(t *testing.T) {
	inBubble(t, 1<<20, func(b *setup) {
		began := time.Now()
		for _, step := range []struct {
			why   string
			do    func()
			bytes int
			since time.Time
		}{
			{"nothing", func() {}, 0, time.Time{}},
			{"one", func() { b.send("one") }, 3 + outbox.FrameCharge, began},
			{"two, the second later", func() { <-time.After(3 * time.Second); b.send("two") }, 6 + 2*outbox.FrameCharge, began},
			{"a part of the first was sent", func() { b.give(2) }, 4 + 2*outbox.FrameCharge, began},
			{"and a part of the second", func() { b.give(2) }, 2 + outbox.FrameCharge, began.Add(3 * time.Second)},
			{"all", func() { b.give(2) }, 0, time.Time{}},
		} {
			step.do()
			if bytes, since := b.Pending(); bytes != step.bytes || !since.Equal(step.since) {
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
		during func(*setup) // while the first write waits
		writes []written
		got    string
	}{
		{"everything at once", func(*setup) {}, []written{{-1, nil}}, "onetwo"},
		{"another frame is sent during the write", func(b *setup) { b.send("three") }, []written{{-1, nil}, {-1, nil}}, "onetwothree"},
		{"a partial write continues where it stopped", func(*setup) {}, []written{{1, nil}, {1, nil}, {-1, nil}}, "onetwo"},
		{"a write fails", func(*setup) {}, []written{{0, outboxtest.ErrBroken}}, ""},
		{"a write fails in the middle", func(b *setup) { b.send("three") }, []written{{4, outboxtest.ErrBroken}}, "onet"},
		{"closed during the write", func(b *setup) { b.Close([]byte("bye")) }, []written{{-1, nil}, {-1, nil}}, "onetwobye"},
		{"evicted during the write: the frames that are being written stay", func(b *setup) { b.send("three"); b.Evict(stats.EvictAge) },
			[]written{{-1, nil}, {-1, nil}}, "onetwo<slow>"},
		{"evicted during a partial write", func(b *setup) { b.send("three"); b.Evict(stats.EvictAge) },
			[]written{{4, nil}, {-1, nil}}, "onetwo<slow>"},
		{"evicted during a write that fails", func(b *setup) { b.Evict(stats.EvictAge) }, []written{{2, outboxtest.ErrBroken}}, "on"},
		{"aborted during the write", func(b *setup) { b.Abort() }, []written{{-1, nil}}, "onetwo"},
		{"shut during the write", func(b *setup) { b.Shut() }, []written{{0, outboxtest.ErrBroken}}, ""},
	} {
		t.Run(test.why, func(t *testing.T) {
			inBubble(t, 1<<20, func(b *setup) {
				socket := newWaitingSocket()
				b.Init(b.budget, socket, []byte(slowFrame))
				b.hold("one")
				b.send("two")
				b.release()
				for i, w := range test.writes {
					<-socket.writing
					if i == 0 {
						test.during(b)
					}
					b.check()
					socket.result <- w
				}
				synctest.Wait()
				b.check()
				if got := string(socket.Got()); got != test.got {
					t.Errorf("the client received %q, want %q", got, test.got)
				}
			})
		})
	}
}

// TestOutboxNextIsBounded checks that Next returns at least one frame and stops
// adding frames after nextBytes.
func TestOutboxNextIsBounded(t *testing.T) {
	inBubble(t, 1<<30, func(b *setup) {
		b.send(strings.Repeat("a", outbox.NextBytes*3), strings.Repeat("b", outbox.NextBytes-1), "c", "d", "e")
		b.StartDraining()
		for i, want := range []int{1, 2, 2} {
			frames := b.Next(nil)
			if len(frames) != want {
				t.Fatalf("call %d of Next returns %d frames, want %d", i, len(frames), want)
			}
			n := 0
			for _, frame := range frames {
				n += len(frame)
			}
			b.Written(n, nil)
			b.check()
		}
		if frames := b.Next(nil); frames != nil {
			t.Errorf("Next of an empty outbox = %q", frames)
		}
	})
}
