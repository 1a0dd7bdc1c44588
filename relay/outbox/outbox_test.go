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

// A box is an outbox in a bubble, with everything around it.
type box struct {
	*outbox.Outbox
	t      *testing.T
	budget *outbox.Budget
	stats  *stats.Stats
	socket *outboxtest.FakeSocket
}

const slowFrame = "<slow>"

// inBubble runs a test on an outbox that holds each bytes, over a socket without room, and checks afterwards that nothing
// is charged and nobody drains any more.
func inBubble(t *testing.T, each int, test func(*box)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := &box{t: t, stats: new(stats.Stats), socket: outboxtest.NewFakeSocket(0), Outbox: new(outbox.Outbox)}
		b.budget = outbox.NewBudget(each, 1<<40, 10*time.Second, b.stats)
		b.Init(b.budget, b.socket, []byte(slowFrame))
		test(b)
		synctest.Wait()
		b.check()
		b.Shut()
		b.socket.Poke()
		b.budget.Wait()
		if used := b.budget.Used(); used != 0 || b.budget.Holders() != 0 {
			t.Errorf("after the end %d bytes are charged, by %d outboxes", used, b.budget.Holders())
		}
	})
}

// check compares the charge with the queue.
func (b *box) check() {
	b.t.Helper()
	if fault := b.Audit(); fault != "" {
		b.t.Error(fault)
	}
}

// send sends frames one by one.
func (b *box) send(frames ...string) (ok bool) {
	for _, frame := range frames {
		ok = b.Send([]byte(frame))
		b.check()
	}
	return ok
}

// sendAll sends frames in one call, as a batch is.
func (b *box) sendAll(frames ...string) bool {
	list := make([][]byte, len(frames))
	for i, frame := range frames {
		list[i] = []byte(frame)
	}
	ok := b.Deliver(list)
	b.check()
	return ok
}

func (b *box) give(n int) {
	b.socket.Give(n)
	synctest.Wait()
	b.check()
}

func (b *box) want(got string, finished int) {
	b.t.Helper()
	synctest.Wait()
	if s := string(b.socket.Got()); s != got {
		b.t.Errorf("the client got %.200q, want %.200q", s, got)
	}
	if n := b.socket.Finished(); n != finished {
		b.t.Errorf("half-closed %d times, want %d", n, finished)
	}
}

