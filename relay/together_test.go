package relay_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sidecast/relay"
	"sidecast/relay/history"
	"sidecast/relay/outbox/outboxtest"
	"sidecast/relay/protocol"
)

// listingV1 is V1 for clients whose channels share a cursor: a frame can have
// places in place of one.
type listingV1 struct{ protocol.V1 }

// WithPlaces implements [protocol.PlaceLister].
func (listingV1) WithPlaces(frame []byte, places []protocol.Place) []byte {
	cursors := map[string]string{}
	for _, p := range places {
		cursors[p.Channel] = string(p.Cursor)
	}
	text, _ := json.Marshal(cursors) // it never fails
	head := 2
	if frame[1] == 126 {
		head = 4
	}
	object := frame[head : len(frame)-1] // of at most 64 KiB
	text = fmt.Appendf(slices.Clone(object), `,"places":%s}`, text)
	return append(protocol.NewFrame(protocol.OpText, len(text)), text...)
}

// A place is where a client is whose channels share a cursor.
type place struct {
	relay.Anchor
	cursors cursors // in place of an anchor
}

// requests returns a subscribe to channels from a place on.
func (p *place) requests(channels []string) ([]protocol.ChannelRequest, relay.Anchor) {
	list := requests(channels...)
	for i := range list {
		last := p.cursors[list[i].Channel]
		list[i].After, list[i].At = last.after, last.at
	}
	return list, p.Anchor
}

// move moves the place to that of an event, if it has one.
func (p *place) move(e *event) {
	switch {
	case e.places != nil:
		*p = place{cursors: cursors{}}
		for channel, cursor := range e.places {
			p.cursors[channel] = lastCursors{after: cursor}
		}
	case e.kind == "subscribed" && e.cursor == "": // the relay has no history
		*p = place{}
	case e.cursor != "":
		*p = place{Anchor: relay.Anchor{Channel: e.channel, Cursor: e.cursor}}
	case e.at != "":
		*p = place{Anchor: relay.Anchor{Cursor: e.at}}
	}
}

// place returns where a client is whose channels share a cursor, if it was at
// known when it connected.
func (s *story) place(known place) place {
	for i := range s.events {
		known.move(&s.events[i])
	}
	return known
}

// together returns a client that is subscribed to channels which share a cursor.
func (h *testHub) together(at place, channels ...string) *testClient {
	c := h.connect(connectOptions{protocol: listingV1{}, room: outboxtest.Unlimited, channels: channels, place: &at})
	h.t.Cleanup(c.leave)
	synctest.Wait()
	return c
}

// publishMixed publishes messages n to m, each on one of the channels, to all
// hubs. Between them are markers, and messages on a channel that no client has.
func publishMixed(random *rand.Rand, channels []string, n, m int, hubs ...*testHub) {
	for ; n <= m; n++ {
		channel, marked, other := channels[random.IntN(len(channels))], random.IntN(6) == 0, random.IntN(5) == 0
		payload := numbered(n, random.IntN(3)*random.IntN(3000))
		for _, h := range hubs {
			if marked {
				h.mark()
			}
			if other {
				h.Publish([]byte("other"), payload)
			}
			h.Publish([]byte(channel), payload)
			h.Flush()
		}
	}
	synctest.Wait()
}

// Each cursor of a client with several channels is its place on all of them, at
// any relay, however few messages a channel has.
func TestOneCursorForAllChannels(t *testing.T) {
	random := rand.New(rand.NewPCG(newSeed(t), 1))
	for range 5 {
		synctest.Test(t, func(t *testing.T) {
			here, there := newLiveHub(t, 1<<20, nil), newLiveHub(t, 1<<20, nil)
			channels := []string{"a", "a", "b", "c", "d", "e"}[:1+random.IntN(6)]
			publishMixed(random, channels, 1, random.IntN(4), here, there)
			c := here.together(place{}, channels...)
			publishMixed(random, channels, 101, 140, here, there)
			c.want("a new client", "subscribed false,"+numbers(101, 140))
			at, next := place{}, 101
			for i := range c.events {
				at.move(&c.events[i])
				if c.events[i].number > 0 {
					next = c.events[i].number + 1
				}
				if at.Anchor == (relay.Anchor{}) {
					continue
				}
				for _, h := range []*testHub{here, there} {
					again := h.together(at, channels...)
					want := strings.TrimSuffix("subscribed true,"+numbers(next, 140), ",")
					again.want(fmt.Sprintf("a client that resumes before %d", next), want)
					if first := again.events[1]; first.cursor != at.Cursor || first.channel != at.Channel {
						t.Errorf("before %d, the answer has the place %s of %q, want %v", next, first.cursor, first.channel, at.Anchor)
					}
					again.leave()
				}
			}
		})
	}
}

