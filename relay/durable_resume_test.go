package relay_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sidecast/relay/outbox/outboxtest"
	"sidecast/relay/stream"
)

// However small entries are and however long they become on the wire, the
// client receives all of them, once and in order, and 48 KiB and one of them
// wait at most: from the ring, if others are subscribed, or from the stream, if
// no one was; and with entries that are added during the replay.
func TestDurableReplayOfAllSizes(t *testing.T) {
	for _, test := range replaySizes {
		for _, room := range []int{outboxtest.Unlimited, 0} {
			for _, held := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s, room %d, held %v", test.why, room, held), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) { testDurableReplay(t, test.payload, test.n, room, held) })
				})
			}
		}
	}
}

func testDurableReplay(t *testing.T, payload string, n, room int, held bool) {
	h := newDurableHub(t, nil)
	cursor := h.newCursor("a")
	if held {
		h.subscriber("a", "")
	}
	add := func() { h.store.add("a", stream.ID{}, []string{stream.PayloadField, payload}, "", 0) }
	for range n {
		add()
	}
	h.nudge("a")
	c := h.client(room)
	c.subscribe("a", cursor)
	messages := requirePulled(t, c, payload, n+5, func(i int) {
		if i < 5 {
			add()
			h.nudge("a")
		}
	})
	for i, e := range messages {
		if want, _ := h.store.log[i+1].entry.AppendText(nil); e.cursor != string(want) {
			t.Fatalf("message %d is %s, want %s", i+1, e.cursor, want)
		}
	}
}

// One client resumes several channels: a stream that cannot be read any more
// during the replay does not delay the others.
func TestDurableStuckReplayHoldsUpNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var reads atomic.Int32 // of channel a that are still possible
		reads.Store(1000)
		h := newDurableHub(t, func(_ context.Context, op, channel string) error {
			if op == "read" && channel == "a" && reads.Add(-1) < 0 {
				return stream.ErrNoStream
			}
			return nil
		})
		a, b := h.newCursor("a"), h.newCursor("b")
		h.add("a", 1, 100)
		h.add("b", 101, 200)
		h.subscriber("a", "") // now the relay has its place and need not read it
		reads.Store(1)
		c := h.client(0)
		c.subscribe("a", a)
		c.subscribe("b", b)
		c.socket.Give(outboxtest.Unlimited)
		time.Sleep(5 * time.Second)
		c.want("of both", "subscribed true,"+numbers(1, 16)+",subscribed true,"+numbers(101, 200))
		reads.Store(1000)
		time.Sleep(5 * time.Second)
		c.want("of the one that could not be read", numbers(17, 100))
	})
}

// The wait for a read of a channel ends when it has no subscribers any more or
// Redis is unavailable: there may be no read any more.
func TestDurableWaitEnds(t *testing.T) {
	for name, happens := range map[string]func(*durableHub, *testClient, chan struct{}){
		"read":                         func(_ *durableHub, _ *testClient, gate chan struct{}) { close(gate) },
		"no subscriber":                func(_ *durableHub, c *testClient, _ chan struct{}) { c.leave() },
		"away, no subscriber and back": func(h *durableHub, c *testClient, _ chan struct{}) { h.Offline(); c.leave(); h.Online(1) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var gate chan struct{} // for reads; nil: open
				h := newDurableHub(t, func(ctx context.Context, op, _ string) error {
					if op == "read" && gate != nil {
						select {
						case <-gate:
						case <-ctx.Done():
							return ctx.Err()
						}
					}
					return nil
				})
				c := h.subscriber("a", "")
				h.add("a", 1, 1)
				gate = make(chan struct{})
				woken := h.AwaitRead("a")
				synctest.Wait()
				happens(h, c, gate)
				synctest.Wait()
				select {
				case <-woken:
				default:
					t.Error("still waits")
				}
			})
		})
	}
}

// A stream that is created again may use the very id again at which the relay
// is: its subscribers get a gap, and then the next entries.
func TestDurableSameIDAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newDurableHub(t, nil)
		c := h.subscriber("a", "")
		addAndNudge := func(n, m int) {
			h.add("a", n, m)
			h.nudge("a")
		}
		addAndNudge(1, 3)
		c.want("at first", "subscribed false,1,2,3")
		for _, more := range []int{0, 2} { // the same id is the last, or others follow
			h.store.reset("a")
			addAndNudge(4, 6+more)
			c.want("created again", "gap reset,"+numbers(6, 6+more))
			addAndNudge(9, 9)
			c.want("the next entry", "9")
			h.store.reset("a")
			h.nudge("a")
			addAndNudge(1, 3)
			c.want("from nothing", "gap reset,1,2,3")
		}
	})
}

