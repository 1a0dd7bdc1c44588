package relay_test

import (
	"testing"
	"testing/synctest"

	"sidecast/relay/outbox/outboxtest"
)

// The relay reads the entries of a stream and then its state, and the stream
// may change between the two. The subscribers receive every entry, or a gap and
// every entry after it that the stream still has, unless its id is lower than
// that of the last one.
func TestDurableStreamChangesDuringRead(t *testing.T) {
	// The relay is at the place where no stream existed, or at an entry.
	absent := func(*durableHub) {}
	lastDeleted := func(h *durableHub) {
		h.add("a", 1, 3)
		h.nudge("a")
		h.store.remove("a", 0)
	}
	trimmed := func(h *durableHub) {
		h.add("a", 1, 3)
		h.nudge("a")
		h.add("a", 4, 5)
		h.store.trim("a", 1)
	}
	add := func(n, m int) func(*durableHub) { return func(h *durableHub) { h.add("a", n, m) } }
	recreate := func(h *durableHub) {
		h.store.reset("a")
		h.add("a", 6, 8)
	}
	for _, test := range []struct {
		name           string
		before, during func(*durableHub)
		want           string
	}{
		// An entry that the state knows and the page does not is not skipped.
		{"from nothing, an entry is added", add(1, 2), add(3, 3), "1,2,3,9"},
		{"still nothing, the stream is created", absent, add(3, 3), "3,9"},
		// The entries may not be all, because the count is of a later time.
		{"from nothing, the stream is trimmed", add(1, 2), func(h *durableHub) { h.store.trim("a", 1) }, "gap reset,1,2,9"},
		{"from nothing, the stream is deleted", add(1, 2), func(h *durableHub) { h.store.reset("a") }, "gap reset,1,2,gap reset"},
		// The count is of another stream than the entries, whose first is lost.
		{"from nothing, trimmed and then created again", func(h *durableHub) {
			h.add("a", 1, 3)
			h.store.trim("a", 2)
		}, recreate, "gap reset,2,3,gap reset,8,9"},
		// Nothing follows the relay's place, until an entry is added.
		{"its entry was deleted, an entry is added", lastDeleted, add(6, 6), "1,2,3,gap trimmed,6,9"},
		// The new stream ends with the very id at which the relay is.
		{"its entry was deleted, created again", lastDeleted, recreate, "1,2,3,gap reset,8,9"},
		// The gap ends at the entry that the state names, which was not read.
		{"its entry was trimmed, an entry is added", trimmed, add(6, 6), "1,2,3,gap trimmed,5,6,9"},
		{"its entry was trimmed, the stream is deleted", trimmed, func(h *durableHub) { h.store.reset("a") }, "1,2,3,gap trimmed,5,gap reset"},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newDurableHub(t, nil)
				c := h.subscriber("a", "")
				test.before(h)
				h.changeDuringRead(func() { test.during(h) })
				h.nudge("a")
				h.add("a", 9, 9)
				h.nudge("a")
				c.want("all in all", "subscribed false,"+test.want)
			})
		})
	}
}

// A client that gets a gap because the stream is gone does not receive entries
// again that the relay read before that and delivers later.
func TestDurableGapDuringAnEarlierRead(t *testing.T) {
	for _, test := range []struct {
		why     string
		happens func(h *durableHub)
		want    string
	}{
		{"the stream is deleted", func(h *durableHub) { h.store.reset("a") }, "gap reset"},
		{"the stream is deleted and created again", func(h *durableHub) {
			h.store.reset("a")
			h.add("a", 3, 4)
		}, "gap reset,4"},
	} {
		t.Run(test.why, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newDurableHub(t, nil)
				h.subscriber("a", "")
				h.add("a", 1, 2)
				h.store.trim("a", 1)
				goOn := make(chan struct{})
				h.changeDuringRead(func() { <-goOn })
				h.nudge("a") // the relay has read the second entry, but does not deliver it yet
				had := h.store.log[1].entry
				test.happens(h)
				c := h.client(outboxtest.Unlimited)
				c.ask(`"after":%q`, had.Text())
				close(goOn)
				synctest.Wait()
				c.want("the client", "subscribed false,"+test.want)
				h.add("a", 8, 9)
				h.nudge("a")
				c.want("then, the client", "8,9")
			})
		})
	}
}
