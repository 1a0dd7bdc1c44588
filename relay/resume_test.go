package relay_test

import (
	"encoding/binary"
	"testing"
	"testing/synctest"
	"time"

	"sidecast/relay/history"
	"sidecast/relay/outbox/outboxtest"
)

// Only a cursor that names a position which this relay has counted to, and what
// was published up to there, resumes: any other is of another history, and what
// follows here are not the messages that the client missed.
func TestResumeOnlyFromWhatWasSaid(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*history.Cursor)
		want   string
	}{
		"the position itself":                      {func(*history.Cursor) {}, "subscribed true,3,4"},
		"its marker":                               {func(c *history.Cursor) { c.Index, c.Check = 0, 0 }, "subscribed true,1,2,3,4"},
		"one message later, with the same check":   {func(c *history.Cursor) { c.Index++ }, "subscribed false"},
		"one message earlier, with the same check": {func(c *history.Cursor) { c.Index-- }, "subscribed false"},
		"other messages":                           {func(c *history.Cursor) { c.Check ^= 1 }, "subscribed false"},
		"as many messages, without a check":        {func(c *history.Cursor) { c.Check = 0 }, "subscribed false"},
		"as many as here, and other messages":      {func(c *history.Cursor) { c.Index, c.Check = 4, c.Check^1 }, "subscribed false"},
		"more than here":                           {func(c *history.Cursor) { c.Index = 5 }, "subscribed false"},
		"as many as there can be":                  {func(c *history.Cursor) { c.Index = 1<<64 - 1 }, "subscribed false"},
		"another Redis server":                     {func(c *history.Cursor) { c.Node++ }, "subscribed false"},
		"a marker that the relay never received":   {func(c *history.Cursor) { c.Marker[0] ^= 1 }, "subscribed false"},
		"such a marker, and no message":            {func(c *history.Cursor) { *c = history.Cursor{Node: c.Node, Marker: history.MarkerID{9}} }, "subscribed false"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h, text := missed(t, 1<<20, 0)
				first := h.subscriber("a", text)
				h.publish("a", 1, 2)
				cursor, ok := history.ParseCursor(first.want("before", "subscribed true,1,2"))
				if !ok || cursor.Index != 2 {
					t.Fatalf("%+v is not after two messages", cursor)
				}
				first.leave()
				h.publish("a", 3, 4)
				test.change(&cursor)
				changed, _ := cursor.AppendText(nil)
				c := h.subscriber("a", string(changed))
				c.want("a client that resumes", test.want)
				h.publish("a", 5, 5)
				c.want("then", "5")
			})
		})
	}
}

// No client gets a gap before the relay has caught up with Redis: the relay
// where the client was may have been ahead.
func TestGapWaitsForTheLink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ahead, cursor := missed(t, 1<<20, 3)
		first := ahead.subscriber("a", cursor)
		ahead.publish("a", 4, 4)
		newest := first.want("the relay that is ahead", "subscribed true,1,2,3,4")
		arrives, waits := false, 0
		var late *testHub
		late = newLiveHub(t, 1<<20, func() error {
			waits++
			if arrives {
				late.publishSized("a", 1, 4, 1000)
			}
			return nil
		})
		for _, test := range []struct {
			why, after string
			arrives    bool // the messages arrive during the wait
			away       bool
			waits      int
			want       string
		}{
			{"a position that the relay is about to reach", newest, true, false, 1, "subscribed true"},
			{"one that it has reached", newest, false, false, 0, "subscribed true"},
			{"no position", "x", false, false, 0, "subscribed false"},
			{"one of another history", "AQAAAAERIjNEVWZ3iAHerb7v", false, false, 1, "subscribed false"},
			{"while there is no link", newest, false, true, 0, "subscribed false"},
		} {
			if test.away {
				late.Offline()
				synctest.Wait()
			}
			arrives, waits = test.arrives, 0
			c := late.subscriber("a", test.after)
			c.want(test.why, test.want)
			if waits != test.waits {
				t.Errorf("%s: waited %d times, want %d", test.why, waits, test.waits)
			}
			c.leave()
		}
	})
}

// A client that resumes while there is no link gets a gap after the next link
// has caught up, because it misses the messages before that.
func TestLateJoinHasItsOwnGap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		caughtUp := make(chan struct{})
		h := newLiveHub(t, 1<<20, func() error { <-caughtUp; return nil })
		cursor := h.newCursor("a")
		h.publish("a", 1, 2)
		h.Offline()
		c := h.subscriber("a", cursor)
		c.want("without a link", "subscribed false")
		h.Online(1)
		h.publish("a", 3, 4)
		c.want("before the link has caught up", "gap redis")
		close(caughtUp)
		time.Sleep(time.Second)
		synctest.Wait()
		h.publish("a", 5, 5)
		c.want("after it has", "gap redis,5")
	})
}