// A client whose places on its channels differ gets a list of them, until it has
// caught up on all of them. It can resume after each message. A channel for
// which it names no place begins with new messages.
func TestPlacesThatDiffer(t *testing.T) {
	random := rand.New(rand.NewPCG(newSeed(t), 1))
	for range 5 {
		synctest.Test(t, func(t *testing.T) {
			h := newLiveHub(t, 1<<20, nil)
			channels := []string{"a", "b", "c", "d"}
			known := place{cursors: cursors{}}
			first := map[string]int{} // missed on each channel
			for i, channel := range channels[:3] {
				publishMixed(random, channels, 10*i+1, 10*i+10, h)
				first[channel] = 10*i + 11
				cursor := h.newCursor(channel)
				known.cursors[channel] = lastCursors{after: cursor}
				if random.IntN(3) == 0 {
					known.cursors[channel] = lastCursors{at: cursor}
				}
			}
			publishMixed(random, channels, 31, 50, h)
			first["d"] = 51
			if random.IntN(2) == 0 {
				h.receiveMarker()
			}
			c := h.together(known, channels...)
			publishMixed(random, channels, 51, 60, h)
			c.receive()
			got, listed, at := maps.Clone(first), 0, known
			for i := range c.events {
				e := &c.events[i]
				if e.places != nil {
					listed++
				}
				if at.move(e); e.kind == "subscribed" && (!e.recovered || e.channel != "" || e.places == nil) {
					t.Errorf("the answer is %v with places %v", e, e.places)
				}
				if e.kind == "message" {
					if e.number < got[e.channel] {
						t.Errorf("received %d of %s again", e.number, e.channel)
					}
					got[e.channel] = e.number + 1
				}
				if i == 0 {
					continue // it does not know yet where d begins
				}
				again := h.together(at, channels...)
				again.receive()
				for _, e := range c.events[i+1:] {
					k := slices.IndexFunc(again.events, func(e event) bool { return e.kind == "message" })
					if e.kind == "message" && (k < 0 || again.events[k].number != e.number) {
						t.Fatalf("a client that resumes after event %d misses %d: %v", i, e.number, again.events)
					} else if e.kind == "message" {
						again.events[k].kind = ""
					}
				}
				if slices.ContainsFunc(again.events, func(e event) bool { return e.kind == "message" || e.kind == "gap" }) {
					t.Errorf("a client that resumes after event %d receives more: %v", i, again.events)
				}
				again.leave()
			}
			if n := len(slices.DeleteFunc(slices.Clone(c.events), func(e event) bool { return e.kind != "message" })); listed < 2 || listed >= n {
				t.Errorf("%d of %d messages have a list", listed, n)
			}
		})
	}
}

