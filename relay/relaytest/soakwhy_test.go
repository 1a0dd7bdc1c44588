//go:build unix

package relaytest

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"sidecast/relay/blackbox"
	"sidecast/relay/why"
)

// soakPairs is how many pairs of a message and a session a run compares at
// least.
const soakPairs = 100_000

// awaitPairs waits until there are so many messages and sessions that there will
// be enough pairs, on a slow machine, too.
func (w *soakWorld) awaitPairs() {
	for over := time.Now().Add(4 * Patience); time.Now().Before(over); w.wait(100 * time.Millisecond) {
		messages := len(w.distinct.Log())
		if !w.equal {
			messages += len(w.publisher.Log())
		}
		if int64(messages)*w.connected.Load() > soakPairs*5/2 {
			return
		}
	}
}

// checkWhy compares the answers of the black boxes of the relays, for each message
// and each session, with the log of the session's client.
func (w *soakWorld) checkWhy(run Run) *whyCounts {
	counts := newWhyCounts()
	orders := w.orders()
	ends := w.connectionEnds(run.Sessions, orders)
	for _, r := range w.relays {
		seen := make(map[string]bool)
		for channel, order := range orders {
			box, err := blackbox.ReadFile(r.box)
			if err != nil {
				w.t.Fatal(err)
			}
			c := whyChecker{w: w, relay: r, channel: channel, order: order, ends: ends, counts: counts, seen: seen}
			c.check(why.NewCase(box, why.Question{Channel: channel}))
		}
		for id, end := range ends {
			if strings.HasPrefix(end.relay, fmt.Sprintf("r%d.", r.index)) && len(end.got) > 0 && !seen[id] {
				w.t.Errorf("seed %d: the black box of relay %d does not know session %s of %s", w.seed, r.index, id, end.relay)
			}
		}
	}
	w.t.Logf("seed %d: why: %v", w.seed, counts)
	counts.check(w.t)
	return counts
}

// A connectionEnd has the messages that the client of one session has received.
type connectionEnd struct {
	client, relay string
	killed        bool // the relay was
	broken        bool // the test has ended the connection, or broken its network
	got           map[string]map[int]bool
	last          map[string]int // the last message that was read, by channel
}

// connectionEnds returns those of the sessions of sidecast.v1, by id. Clients of
// sidecast.raw do not learn theirs.
func (w *soakWorld) connectionEnds(sessions []Session, orders map[string]*order) map[string]*connectionEnd {
	ends := make(map[string]*connectionEnd)
	for _, s := range sessions {
		end := &connectionEnd{
			client: s.Client, relay: s.Relay, killed: w.killed[s.Relay],
			got: make(map[string]map[int]bool), last: make(map[string]int),
		}
		for _, e := range s.Events {
			end.add(e, orders, ends)
		}
	}
	return ends
}

// add adds an event of the client's log.
func (c *connectionEnd) add(e Event, orders map[string]*order, ends map[string]*connectionEnd) {
	switch e.Kind {
	case KindWelcome:
		ends[e.Text] = c
	case KindAborted:
		c.broken = true
	case KindMessage:
		o := orders[e.Channel]
		if o == nil {
			return
		}
		n, ok := o.numbers[e.Data]
		if !ok {
			return // Check reports it
		}
		if c.got[e.Channel] == nil {
			c.got[e.Channel] = make(map[int]bool)
		}
		c.got[e.Channel][n] = true
		c.last[e.Channel] = max(c.last[e.Channel], n)
	}
}

// An order is that of the messages on a channel, which have numbers from 1.
type order struct {
	numbers map[string]int         // by payload
	sizes   []int                  // on a live channel: of message 1, 2, ...
	ids     map[blackbox.Place]int // on a durable channel: the numbers
}

func newOrder() *order {
	return &order{numbers: make(map[string]int), ids: make(map[blackbox.Place]int)}
}

