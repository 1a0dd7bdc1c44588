package relay_test

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"weak"

	"sidecast/relay"
	"sidecast/relay/outbox/outboxtest"
	"sidecast/relay/protocol"
)

// missedTogether returns a hub, a place on channels a, b and c, and publishes
// messages 1 to n after it, on each channel in turn.
func missedTogether(t *testing.T, historyBytes, n int) (h *testHub, at place) {
	h = newLiveHub(t, historyBytes, nil)
	c := h.together(place{}, "a", "b", "c")
	c.want("a new client", "subscribed false")
	at = c.place(place{})
	c.leave()
	h.publishInTurn(1, n)
	return h, at
}

// publishInTurn publishes messages n to m, on each of three channels in turn.
func (h *testHub) publishInTurn(n, m int) {
	for ; n <= m; n++ {
		h.publishSized(string(rune('a'+n%3)), n, n, 1000)
	}
	synctest.Wait()
}

// stalledTogether returns a client that resumes channels a, b and c and does not
// read.
func (h *testHub) stalledTogether(at place) *testClient {
	c := h.connect(connectOptions{protocol: listingV1{}, channels: []string{"a", "b", "c"}, place: &at})
	h.t.Cleanup(c.leave)
	synctest.Wait()
	return c
}

// A replay of several channels is sent as fast as the client reads, in the order
// in which the messages arrived, and the messages that arrive during the replay
// follow it.
func TestMergedReplayIsPulled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, at := missedTogether(t, 4<<20, 1000)
		c := h.stalledTogether(at)
		for n := range 20 {
			if waiting := c.pending(); waiting > 50<<10 {
				t.Errorf("%d bytes wait for a slow client", waiting)
			}
			h.publishInTurn(1001+n, 1001+n)
			c.socket.Give(50_000)
			synctest.Wait()
		}
		c.drain()
		h.publishInTurn(1021, 1030)
		c.want("a client that reads slowly", "subscribed true,"+numbers(1, 1030))
	})
}

// A client that resumes several channels gets one gap if the history has dropped
// messages before it has read them, or if the link is lost. Then all channels
// continue with new messages.
func TestMergedReplayEndsWithOneGap(t *testing.T) {
	for name, test := range map[string]struct {
		interrupt func(h *testHub)
		gaps      string
	}{
		"the history is overtaken": {func(h *testHub) { h.publishSized("other", 1, 600, 1000) }, "gap history"},
		"the link is lost":         {func(h *testHub) { h.relink() }, "gap redis,gap redis"}, // the first one reports the outage
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h, at := missedTogether(t, 500_000, 300)
				c := h.stalledTogether(at)
				test.interrupt(h)
				h.publishInTurn(301, 302)
				c.drain()
				h.publishInTurn(303, 308)
				got, _ := c.received()
				n := strings.Count(got, ",") // more than there are messages
				for want := ""; got != want; n-- {
					if want = "subscribed true," + numbers(1, n) + "," + test.gaps + "," + numbers(303, 308); n < 20 {
						t.Fatalf("received %.3000s", got)
					}
				}
				c.leave()
				h.publishInTurn(309, 310)
				h.together(c.place(at), "a", "b", "c").want("afterwards", "subscribed true,309,310")
			})
		})
	}
}

// The history drops the messages one by one. A client that resumes gets a gap as
// soon as its place has been dropped, although all of its channels have messages
// after it, or none.
func TestPlaceIsDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newLiveHub(t, 20_000, nil)
		c := h.together(place{}, "a", "b", "c")
		h.publish("b", 1, 1)
		h.publish("a", 2, 2)
		c.want("a new client", "subscribed false,1,2")
		at := c.place(place{})
		c.leave()
		h.publish("b", 3, 3)
		h.publish("a", 4, 6)
		recovered := 0
		for range 100 {
			again := h.together(at, "a", "b", "c")
			switch got, _ := again.received(); got {
			case "subscribed true,3,4,5,6":
				recovered++
			case "subscribed false":
			default:
				t.Fatalf("received %s", got)
			}
			again.leave()
			h.publishSized("other", 1, 1, 200)
		}
		if recovered < 5 || recovered > 95 {
			t.Errorf("recovered %d times", recovered)
		}
	})
}

// While the places on many channels are searched, messages arrive. The client is
// recovered only if everything after its place is still held.
func TestSearchOfManyChannelsIsInterrupted(t *testing.T) {
	for _, test := range []struct {
		why   string
		pause func(h *testHub)
		found bool
	}{
		{"nothing", func(*testHub) {}, true},
		{"new messages", func(h *testHub) { h.publishInTurn(10, 12) }, true},
		{"the history has dropped the place", func(h *testHub) { h.publishSized("other", 1, 600, 1000) }, false},
		{"the link was lost", func(h *testHub) { h.Offline() }, false},
		{"there is another link", func(h *testHub) { h.relink() }, false},
	} {
		synctest.Test(t, func(t *testing.T) {
			h, at := missedTogether(t, 500_000, 3)
			c := h.together(at, "a", "b", "c")
			c.want("the first client", "subscribed true,1,2,3")
			at = c.place(at)
			c.leave()
			h.publishInTurn(4, 9)
			again := h.connect(connectOptions{protocol: listingV1{}, room: outboxtest.Unlimited})
			t.Cleanup(again.leave)
			list, anchor := at.requests([]string{"a", "b", "c"})
			if found := again.session.LocateWithPause(list, anchor, func() { test.pause(h) }); found != test.found {
				t.Errorf("%s: found %v, want %v", test.why, found, test.found)
			}
		})
	}
}