// In every path the client gets whole frames in order, and what is charged is what is queued.
var outboxPaths = []struct {
	why      string
	run      func(*box)
	got      string
	finished int
}{
	{"the kernel takes everything", func(b *box) { b.give(100); b.send("one", "two") }, "onetwo", 0},
	{"it takes nothing, and later everything", func(b *box) { b.send("one", "two"); b.give(100) }, "onetwo", 0},
	{"it takes a part of a frame", func(b *box) { b.give(2); b.send("one"); b.give(1) }, "one", 0},
	{"it takes one byte at a time", func(b *box) {
		b.send("one", "two", "three")
		for range 11 {
			b.give(1)
		}
	}, "onetwothree", 0},
	{"a batch is cut inside a frame", func(b *box) { b.give(4); b.sendAll("one", "two", "three"); b.give(7) }, "onetwothree", 0},
	{"a batch is cut between frames", func(b *box) { b.give(3); b.sendAll("one", "two"); b.give(3) }, "onetwo", 0},
	{"an empty batch", func(b *box) { b.sendAll(); b.send("one"); b.sendAll(); b.give(3) }, "one", 0},
	{"what comes while something waits waits behind it", func(b *box) {
		b.give(1)
		b.send("one")
		b.socket.Allow(2)
		b.send("two")
		b.give(3)
	}, "onetwo", 0},
	{"an empty frame", func(b *box) { b.send("", "one"); b.give(3) }, "one", 0},

	{"the socket fails at once", func(b *box) { b.socket.Break(); b.refuse("one") }, "", 0},
	{"it fails with a queue", func(b *box) { b.send("one", "two"); b.give(4); b.socket.Break(); b.settle(); b.refuse("three") }, "onet", 0},

	{"close with nothing queued", func(b *box) { b.give(100); b.send("one"); b.Close([]byte("bye")); b.refuse("two") }, "onebye", 1},
	{"close behind a queue", func(b *box) { b.send("one"); b.Close([]byte("bye")); b.check(); b.refuse("two"); b.give(100) }, "onebye", 1},
	{"close, and the queue never drains", func(b *box) { b.send("one"); b.Close([]byte("bye")); b.give(2) }, "on", 0},
	{"close without a last frame", func(b *box) { b.send("one"); b.Close(nil); b.check(); b.give(100) }, "one", 1},
	{"close without a last frame and with nothing queued", func(b *box) { b.Close(nil) }, "", 1},
	{"close twice", func(b *box) {
		b.send("one")
		b.Close([]byte("bye"))
		b.Close([]byte("again"))
		b.give(100)
		b.Close(nil)
	}, "onebye", 1},
	{"close, then the socket fails", func(b *box) { b.send("one"); b.Close([]byte("bye")); b.socket.Break(); b.settle() }, "", 0},
	{"close, then the client is given up", func(b *box) { b.send("one"); b.Close([]byte("bye")); b.Abort(); b.check(); b.give(100) }, "", 0},
	{"close, then shut", func(b *box) { b.send("one"); b.Close([]byte("bye")); b.Shut(); b.check(); b.give(100) }, "", 0},
	{"close, then too old", func(b *box) { b.give(1); b.send("one"); b.Close([]byte("bye")); b.evict(); b.give(100) }, "one<slow>", 1},

	{"close, then too old inside the close frame", func(b *box) { b.give(4); b.send("one"); b.Close([]byte("bye")); b.evict(); b.give(100) }, "onebye", 1},
	{"close, too old, and no close frame", func(b *box) { b.give(1); b.send("one"); b.Close(nil); b.evict(); b.give(100) }, "one<slow>", 1},

	{"evicted with nothing begun", func(b *box) { b.send("one", "two"); b.evict(); b.refuse("three"); b.give(100) }, "<slow>", 1},
	{"evicted inside a frame, which is finished", func(b *box) { b.give(4); b.send("one", "two", "three"); b.evict(); b.give(100) }, "onetwo<slow>", 1},
	{"evicted between frames", func(b *box) { b.give(3); b.send("one", "two"); b.evict(); b.give(100) }, "one<slow>", 1},
	{"evicted, and never reads again", func(b *box) { b.give(1); b.send("one", "two"); b.evict(); b.give(1) }, "on", 0},
	{"evicted twice", func(b *box) { b.send("one"); b.evict(); b.Evict(stats.EvictBytes); b.give(100) }, "<slow>", 1},
	{"evicted with an empty queue", func(b *box) { b.give(3); b.send("one"); b.evict(); b.give(100) }, "one<slow>", 1},
	{"evicted, then closed", func(b *box) { b.send("one"); b.evict(); b.Close([]byte("bye")); b.give(100) }, "<slow>", 1},
	{"evicted, then the socket fails", func(b *box) { b.send("one"); b.evict(); b.socket.Break(); b.settle() }, "", 0},
	{"shut, then evicted", func(b *box) { b.send("one"); b.Shut(); b.Evict(stats.EvictAge); b.check(); b.give(100) }, "", 0},

	{"given up with a queue", func(b *box) {
		b.give(1)
		b.send("one")
		b.Abort()
		b.check()
		b.refuse("two")
		b.give(100)
	}, "o", 0},
	{"shut with a queue", func(b *box) {
		b.give(1)
		b.send("one")
		b.Shut()
		b.check()
		b.refuse("two")
		b.give(100)
	}, "o", 0},

	{"held, and the kernel takes everything", func(b *box) { b.hold("101"); b.give(100); b.send("one"); b.release() }, "101one", 0},
	{"held, and it takes a part", func(b *box) { b.hold("101"); b.give(2); b.send("one"); b.release(); b.give(100) }, "101one", 0},
	{"held, and it takes nothing", func(b *box) { b.hold("101"); b.release(); b.send("one"); b.give(100) }, "101one", 0},
	{"held, and nothing leaves before release", func(b *box) { b.give(100); b.hold("101"); b.send("one"); b.want("", 0) }, "", 0},
	{"closed while held", func(b *box) { b.give(100); b.hold("101"); b.Close([]byte("bye")); b.want("", 0); b.release() }, "101bye", 1},
	{"given up while held", func(b *box) { b.give(100); b.hold("101"); b.Abort(); b.release() }, "", 0},
	{"shut while held", func(b *box) { b.give(100); b.hold("101"); b.Shut(); b.release() }, "", 0},
	{"evicted while held: the handshake is answered", func(b *box) { b.give(100); b.hold("101"); b.send("one"); b.evict(); b.release() }, "101<slow>", 1},
	{"evicted after release, before a byte left", func(b *box) { b.hold("101"); b.send("one"); b.release(); b.evict(); b.give(100) }, "101<slow>", 1},
	{"evicted once the handshake is answered", func(b *box) {
		b.hold("101")
		b.send("one")
		b.release()
		b.give(3)
		b.evict()
		b.give(100)
	}, "101<slow>", 1},
}