// orders returns those of all channels whose payloads are not equal.
func (w *soakWorld) orders() map[string]*order {
	orders := make(map[string]*order)
	log := w.distinct.Log()
	if !w.equal {
		log = append(log, w.publisher.Log()...)
	}
	for _, p := range log {
		o := orders[p.Channel]
		if o == nil {
			o = newOrder()
			orders[p.Channel] = o
		}
		o.sizes = append(o.sizes, len(p.Payload))
		o.numbers[p.Payload] = len(o.sizes)
	}
	for _, channel := range w.channels(true) {
		orders[channel] = w.entries(channel)
	}
	return orders
}

// entries returns the order of the entries of a stream.
func (w *soakWorld) entries(channel string) *order {
	o := newOrder()
	list, err := w.redis.XRange(w.t.Context(), channel, "-", "+").Result()
	if err != nil {
		w.t.Fatalf("seed %d: reading the stream %q: %v", w.seed, channel, err)
	}
	for i, entry := range list {
		var id blackbox.Place
		if _, err := fmt.Sscanf(entry.ID, "%d-%d", &id.Major, &id.Minor); err != nil {
			w.t.Fatal(err)
		}
		data, _ := entry.Values["data"].(string)
		o.ids[id], o.numbers[data] = i+1, i+1
	}
	return o
}

// find returns the number of a message that a relay has recorded, the first one
// after a number, or 0.
func (o *order) find(m why.Message, after int) int {
	if o.sizes == nil {
		return o.ids[m.Place]
	}
	for n := after + 1; n <= len(o.sizes); n++ {
		if o.sizes[n-1] == m.Size {
			return n
		}
	}
	return 0
}

// A whyChecker compares the records of one relay on one channel.
type whyChecker struct {
	w       *soakWorld
	relay   *soakRelay
	channel string
	order   *order
	ends    map[string]*connectionEnd
	counts  *whyCounts
	seen    map[string]bool // sessions
}

func (c *whyChecker) check(records *why.Case) {
	index, n := -1, 0
	records.Each(func(m why.Message, session string, result why.Result) {
		if m.Index != index {
			index = m.Index
			if found := c.order.find(m, n); found > 0 {
				n = found
			} else {
				c.errorf("record %d, at %v with %d bytes, is of no message", m.Index, m.Place, m.Size)
			}
		}
		c.seen[session] = true
		end := c.ends[session]
		if end != nil && !c.counts.compare(end, c.channel, n, result) && c.counts.wrong <= 10 {
			c.errorf("message %d is %s for session %s at %s; %s has received it: %v, and as the last one %d; the test has broken the connection: %v",
				n, result, session, end.relay, end.client, end.got[c.channel][n], end.last[c.channel], end.broken)
		}
	})
}

func (c *whyChecker) errorf(format string, args ...any) {
	c.w.t.Errorf("seed %d: black box of relay %d on %s: %s", c.w.seed, c.relay.index, c.channel, fmt.Sprintf(format, args...))
}

// whyCounts counts pairs of a message and a session.
type whyCounts struct {
	mu         sync.Mutex // for add
	pairs      int
	results    map[why.Result]int
	subscribed int // the session was to receive the message
	wrong      int
	either     int // sent on a connection that the test has broken, and not read
	beforeKill int // sent by a relay that was killed later, and received

	// Of the unconfirmed ones:
	atKill  int // the relay was killed, and nothing else
	arrived int // the client has received it
	lost    int // it has not
}

func newWhyCounts() *whyCounts { return &whyCounts{results: make(map[why.Result]int)} }

// compare compares the answer about message n with the log of the client, and
// reports whether it is right. If the test has broken the connection, messages
// that were sent can be lost on the way: those after the last one that the client
// has read.
func (c *whyCounts) compare(end *connectionEnd, channel string, n int, result why.Result) bool {
	sent, got := result == why.Sent || result == why.Waited, end.got[channel][n]
	c.pairs++
	c.results[result]++
	if sent || result == why.Evicted || result == why.Unconfirmed {
		c.subscribed++
	}
	switch {
	case result == why.Unconfirmed:
		c.unconfirmed(end, got)
	case sent && !got && end.broken && n > end.last[channel]:
		c.either++
	case sent != got:
		c.wrong++
		return false
	case sent && end.killed:
		c.beforeKill++
	}
	return true
}