// If the stream changes between finding a client's position and sending what
// follows, the client gets one answer, and the correct one.
func TestDurableResumeWhileTheStreamChanges(t *testing.T) {
	recreate := func(h *durableHub) {
		h.store.reset("a")
		h.add("a", 5, 6)
	}
	for _, test := range []struct {
		name        string
		pause       func(*durableHub)
		want, later string
	}{
		{"no change", func(*durableHub) {}, "subscribed true", ""},
		{"an entry is added", func(h *durableHub) { h.add("a", 5, 5); h.nudge("a") }, "subscribed false,gap trimmed,5", ""},
		{"the stream is created again, with lower ids", func(h *durableHub) { recreate(h); h.nudge("a") }, "subscribed false,gap reset", ""},
		{"the same without a nudge", recreate, "subscribed false,gap reset", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newDurableHub(t, nil)
				first := h.subscriber("a", "")
				h.add("a", 1, 4)
				h.nudge("a")
				cursor := first.want("at first", "subscribed false,1,2,3,4")
				first.leave()
				h.store.remove("a", 0) // number 4: the last id stays
				h.subscriber("a", "")
				c := h.client(outboxtest.Unlimited)
				c.session.ResumeWithPause("a", cursor, func() { test.pause(h); synctest.Wait() })
				c.want("the answer", test.want)
				h.nudge("a")
				if got, _ := c.received(); (got == "gap reset") != (test.later == "gap reset") {
					t.Errorf("received %q later", got)
				}
			})
		})
	}
}

// If the entry that follows a gap is gone when the client could receive it, the
// client receives the entries after its own last one that the stream has then.
func TestDurableGapIsFollowedByLowerIDs(t *testing.T) {
	for _, test := range []struct {
		why  string
		at   int // the client's last entry; 0: it knows that there was no stream
		ids  []uint64
		want string
	}{
		{"entries between the two", 2, []uint64{1, 4, 5}, "gap trimmed,gap trimmed,21,22"},
		{"another one with the id of the client's last", 2, []uint64{1, 2, 5}, "gap trimmed,gap reset,21,22"},
		{"none between the two", 2, []uint64{1}, "gap trimmed,gap reset"},
		{"one with the id of the one that followed", 2, []uint64{4, 8, 9}, "gap trimmed,gap trimmed,20,21,22"},
		{"from nothing", 0, []uint64{1, 4, 5}, "gap reset,gap reset,20,21,22"},
	} {
		t.Run(test.why, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newDurableHub(t, nil)
				first := h.subscriber("a", "")
				h.add("a", 1, test.at)
				h.nudge("a")
				_, cursor := first.received()
				h.add("a", test.at+1, 9)
				h.store.trim("a", 2)
				h.nudge("a")
				h.store.fill("b", 10, 10, 20_000)
				c := h.client(0)
				c.handle(`{"type":"subscribe","channels":[{"channel":"b","last":1}]}`)
				synctest.Wait()
				c.subscribe("a", cursor) // the gap is queued, and there is no room for what follows
				h.store.reset("a")
				for i, id := range test.ids {
					h.store.add("a", stream.ID{Seq: id}, []string{stream.PayloadField, fmt.Sprintf("#%d:", 20+i)}, "", 0)
				}
				h.nudge("a")
				c.drain()
				c.want("the client", "subscribed false,10,subscribed false,"+test.want)
			})
		})
	}
}

// An entry that was deleted by its id, later than the client's own, is not
// missed: the client has everything.
func TestDurableLastDeleted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newDurableHub(t, nil)
		first := h.subscriber("a", "")
		h.add("a", 1, 3)
		h.nudge("a")
		cursor := first.want("at first", "subscribed false,1,2,3")
		first.leave()
		h.add("a", 4, 4)
		h.subscriber("a", "")
		h.store.remove("a", 0)
		h.subscriber("a", cursor).want("a client that resumes", "subscribed true")
	})
}