// Without a link, a client that resumes is answered at once, and gets one gap
// when the next link has caught up. Before a client gets a gap, the relay
// catches up with Redis: the messages may be on their way.
func TestMergedResumeWaitsForTheLink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ahead, at := missedTogether(t, 1<<20, 3)
		c := ahead.together(at, "a", "b", "c")
		c.want("the relay that is ahead", "subscribed true,1,2,3")
		newest := c.place(at)
		waits := 0
		var late *testHub
		late = newLiveHub(t, 1<<20, func() error {
			if waits++; waits == 1 {
				for n := 1; n <= 3; n++ {
					late.publishSized(string(rune('a'+n%3)), n, n, 1000)
				}
			}
			return nil
		})
		late.together(newest, "a", "b", "c").want("a place that the relay is about to reach", "subscribed true")
		late.Offline()
		c = late.together(newest, "a", "b", "c")
		c.want("without a link", "subscribed false")
		late.Online(1)
		time.Sleep(time.Second)
		synctest.Wait()
		late.publishInTurn(4, 5)
		c.want("with the next link", "gap redis,gap redis,4,5")
	})
}

// A session ends in the middle of a replay of several channels, or while it
// waits for the link. The last heartbeat names no place.
func TestMergedResumeEndsWithTheSession(t *testing.T) {
	for name, test := range map[string]struct {
		before func(h *testHub)
		end    func(c *testClient)
	}{
		"the client leaves a replay":         {func(*testHub) {}, func(c *testClient) { c.leave() }},
		"the client leaves during an outage": {func(h *testHub) { h.Offline() }, func(c *testClient) { c.leave() }},
		"the relay closes during an outage":  {func(h *testHub) { h.Offline() }, func(c *testClient) { c.session.Close(protocol.CloseRestart); c.leave() }},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h, at := missedTogether(t, 4<<20, 300)
				test.before(h)
				s := func() weak.Pointer[relay.Session] {
					c := h.connect(connectOptions{protocol: listingV1{}, channels: []string{"a", "b", "c"}, place: &at})
					pointer := weak.Make(c.session)
					test.end(c)
					c.receive()
					for _, e := range c.events {
						if e.at != "" {
							t.Errorf("a heartbeat with a place: %v", e)
						}
					}
					return pointer
				}()
				h.Online(1)
				runtime.GC()
				requireGone(t, s)
				h.checkEmpty()
			})
		})
	}
}

// A client that the relay closes in the middle of a replay has received the
// first messages, and resumes after the last of them.
func TestCloseDuringMergedReplay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, at := missedTogether(t, 4<<20, 300)
		c := h.stalledTogether(at)
		c.session.Close(protocol.CloseRestart)
		c.drain()
		got, _ := c.received()
		n := strings.Count(got, ",") - 2
		if got != "subscribed true,"+numbers(1, n)+",heartbeat false,close" || n < 20 {
			t.Fatalf("received %.2000s", got)
		}
		c.leave()
		h.together(c.place(at), "a", "b", "c").want("afterwards", "subscribed true,"+numbers(n+1, 300))
	})
}

// A client that subscribes with last begins with the newest messages of each
// channel, in the order in which they arrived. If the connection breaks after
// the answer or any message, it misses none of them.
func TestLastOfSeveralChannels(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, _ := missedTogether(t, 1<<20, 9) // b has 1, 4, 7; c 2, 5, 8; a 3, 6, 9
		c := h.connect(connectOptions{protocol: listingV1{}, room: outboxtest.Unlimited})
		t.Cleanup(c.leave)
		requests := []protocol.ChannelRequest{{Channel: "a", Last: 1}, {Channel: "b", Last: 100}, {Channel: "c"}}
		c.session.SubscribeTogether(requests, relay.Anchor{})
		h.publishInTurn(10, 12)
		c.want("a client with last", "subscribed false,1,4,7,9,10,11,12")
		at, rest := place{}, []string{"1", "4", "7", "9", "10", "11", "12"}
		for i, e := range c.events[1:] {
			at.move(&e)
			if i > 0 {
				rest = rest[1:]
			}
			again := h.together(at, "a", "b", "c")
			again.want(fmt.Sprint("after event ", i), strings.TrimSuffix("subscribed true,"+strings.Join(rest, ","), ","))
			again.leave()
		}
	})
}

// Clients that resume several channels share the pages of each.
func TestMergedReplaysSharePages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, at := missedTogether(t, 4<<20, 240)
		for range 50 {
			h.together(at, "a", "b", "c").want("a client that resumes", "subscribed true,"+numbers(1, 240))
		}
		_, _, encoded := h.PageCache()
		if pages := uint64(240/7 + 3*2); encoded > pages {
			t.Errorf("%d pages were encoded, want %d at most", encoded, pages)
		}
	})
}
