package relay_test

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sidecast/relay/outbox/outboxtest"
	"sidecast/relay/stream"
)

// ask subscribes to channel a with further fields of the request.
func (c *testClient) ask(format string, args ...any) {
	c.handle(`{"type":"subscribe","channels":[{"channel":"a",`+format+`}]}`, args...)
	synctest.Wait()
}

// id returns the id of entry n, if 0 was added first.
func (h *durableHub) id(n int) string { return h.store.log[n].entry.ID.String() }

// A client that joins a durable channel with last receives the newest entries,
// oldest first, and then new ones: never a gap because there were fewer.
func TestDurableLast(t *testing.T) {
	for _, test := range []struct {
		why     string
		happens func(h *durableHub)
		last    int
		want    string
		empty   bool // the stream has no entries
	}{
		{"some of many", func(h *durableHub) { h.add("a", 1, 50) }, 3, "48,49,50,", false},
		{"all of fewer", func(h *durableHub) { h.add("a", 1, 2) }, 100, "0,1,2,", false},
		{"of those that the stream still has", func(h *durableHub) { h.add("a", 1, 50); h.store.trim("a", 2) }, 100, "49,50,", false},
		{"of an empty stream", func(h *durableHub) { h.add("a", 1, 50); h.store.trim("a", 0) }, 100, "", true},
		{"of no stream", func(h *durableHub) { h.store.reset("a") }, 100, "", false},
		{"large ones", func(h *durableHub) { h.store.fill("a", 1, 50, 10_000) }, 20, numbers(31, 50) + ",", false},
		{"after a nudge that was lost", func(h *durableHub) { h.subscriber("a", ""); h.add("a", 1, 50) }, 3, "48,49,50,", false},
		{"with others that are subscribed", func(h *durableHub) { h.subscriber("a", ""); h.add("a", 1, 50); h.nudge("a") }, 3, "48,49,50,", false},
	} {
		t.Run(test.why, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newDurableHub(t, nil)
				h.add("a", 0, 0)
				test.happens(h)
				for range 2 {
					c := h.client(outboxtest.Unlimited)
					c.last(test.last)
					c.want("a client with last", strings.TrimSuffix("subscribed false,"+test.want, ","))
				}
				c := h.client(outboxtest.Unlimited)
				c.last(test.last)
				h.add("a", 100, 101)
				h.nudge("a")
				then := "100,101"
				if test.empty { // the relay cannot know that nothing was removed
					then = "gap trimmed," + then
				}
				c.want("a client with last, and then", "subscribed false,"+test.want+then)
			})
		})
	}
}

// The cursor of the answer is the place before the first entry: a client whose
// connection breaks before that arrives loses none, and is notified if it does
// not exist any more.
func TestDurableLastIsResumedBeforeItsFirstEntry(t *testing.T) {
	for _, test := range []struct {
		why     string
		happens func(h *durableHub)
		want    string
	}{
		{"nothing", func(*durableHub) {}, "subscribed true,18,19,20"},
		{"more entries", func(h *durableHub) { h.add("a", 21, 22); h.nudge("a") }, "subscribed true,18,19,20,21,22"},
		{"the entries before were removed", func(h *durableHub) { h.store.trim("a", 3) }, "subscribed true,18,19,20"},
		{"the first one was removed", func(h *durableHub) { h.store.trim("a", 2) }, "subscribed false,gap trimmed,19,20"},
		{"all were removed", func(h *durableHub) { h.store.trim("a", 0) }, "subscribed false,gap trimmed"},
		{"the stream was created again", func(h *durableHub) {
			h.store.reset("a")
			h.store.add("a", stream.ID{Ms: 1 << 40}, []string{stream.PayloadField, "#30:"}, "", 0)
		}, "subscribed false,gap trimmed,30"},
	} {
		t.Run(test.why, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newDurableHub(t, nil)
				h.add("a", 0, 20)
				first := h.client(outboxtest.Unlimited)
				first.last(3)
				first.want("the first client", "subscribed false,18,19,20")
				cursor := first.events[1].cursor
				first.leave()
				synctest.Wait()
				test.happens(h)
				second := h.client(outboxtest.Unlimited)
				second.subscribe("a", cursor)
				time.Sleep(time.Minute)
				second.want("the second client", test.want)
			})
		})
	}
}

