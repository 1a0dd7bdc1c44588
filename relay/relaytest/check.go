package relaytest

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// A Session is the log of one connection. The sessions of one Client, in their order in [Run], are one listener that
// came back with its cursors: it may miss nothing and hear nothing twice from one session to the next, unless the relay
// says recovered:false. A test that brings a listener back gives the later session the name of the first.
type Session struct {
	Client   string
	Relay    string // which relay it was; see [Dialer]
	Protocol Protocol
	Channels []string // of a raw client: what it listens to
	GapClose bool     // of a raw client: it asked to be closed instead of losing messages
	Events   []Event
}

// Session returns the log so far, for [Run].
func (c *Client) Session() Session {
	return Session{
		Client: c.name, Relay: c.relay, Protocol: c.protocol, Channels: c.channels, GapClose: c.gapClose, Events: c.Events(),
	}
}

// Rules are the times that a checker allows. Zero fields mean the defaults.
type Rules struct {
	// Lag is how long before a fault, a goodbye or a join a message may have been answered to have to do with it: 5 s. It
	// is the time that a message spends on its way when all is well.
	Lag time.Duration
	// Latency is how long after the answer to its PUBLISH a message may reach a client that reads: 30 s. It is there to
	// notice a relay that is stuck, not to measure.
	Latency time.Duration
	// Heal is how long after a fault was undone the relay may take to be well again: 12 s.
	Heal time.Duration
	// AnyEnd lets sessions end without a fault, where clients and networks are made to fail without being told here.
	AnyEnd bool
	// Resumes bounds how many of those who come back with a cursor must be recovered. Zero bounds nothing.
	Resumes ResumeBounds
}

// A Run is everything that is known of one test of a relay.
type Run struct {
	Rules     Rules
	Published []Publication // of one publisher, or of several on different channels
	// Durable are the channels that are streams, with the length to which each is trimmed, 0 for never.
	Durable  map[string]int
	Sessions []Session
	Faults   []Fault
}

// Check holds a relay to the delivery contract for live channels. It depends on nothing but the run. Sessions that are
// still open must be quiet: every message that they will get is in their log (see [Fleet.AwaitEnd]). The rules:
//
//   - Between a subscribed, a gap and the end of its subscription a session receives every message, once, in the order
//     of PUBLISH, byte for byte; from the subscribed on, whatever was published after it came.
//   - A message may be missing only behind a gap that stands before the next message, that came after the call of
//     PUBLISH, and only if the message was published in the time of a fault. On raw, which has no gaps, the fault is enough.
//   - A message whose PUBLISH failed may come or not, once at most, and at any place.
//   - A message reaches a session that had joined before and reads within [Rules.Latency], except in the time of a fault.
//     (Not where payloads are equal.)
//   - A message comes only to sessions that joined its channel; and not if it was answered [Rules.Lag] before the join.
//   - Every gap and every offline lies in the time of a fault, and is heard as often as the fault expects. After every
//     fault at least one message was published and received.
//   - A session ends only by its client's doing, or in the time of a fault that ends sessions.
//
// Where payloads are equal it asks whether any numbering of what was received follows these rules.
func Check(run Run) Report {
	j := newJudge(run)
	for _, l := range j.listeners() {
		l.judge()
	}
	for _, s := range run.Sessions {
		j.notices(s)
	}
	j.proofs()
	j.bounds()
	j.report.Sessions = len(run.Sessions)
	return j.report
}

// judge holds what all sessions share.
type judge struct {
	run      Run
	lag      time.Duration
	latency  time.Duration
	windows  []window
	channels map[string]*channel
	cursors  map[[2]string]int // by channel and cursor: the place of the message
	report   Report
}

func newJudge(run Run) *judge {
	j := &judge{
		run: run, lag: cmp.Or(run.Rules.Lag, 5*time.Second), latency: cmp.Or(run.Rules.Latency, 30*time.Second),
		channels: make(map[string]*channel), cursors: make(map[[2]string]int),
	}
	j.windows = windows(run.Faults, cmp.Or(run.Rules.Heal, healTime))
	for _, p := range run.Published {
		c := j.channels[p.Channel]
		if c == nil {
			c = &channel{j: j, name: p.Channel, unique: make(map[string]int), faulted: make(map[string][]bool)}
			c.maxLen, c.durable = run.Durable[p.Channel]
			j.channels[p.Channel] = c
		}
		c.add(p)
		if p.Err == nil {
			j.report.Messages++
		}
	}
	return j
}

// channel is what was published on one channel.
type channel struct {
	j       *judge
	name    string
	sent    []Publication     // those that Redis took, in its order; a place is an index here
	unique  map[string]int    // place by payload, where payloads are unique; -1 for one of unknown fate
	faulted map[string][]bool // by relay: a fault there explains the loss of the message at this place
	durable bool
	maxLen  int // of a durable one, 0 if it is not trimmed

	equal  *string // the payload that all others share; nil if payloads are unique
	unsure int     // how many of these are of unknown fate
	told   []int   // how many of the first so many messages tell their number

	heard time.Time // when the newest message that anybody received was published
}

func (c *channel) add(p Publication) {
	switch {
	case p.Equal:
		c.equal = &p.Payload
		if p.Err != nil {
			c.unsure++
		}
	case p.Err != nil:
		c.unique[p.Payload] = -1
	default:
		c.unique[p.Payload] = len(c.sent)
	}
	if p.Err == nil {
		c.sent = append(c.sent, p)
		told := 0
		if len(c.told) == 0 {
			c.told = []int{0}
		}
		if !p.Equal {
			told = 1
		}
		c.told = append(c.told, c.told[len(c.told)-1]+told)
	}
}

// knows reports whether somebody published this payload on the channel.
func (c *channel) knows(payload string) bool {
	_, ok := c.unique[payload]
	return ok || c.equal != nil && payload == *c.equal
}

// inFault reports whether the message at a place was under way in the time of a fault at the relay; the empty name stands
// for any.
func (c *channel) inFault(place int, relay string) bool {
	list, known := c.faulted[relay]
	if !known {
		list = make([]bool, len(c.sent))
		for i, p := range c.sent {
			list[i] = slices.ContainsFunc(c.j.windows, func(w window) bool {
				return w.touches(c.name) && w.concerns(relay) && w.explains(p, c.j.lag)
			})
		}
		c.faulted[relay] = list
	}
	return list[place]
}

// durable reports whether the channel is a stream.
func (j *judge) durable(channel string) bool {
	_, ok := j.run.Durable[channel]
	return ok
}

// during reports whether the moment lies in the time of a fault of the channel and the relay that fits.
func (j *judge) during(t time.Time, channel, relay string, fits func(Fault) bool) bool {
	for _, w := range j.windows {
		if !w.touches(channel) || !w.concerns(relay) || !w.holds(t) {
			continue
		}
		if slices.ContainsFunc(w.faults, fits) {
			return true
		}
	}
	return false
}

// proofs asks whether the run could show that the relay works, and that it lived after each fault.
func (j *judge) proofs() {
	if j.report.Deliveries == 0 {
		j.report.add(Violation{Rule: Unproven, Text: "no client received anything"})
	}
	for _, w := range j.windows {
		fresh := w.to.IsZero() // never undone: nothing to be shown
		for _, c := range j.channels {
			fresh = fresh || w.touches(c.name) && c.heard.After(w.to)
		}
		if !fresh {
			j.report.add(Violation{Rule: Unproven, Channel: w.channel, At: w.to, Text: fmt.Sprintf(
				"no client received anything that was published after %s had healed", w.name())})
		}
	}
}