func (b *box) hold(first string) { b.Hold([]byte(first)); b.check() }
func (b *box) release()          { b.Release(); b.check() }
func (b *box) settle()           { synctest.Wait(); b.check() }

func (b *box) evict() {
	b.Evict(stats.EvictAge)
	b.check()
	if why, evicted := b.Evicted(); why != stats.EvictAge || !evicted || b.stats.Evictions[stats.EvictAge].Load() != 1 {
		b.t.Errorf("evicted: %v for %d, counted %d times", evicted, why, b.stats.Evictions[stats.EvictAge].Load())
	}
}

// refuse sends what the outbox must not take.
func (b *box) refuse(frame string) {
	b.t.Helper()
	if b.send(frame) {
		b.t.Errorf("the outbox takes %q, and should take nothing", frame)
	}
}

func TestOutboxPaths(t *testing.T) {
	for _, test := range outboxPaths {
		t.Run(test.why, func(t *testing.T) {
			inBubble(t, 1<<20, func(b *box) {
				test.run(b)
				b.want(test.got, test.finished)
			})
		})
	}
}

// The bound is exact: what reaches it fits, one byte more does not, and one frame always fits an empty outbox.
func TestOutboxBound(t *testing.T) {
	const each = 1000
	for _, test := range []struct {
		why    string
		room   int
		frames []int // sizes
		evicts bool
	}{
		{"one frame of the bound", 0, []int{each - outbox.FrameCharge}, false},
		{"one frame beyond the bound", 0, []int{each - outbox.FrameCharge + 1}, false},
		{"one frame far beyond the bound", 0, []int{100 * each}, false},
		{"and nothing behind it", 0, []int{100 * each, 1}, true},
		{"two that reach the bound", 0, []int{each - 2*outbox.FrameCharge - 10, 10}, false},
		{"two that pass it by a byte", 0, []int{each - 2*outbox.FrameCharge - 10, 11}, true},
		{"what the kernel took does not count", 5, []int{each - 2*outbox.FrameCharge - 10, 15}, false},
		{"and one byte more does", 5, []int{each - 2*outbox.FrameCharge - 10, 16}, true},
		{"many small frames count for more than their bytes", 0, slices.Repeat([]int{1}, each/(outbox.FrameCharge+1)), false},
		{"and one more of them", 0, slices.Repeat([]int{1}, each/(outbox.FrameCharge+1)+1), true},
	} {
		for _, together := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, together %v", test.why, together), func(t *testing.T) {
				inBubble(t, each, func(b *box) {
					b.give(test.room)
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
						t.Errorf("taken: %v, evicted: %v, want %v", ok, evicted, test.evicts)
					}
				})
			})
		}
	}
}

// An evicted client has a second, and one whose socket failed none.
func TestOutboxExpires(t *testing.T) {
	for _, test := range []struct {
		why  string
		run  func(*box)
		want []time.Duration
	}{
		{"evicted", func(b *box) { b.send("one"); b.Evict(stats.EvictBytes) }, []time.Duration{time.Second}},
		{"failed", func(b *box) { b.socket.Break(); b.send("one") }, []time.Duration{0}},
		{"given up", func(b *box) { b.Abort(); b.Abort() }, []time.Duration{0}},
		{"evicted, then given up", func(b *box) { b.Evict(stats.EvictAge); b.Abort() }, []time.Duration{time.Second, 0}},
		{"shut: its owner is done with it", func(b *box) { b.Shut(); b.Abort() }, nil},
	} {
		t.Run(test.why, func(t *testing.T) {
			inBubble(t, 1<<20, func(b *box) {
				test.run(b)
				synctest.Wait()
				if got := b.socket.Expired(); !slices.Equal(got, test.want) {
					t.Errorf("reading is made to end after %v, want %v", got, test.want)
				}
			})
		})
	}
}