// A client that resumed while the entry after its own was deleted has not
// received that one, although other clients have. If ids go back, it receives
// all entries after its own, and if they do not, it gets no gap.
func TestDurableBehindADeletedEntry(t *testing.T) {
	for _, test := range []struct {
		why          string
		happens      func(h *durableHub)
		want, others string
	}{
		{"an entry is added", func(h *durableHub) { h.add("a", 5, 5) }, "5", "gap trimmed,5"},
		{"a failover forgets the deleted entry", func(h *durableHub) {
			h.store.rollBack("a", 0)
			h.add("a", 5, 6)
		}, "5,6", "gap reset"},
		{"and others follow that have higher ids", func(h *durableHub) {
			h.store.rollBack("a", 0)
			h.add("a", 5, 6)
			h.store.add("a", stream.ID{Seq: 200}, []string{stream.PayloadField, "#7:"}, "", 0)
		}, "5,6,7", "gap trimmed,7"},
		{"a failover forgets the client's entry as well", func(h *durableHub) {
			h.store.rollBack("a", 1)
			h.store.add("a", stream.ID{Seq: 50}, []string{stream.PayloadField, "#5:"}, "", 0)
		}, "gap trimmed,5", "gap reset"},
		{"the stream is deleted", func(h *durableHub) { h.store.reset("a") }, "gap reset", "gap reset"},
		{"the client received another entry before", func(h *durableHub) {
			h.add("a", 5, 6)
			h.nudge("a")
			h.store.rollBack("a", 1)
			h.add("a", 7, 7)
		}, "5,6,gap reset,7", "gap trimmed,5,6,gap reset,7"},
	} {
		t.Run(test.why, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newDurableHub(t, nil)
				first := h.subscriber("a", "")
				h.add("a", 1, 3)
				h.nudge("a")
				cursor := first.want("at first", "subscribed false,1,2,3")
				first.leave()
				synctest.Wait()
				h.store.add("a", stream.ID{Seq: 100}, []string{stream.PayloadField, "#4:"}, "", 0)
				other := h.subscriber("a", "")
				h.store.remove("a", 0)
				c := h.subscriber("a", cursor)
				c.want("the client", "subscribed true")
				test.happens(h)
				h.nudge("a")
				c.want("the client", test.want)
				other.want("another client", "subscribed false,"+test.others)
				h.add("a", 8, 9)
				h.nudge("a")
				c.want("then, the client", "8,9")
				other.want("then, another client", "8,9")
			})
		})
	}
}

// A replay that waits for Redis for longer than the command may take continues
// when Redis returns; a subscribe that was not answered by then is rejected.
func TestDurableReplayOutlastsFailures(t *testing.T) {
	for possible, want := range map[int]string{
		0: "error unavailable",
		1: "subscribed true," + numbers(1, 101),
		2: "subscribed true," + numbers(1, 101),
	} {
		synctest.Test(t, func(t *testing.T) {
			var reads atomic.Int32 // that are possible in the first 15 s
			reads.Store(1000)
			began := time.Now()
			h := newDurableHub(t, func(_ context.Context, op, _ string) error {
				if op == "read" && reads.Add(-1) < 0 && time.Since(began) < 15*time.Second {
					return errStore
				}
				return nil
			})
			cursor := h.newCursor("a")
			h.add("a", 1, 100)
			h.subscriber("a", "")
			reads.Store(int32(possible))
			c := h.subscriber("a", cursor)
			time.Sleep(30 * time.Second)
			h.add("a", 101, 101)
			h.nudge("a")
			c.want(fmt.Sprintf("after %d reads", possible), want)
		})
	}
}

// A client that does not want its own entry back receives another one that has
// got the same id.
func TestDurableOwnIDAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newDurableHub(t, nil)
		c := h.subscriber("a", "")
		c.handle(`{"type":"publish","channel":"a","data":"#1:","echo":false}`)
		h.store.reset("a") // before any relay has read it
		h.add("a", 2, 3)
		h.nudge("a")
		c.want("another entry with its id", "subscribed false,2,3")
		c.handle(`{"type":"publish","channel":"a","data":"#4:","echo":false}`)
		h.nudge("a")
		c.want("its own", "")
	})
}