// A gap within a link reaches every client. A client that was away at that time
// is not recovered.
func TestGapWithinALink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, before := missed(t, 1<<20, 2)
		c := h.subscriber("a", "")
		c.want("a new client", "subscribed false")
		h.publish("a", 3, 3)
		h.Gap(1)
		h.publish("a", 4, 4)
		c.want("a client that stays", "3,gap redis,4")
		h.subscriber("a", before).want("a client that was away", "subscribed false")
		after := h.newCursor("a")
		h.publish("a", 5, 5)
		h.subscriber("a", after).want("a client that leaves after the gap", "subscribed true,5")
	})
}

// A client is not recovered if one of the messages that it missed was too
// large.
func TestTooLargeIsNotRecovered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, cursor := missed(t, 1<<20, 2)
		h.Oversize([]byte("a"))
		h.publish("a", 3, 4)
		c := h.subscriber("a", cursor)
		h.publish("a", 5, 5)
		c.want("a message that was too large", "subscribed false,5")
	})
}

// The subscribed before a replay has the client's own position: the connection
// may end before the replay arrives.
func TestSubscribedKeepsThePosition(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, cursor := missed(t, 1<<20, 3)
		c := h.subscriber("a", cursor)
		c.want("a client that resumes", "subscribed true,1,2,3")
		if e := c.events[1]; e.kind != "subscribed" || e.cursor != cursor {
			t.Errorf("received %v, want the cursor %s", e, cursor)
		}
	})
}

// A marker that arrives twice is counted once.
func TestMarkerArrivesTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newLiveHub(t, 1<<20, nil)
		first := h.subscriber("a", "")
		h.publish("a", 1, 2)
		cursor := first.want("before", "subscribed false,1,2")
		h.markers--
		h.receiveMarker()
		h.publish("a", 3, 4)
		h.subscriber("a", cursor).want("a client that resumes", "subscribed true,3,4")
	})
}

// A client of a quiet channel that the relay has forgotten resumes from its
// newest heartbeat, which is later than its last message.
func TestResumeFromHeartbeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newLiveHub(t, 64<<10, nil)
		first := h.subscriber("a", "")
		h.publish("a", 1, 1)
		after := first.want("before", "subscribed false,1")
		first.leave()
		h.receiveMarker()
		h.publish("b", 1, 100) // evicts the message on a
		h.receiveMarker()
		at, _ := history.Cursor{Node: 1, Marker: history.MarkerID(binary.BigEndian.AppendUint64(nil, h.markers))}.AppendText(nil)
		c := h.client(outboxtest.Unlimited)
		c.handle(`{"type":"subscribe","channels":[{"channel":"a","after":%q,"at":%q}]}`, after, at)
		synctest.Wait()
		h.publish("a", 2, 2)
		c.want("with its heartbeat", "subscribed true,2")
	})
}

// Without a history there are no cursors, and no client recovers anything.
func TestNoHistory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, cursor := missed(t, 0, 3)
		if cursor != "" {
			t.Errorf("the cursor %q", cursor)
		}
		c := h.subscriber("a", "AQAAAAERIjNEVWZ3iAHerb7v")
		h.publish("a", 4, 4)
		if cursor := c.want("a client with a cursor", "subscribed false,4"); cursor != "" {
			t.Errorf("the cursor %q", cursor)
		}
		h.receiveMarker()
		time.Sleep(25 * time.Second)
		synctest.Wait()
		c.want("a heartbeat", "heartbeat false")
	})
}

// If no relay may publish markers, a cursor is valid at the relay that sent it,
// and only there.
func TestResumeWithoutMarkers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, other := newLiveHub(t, 1<<20, nil), newLiveHub(t, 1<<20, nil)
		h.relink()
		other.relink()
		first := h.subscriber("a", "")
		cursor := first.want("a new client", "subscribed false")
		time.Sleep(25 * time.Second)
		synctest.Wait()
		first.want("its heartbeat", "heartbeat false")
		first.leave()
		h.publish("a", 1, 3)
		other.publish("a", 1, 3)
		h.subscriber("a", cursor).want("at the same relay", "subscribed true,1,2,3")
		other.subscriber("a", cursor).want("at another one", "subscribed false")
	})
}