func (c *whyCounts) unconfirmed(end *connectionEnd, got bool) {
	switch {
	case end.killed && !end.broken:
		c.atKill++
	case got:
		c.arrived++
	default:
		c.lost++
	}
}

// add adds the counts of a run.
func (c *whyCounts) add(run *whyCounts) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pairs += run.pairs
	c.subscribed += run.subscribed
	c.wrong += run.wrong
	c.either += run.either
	c.beforeKill += run.beforeKill
	c.atKill += run.atKill
	c.arrived += run.arrived
	c.lost += run.lost
	for result, n := range run.results {
		c.results[result] += n
	}
}

func (c *whyCounts) String() string {
	return fmt.Sprintf("%d pairs: %v; %d disagree; of %d that were to be received %d were sent on a connection that was broken then, and %d are unconfirmed "+
		"(%d at a kill -9; of the others %d arrived and %d did not); %d were sent by a relay that was killed later",
		c.pairs, c.results, c.wrong, c.subscribed, c.either, c.results[why.Unconfirmed], c.atKill, c.arrived,
		c.lost, c.beforeKill)
}

// check checks that a run has enough pairs, and that its black boxes leave few
// answers open, without those at a kill -9, which depend on when that was.
func (c *whyCounts) check(t *testing.T) {
	if c.pairs < soakPairs {
		t.Errorf("only %d pairs", c.pairs)
	}
	if open := c.open(); open*3 > c.subscribed {
		t.Errorf("%d of %d answers are left open", open, c.subscribed)
	}
}

// checkAll checks the counts of all runs, if they are enough for closer bounds.
func (c *whyCounts) checkAll(t *testing.T) {
	if c.subscribed < soakPairs {
		return
	}
	if open := c.open(); open*6 > c.subscribed || c.arrived*10 > c.subscribed {
		t.Errorf("%d of %d answers are left open, %d of these although the message has arrived", open, c.subscribed, c.arrived)
	}
	if c.beforeKill == 0 && selected(relayKill) {
		t.Error("no relay was killed after it had sent something")
	}
}

func (c *whyCounts) open() int { return c.either + c.lost + c.arrived }

// A wrong answer is found, also about a connection that the test has broken.
func TestSoakWhy(t *testing.T) {
	for _, c := range []struct {
		result       why.Result
		got          bool
		last         int // the last one that was read; the message is 5
		broken, kill bool
		right        bool
	}{
		{result: why.Sent, got: true, last: 5, right: true},
		{result: why.Waited, got: true, last: 7, right: true},
		{result: why.Sent, last: 4},
		{result: why.Sent, last: 4, kill: true},
		{result: why.Sent, last: 4, broken: true, right: true}, // lost on the way
		{result: why.Sent, last: 6, broken: true},              // the client has read the next one
		{result: why.Late, last: 6, right: true},
		{result: why.Late, got: true, last: 6},
		{result: why.Ended, got: true, last: 5, broken: true},
		{result: why.Evicted, got: true, last: 5, broken: true, kill: true},
		{result: why.NotThere, right: true},
		{result: why.Unconfirmed, got: true, last: 5, right: true},
		{result: why.Unconfirmed, last: 4, right: true},
	} {
		end := &connectionEnd{
			broken: c.broken, killed: c.kill,
			got: map[string]map[int]bool{"a": {5: c.got}}, last: map[string]int{"a": c.last},
		}
		if counts := newWhyCounts(); counts.compare(end, "a", 5, c.result) != c.right || counts.pairs != 1 || counts.wrong == 0 != c.right {
			t.Errorf("%+v: %v", c, counts)
		}
	}
}