// However many clients join with last, the relay reads the newest entries a few
// times.
func TestDurableLastReadsOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var reads atomic.Int32
		h := newDurableHub(t, func(_ context.Context, op, _ string) error {
			if op == "newest" || op == "read" {
				reads.Add(1)
			}
			return nil
		})
		h.add("a", 0, 200)
		for n := range 300 {
			c := h.client(outboxtest.Unlimited)
			c.handle(`{"type":"subscribe","channels":[{"channel":"a","last":%d}]}`, 1+n%50)
			if n%3 == 0 {
				synctest.Wait() // others join together
			}
		}
		synctest.Wait()
		if n := reads.Load(); n > 5 {
			t.Errorf("%d reads", n)
		}
		empty := reads.Load()
		for range 300 {
			h.client(outboxtest.Unlimited).handle(`{"type":"subscribe","channels":[{"channel":"b","last":1}]}`)
			synctest.Wait()
		}
		if n := reads.Load() - empty; n > 2 {
			t.Errorf("%d reads of a stream that does not exist", n)
		}
	})
}

// A client gets about 1 MiB of the newest entries at most, and at least one. No
// read is much larger than that, and clients that ask again share it.
func TestDurableLastOfLargeEntries(t *testing.T) {
	for size, want := range map[int]string{60_000: numbers(23, 40), 900_000: "39,40"} {
		synctest.Test(t, func(t *testing.T) {
			var reads atomic.Int32
			h := newDurableHub(t, func(_ context.Context, op, _ string) error {
				if op == "newest" {
					reads.Add(1)
				}
				return nil
			})
			h.store.fill("a", 1, 40, size)
			for range 3 {
				c := h.client(outboxtest.Unlimited)
				c.last(100)
				c.want(fmt.Sprintf("entries of %d bytes", size), "subscribed false,"+want)
			}
			if n := reads.Load(); n > 2 {
				t.Errorf("%d reads of entries with %d bytes", n, size)
			}
		})
	}
}

// A client that asks for more than a read that is under way gets them.
func TestDurableLastDuringARead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var slow atomic.Bool
		h := newDurableHub(t, func(_ context.Context, op, _ string) error {
			if op == "newest" && slow.Swap(false) {
				time.Sleep(time.Second)
			}
			return nil
		})
		h.add("a", 0, 200)
		slow.Store(true)
		few, many := h.client(outboxtest.Unlimited), h.client(outboxtest.Unlimited)
		few.last(2)
		many.last(100)
		time.Sleep(2 * time.Second)
		few.want("the first client", "subscribed false,199,200")
		many.want("the second client", "subscribed false,"+numbers(101, 200))
	})
}

// While Redis is down, a subscribe with last waits for it, as one with after
// does, unless the entries are in memory.
func TestDurableLastWhileRedisIsDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newDurableHub(t, nil)
		h.add("a", 0, 5)
		h.Offline()
		waits, late := h.client(outboxtest.Unlimited), h.client(outboxtest.Unlimited)
		late.last(2)
		time.Sleep(6 * time.Second)
		waits.last(2)
		time.Sleep(5 * time.Second)
		late.want("after 11 s", "error unavailable")
		waits.want("after 5 s", "")
		h.Online(1)
		time.Sleep(time.Second)
		got, _ := waits.received() // the gap of live channels is before the answer, or after it
		if got = strings.Trim(strings.ReplaceAll(got, "gap redis", ""), ","); got != "subscribed false,4,5" {
			t.Errorf("when Redis is back: received %s", got)
		}
		h.Offline()
		held := h.client(outboxtest.Unlimited)
		held.last(2)
		held.want("with the entries in memory", "subscribed false,4,5")
	})
}

// Without the right to read the newest entries, a subscribe with last is
// refused, and other clients are not affected.
func TestDurableLastIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newDurableHub(t, func(_ context.Context, op, _ string) error {
			if op == "newest" {
				return fmt.Errorf("%w: NOPERM", stream.ErrNoStream)
			}
			return nil
		})
		cursor := h.newCursor("a")
		h.add("a", 1, 5)
		c := h.client(outboxtest.Unlimited)
		c.last(2)
		c.want("a client with last", "error unavailable")
		h.subscriber("a", cursor).want("a client that resumes", "subscribed true,1,2,3,4,5")
	})
}