// A client is not recovered unless the relay has the message that it names as
// its place, and everything since on all of its channels. Then all channels
// begin with new messages.
func TestAnchors(t *testing.T) {
	change := func(f func(*history.Cursor)) func(*testHub, *place) {
		return func(_ *testHub, p *place) {
			c, _ := history.ParseCursor(p.Cursor)
			f(&c)
			text, _ := c.AppendText(nil)
			p.Cursor = string(text)
		}
	}
	for name, test := range map[string]struct {
		change func(*testHub, *place) // of the place after message 3, the second on a
		want   string
	}{
		"the message itself": {func(*testHub, *place) {}, "subscribed true,4,5"},
		"its marker": {func(_ *testHub, p *place) {
			change(func(c *history.Cursor) { c.Index, c.Check = 0, 0 })(nil, p)
			p.Channel = ""
		}, "subscribed true,1,2,3,4,5"},
		"as a message of another channel":           {func(_ *testHub, p *place) { p.Channel = "b" }, "subscribed false"},
		"of a channel that the client does not ask": {func(_ *testHub, p *place) { p.Channel = "x" }, "subscribed false"},
		"without a channel":                         {func(_ *testHub, p *place) { p.Channel = "" }, "subscribed false"},
		"one message later":                         {change(func(c *history.Cursor) { c.Index++ }), "subscribed false"},
		"one message earlier":                       {change(func(c *history.Cursor) { c.Index-- }), "subscribed false"},
		"another check":                             {change(func(c *history.Cursor) { c.Check ^= 1 }), "subscribed false"},
		"another Redis server":                      {change(func(c *history.Cursor) { c.Node++ }), "subscribed false"},
		"an unknown marker":                         {change(func(c *history.Cursor) { c.Marker[0] ^= 1 }), "subscribed false"},
		"no cursor":                                 {func(_ *testHub, p *place) { p.Cursor = "x" }, "subscribed false"},
		"another channel missed a large message":    {func(h *testHub, _ *place) { h.Oversize([]byte("b")) }, "subscribed false"},
		"the client's other channel missed nothing": {func(h *testHub, _ *place) { h.Oversize([]byte("other")) }, "subscribed true,4,5"},
		"the history has dropped the message":       {func(h *testHub, _ *place) { h.publish("other", 1, 900) }, "subscribed false"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newLiveHub(t, 500_000, nil)
				h.Oversize([]byte("b")) // long ago
				h.receiveMarker()
				c := h.together(place{}, "a", "b", "c")
				h.publish("a", 1, 1)
				h.publish("b", 2, 2)
				h.publish("a", 3, 3)
				c.want("a new client", "subscribed false,1,2,3")
				at := c.place(place{})
				c.leave()
				h.publish("b", 4, 4)
				h.publish("a", 5, 5)
				test.change(h, &at)
				again := h.together(at, "a", "b", "c")
				again.want("a client that resumes", test.want)
				h.publish("c", 6, 6)
				h.publish("a", 7, 7)
				again.want("then", "6,7")
				again.leave()
				h.publish("b", 8, 8)
				h.together(again.place(place{}), "a", "b", "c").want("again", "subscribed true,8")
			})
		})
	}
}

// A heartbeat does not move a client back to a marker before its last message.
func TestHeartbeatDoesNotRewind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newLiveHub(t, 1<<20, nil)
		c, one := h.together(place{}, "a", "b"), h.subscriber("a", "")
		for _, step := range []struct {
			why  string
			do   func()
			want string
		}{
			{"nothing but a marker", func() {}, "subscribed false,heartbeat true"},
			{"a message since the marker", func() { h.publish("b", 1, 1) }, "1,heartbeat false"},
			{"another marker", h.receiveMarker, "heartbeat true"},
			{"a message on another client's channel", func() { h.publish("c", 2, 2) }, "heartbeat true"},
			{"a message after a marker", func() { h.receiveMarker(); h.publish("a", 3, 3) }, "3,heartbeat false"},
		} {
			step.do()
			got := ""
			for !strings.Contains(got, "heartbeat") {
				time.Sleep(time.Second)
				synctest.Wait()
				more, _ := c.received()
				got = strings.Trim(got+","+more, ",")
			}
			if got != step.want {
				t.Errorf("%s: received %s, want %s", step.why, got, step.want)
			}
		}
		c.session.Close(protocol.CloseRestart)
		c.want("the last heartbeat", "heartbeat false,close")
		time.Sleep(25 * time.Second)
		synctest.Wait()
		if got, _ := one.received(); !strings.HasSuffix(got, ",heartbeat true") {
			t.Errorf("a client with a cursor for each channel: %s", got)
		}
	})
}