// Pending tells what waits and since when: the time at which the oldest frame was queued, even if a part of it has left.
func TestOutboxPending(t *testing.T) {
	inBubble(t, 1<<20, func(b *box) {
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
			{"a part of the first has left", func() { b.give(2) }, 4 + 2*outbox.FrameCharge, began},
			{"and a part of the second", func() { b.give(2) }, 2 + outbox.FrameCharge, began.Add(3 * time.Second)},
			{"all", func() { b.give(2) }, 0, time.Time{}},
		} {
			step.do()
			if bytes, since := b.Pending(); bytes != step.bytes || !since.Equal(step.since) {
				t.Errorf("%s: %d bytes since %v, want %d since %v", step.why, bytes, since, step.bytes, step.since)
			}
		}
	})
}

// Paths of a socket that writes by waiting. Each line says what a write does, while something else happens.
func TestOutboxTaken(t *testing.T) {
	for _, test := range []struct {
		why    string
		during func(*box) // while the first write waits
		writes []written
		got    string
	}{
		{"everything at once", func(*box) {}, []written{{-1, nil}}, "onetwo"},
		{"more comes meanwhile", func(b *box) { b.send("three") }, []written{{-1, nil}, {-1, nil}}, "onetwothree"},
		{"a write that is cut short goes on where it was cut", func(*box) {}, []written{{1, nil}, {1, nil}, {-1, nil}}, "onetwo"},
		{"a write fails", func(*box) {}, []written{{0, outboxtest.ErrBroken}}, ""},
		{"a write fails in the middle", func(b *box) { b.send("three") }, []written{{4, outboxtest.ErrBroken}}, "onet"},
		{"closed meanwhile", func(b *box) { b.Close([]byte("bye")) }, []written{{-1, nil}, {-1, nil}}, "onetwobye"},
		{"evicted meanwhile: what is being written stays", func(b *box) { b.send("three"); b.Evict(stats.EvictAge) },
			[]written{{-1, nil}, {-1, nil}}, "onetwo<slow>"},
		{"evicted meanwhile, and the write is cut short", func(b *box) { b.send("three"); b.Evict(stats.EvictAge) },
			[]written{{4, nil}, {-1, nil}}, "onetwo<slow>"},
		{"evicted meanwhile, and the write fails", func(b *box) { b.Evict(stats.EvictAge) }, []written{{2, outboxtest.ErrBroken}}, "on"},
		{"given up meanwhile", func(b *box) { b.Abort() }, []written{{-1, nil}}, "onetwo"},
		{"shut meanwhile", func(b *box) { b.Shut() }, []written{{0, outboxtest.ErrBroken}}, ""},
	} {
		t.Run(test.why, func(t *testing.T) {
			inBubble(t, 1<<20, func(b *box) {
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
					t.Errorf("the client got %q, want %q", got, test.got)
				}
			})
		})
	}
}

// Take takes at least one frame, and not much more than its bound.
func TestOutboxTakeIsBounded(t *testing.T) {
	inBubble(t, 1<<30, func(b *box) {
		b.send(strings.Repeat("a", outbox.TakeBytes*3), strings.Repeat("b", outbox.TakeBytes-1), "c", "d", "e")
		b.StartDraining()
		for i, want := range []int{1, 2, 2} {
			frames := b.Take(nil)
			if len(frames) != want {
				t.Fatalf("take %d gives %d frames, want %d", i, len(frames), want)
			}
			n := 0
			for _, frame := range frames {
				n += len(frame)
			}
			b.Took(n, nil)
			b.check()
		}
		if frames := b.Take(nil); frames != nil {
			t.Errorf("an empty outbox gives %q", frames)
		}
	})
}