// A client that joins with the position that its application has read receives
// exactly the entries after that, or is notified that there may be others.
func TestSince(t *testing.T) {
	for _, test := range []struct {
		why     string
		since   func(h *durableHub) string
		happens func(h *durableHub)
		want    string
	}{
		{"an entry", func(h *durableHub) string { return h.id(3) }, func(*durableHub) {}, "subscribed true,4,5"},
		{"the last entry", func(h *durableHub) string { return h.id(5) }, func(*durableHub) {}, "subscribed true"},
		{"the last id, whose entry was deleted", func(h *durableHub) string { return h.id(5) },
			func(h *durableHub) { h.store.remove("a", 0) }, "subscribed true"},
		{"the last id of a stream that is empty", func(h *durableHub) string { return h.id(5) },
			func(h *durableHub) { h.store.trim("a", 0) }, "subscribed true"},
		{"an entry that is the first one now", func(h *durableHub) string { return h.id(3) },
			func(h *durableHub) { h.store.trim("a", 3) }, "subscribed true,4,5"},
		{"an entry that was removed", func(h *durableHub) string { return h.id(2) },
			func(h *durableHub) { h.store.trim("a", 3) }, "subscribed false,gap trimmed,3,4,5"},
		{"an entry before others that were all removed", func(h *durableHub) string { return h.id(2) },
			func(h *durableHub) { h.store.trim("a", 0) }, "subscribed false,gap trimmed"},
		{"an id that never existed", func(*durableHub) string { return "0-1" },
			func(h *durableHub) { h.store.trim("a", 2) }, "subscribed false,gap trimmed,4,5"},
		{"an id of the future", func(*durableHub) string { return "18446744073709551615-18446744073709551615" },
			func(*durableHub) {}, "subscribed false,gap reset"},
		{"an entry of a stream that does not exist any more", func(h *durableHub) string { return h.id(2) },
			func(h *durableHub) { h.store.reset("a") }, "subscribed false,gap reset"},
		{"no stream", func(*durableHub) string { return "0-0" }, func(h *durableHub) { h.store.reset("a") }, "subscribed true"},
		{"no stream, and there is one now", func(*durableHub) string { return "0-0" },
			func(h *durableHub) { h.store.trim("a", 2) }, "subscribed false,gap reset,4,5"},
		{"no stream, and the relay saw that one begin", func(*durableHub) string { return "0-0" }, func(h *durableHub) {
			h.store.reset("a")
			h.Online(1)
			synctest.Wait()
			h.add("a", 6, 7)
			h.nudge("a")
		}, "subscribed false,gap reset,6,7"},
	} {
		for _, others := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, others %v", test.why, others), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					h := newDurableHub(t, nil)
					h.add("a", 0, 1)
					if others { // the relay has its place, and perhaps the entries
						h.subscriber("a", "")
					}
					h.add("a", 2, 5)
					since := test.since(h)
					test.happens(h)
					h.nudge("a")
					c := h.client(outboxtest.Unlimited)
					c.ask(`"since":%q,"last":1`, since)
					time.Sleep(time.Minute)
					c.want("the client", test.want)
					h.add("a", 100, 100)
					h.nudge("a")
					if got, _ := c.received(); got != "100" && !(got == "gap trimmed,100" && len(h.store.keys["a"].entries) == 1) {
						t.Errorf("then: received %s", got)
					}
				})
			})
		}
	}
}

// The cursor of the answer is the place that the application has read: a client
// whose connection breaks before the entries arrive resumes there.
func TestSinceIsResumed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newDurableHub(t, nil)
		h.add("a", 0, 5)
		for since, want := range map[string]string{
			h.id(3): "subscribed true,4,5", h.id(5): "subscribed true", "0-1": "subscribed false,gap trimmed,1,2,3,4,5", "0-0": "subscribed false,gap reset,1,2,3,4,5",
		} {
			if since < "1" {
				h.store.trim("a", 5)
			}
			c := h.client(outboxtest.Unlimited)
			c.ask(`"since":%q`, since)
			c.receive()
			cursor := c.events[1].cursor
			c.leave()
			second := h.client(outboxtest.Unlimited)
			second.subscribe("a", cursor)
			second.want("since "+since, want)
		}
	})
}

// A text that is no id is rejected, and so is a second subscribe with since.
// After takes precedence over since.
func TestSinceIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newDurableHub(t, nil)
		cursor := h.newCursor("a")
		h.add("a", 1, 5)
		c := h.client(outboxtest.Unlimited)
		for _, since := range []string{"5", "5-", "-5", "a-b", "$", "+", "18446744073709551616-0"} {
			c.ask(`"since":%q`, since)
			c.want(since, "error bad_request")
		}
		c.ask(`"since":%q,"after":%q`, h.id(3), cursor)
		c.want("after and since", "subscribed true,1,2,3,4,5")
		c.ask(`"since":%q`, h.id(3))
		c.want("again", "error bad_request")
	})
}

// However many clients join with one position, the relay reads it a few times.
func TestSinceReadsOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var reads atomic.Int32
		h := newDurableHub(t, func(_ context.Context, op, _ string) error {
			if op == "read" {
				reads.Add(1)
			}
			return nil
		})
		h.add("a", 0, 40)
		for n := range 300 {
			h.client(outboxtest.Unlimited).handle(`{"type":"subscribe","channels":[{"channel":"a","since":%q}]}`, h.id(20))
			if n%3 == 0 {
				synctest.Wait()
			}
		}
		synctest.Wait()
		if n := reads.Load(); n > 6 {
			t.Errorf("%d reads", n)
		}
	})
}
