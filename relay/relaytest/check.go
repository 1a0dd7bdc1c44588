package relaytest

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"
)

// A Session is the log of one connection. The sessions with one Client, in
// their order in [Run], are one client that reconnected with its cursors: from
// one session to the next it may miss no message and receive none twice, unless
// the relay answers recovered:false.
type Session struct {
	Client   string
	Relay    string // the relay's name; see [Dialer]
	Protocol Protocol
	Channels []string // of a raw client: its subscriptions
	GapClose bool     // of a raw client: it asked to be closed when messages may be missing
	Last     int      // of a raw client: it asked for so many of the newest messages
	Events   []Event
}

// Rules are the tolerances of [Check]. Zero fields mean the defaults.
type Rules struct {
	// Lag is how long a message may be under way when nothing is wrong, 5 s by
	// default: a fault, an unsubscribe or a subscribe can concern messages
	// whose PUBLISH was answered that long before it.
	Lag time.Duration
	// Latency is how long after the answer to its PUBLISH a message may reach a
	// client that reads, 30 s by default. It detects a relay that is stuck; it
	// does not measure performance.
	Latency time.Duration
	// Heal is how long after a fault was undone a relay may need to recover, 12
	// s by default.
	Heal time.Duration
	// AnyEnd allows sessions to end without a fault, for tests that break
	// clients and networks without a [Fault].
	AnyEnd bool
	// AllNewest requires that a client that asks for the newest messages receives
	// as many as were published: the relay has them all.
	AllNewest bool
	// Resumes bounds how many of the clients that resume must be recovered. The
	// zero value bounds nothing.
	Resumes ResumeBounds
}

// A Run has the logs of one test of a relay.
type Run struct {
	Rules     Rules
	Published []Publication // of one publisher, or of several that used different channels
	// Durable has the channels that are streams, with the length to which each
	// is trimmed, 0 if it is never trimmed.
	Durable  map[string]int
	Sessions []Session
	Faults   []Fault
}

// Check checks a relay against the delivery guarantees. The result depends on
// the run only. Sessions that are still open must be complete: every message
// that they will receive is in their log (see [Fleet.AwaitEnd]). The rules are:
//
//   - From a subscribed until the subscription ends, a session receives every
//     message that was published after the subscribed, once, in the order of
//     PUBLISH, byte for byte.
//   - A session that asks for the newest messages receives at most so many from
//     before its subscribe, and with [Rules.AllNewest] not fewer, and then all
//     that follow.
//   - A message may be missing only if a gap precedes the next message, if the
//     gap arrived after the call of PUBLISH, and if the message was published
//     during a fault. On raw, which has no gaps, the fault is sufficient.
//   - A message whose PUBLISH failed may be missing or arrive, once at most and
//     in any place.
//   - A message reaches a session that was subscribed before and reads within
//     [Rules.Latency], except during a fault. (Not checked if payloads are
//     equal.)
//   - A message reaches only sessions that are subscribed to its channel, and
//     does not if it was answered more than [Rules.Lag] before the
//     subscription.
//   - Every gap and every offline arrives during a fault, as often as the fault
//     expects. After every fault at least one message was published and
//     received.
//   - A session ends only if its client ends it, or during a fault that ends
//     sessions.
//   - If a client resumes, nothing is missing and nothing is repeated after
//     recovered:true. After recovered:false messages that were published before
//     that answer may be missing.
//   - A cursor names one message of its channel, whichever relay sends it.
//   - On durable channels no fault excuses a loss, and a gap needs another
//     cause: the entry after the client's position was trimmed.
//
// If payloads are equal, Check looks for any assignment of numbers to the
// received messages that follows these rules.
func Check(run Run) Report {
	c := newChecker(run)
	for _, client := range c.clients() {
		client.check()
	}
	for _, s := range run.Sessions {
		c.checkNotices(s)
	}
	c.checkActivity()
	c.checkResumeBounds()
	c.report.Sessions = len(run.Sessions)
	return c.report
}

// A checker has the state that all sessions of a run share.
type checker struct {
	run      Run
	lag      time.Duration
	latency  time.Duration
	windows  []window
	channels map[string]*channel
	cursors  map[[2]string]int // by channel and cursor: the index of the message
	report   Report
}

func newChecker(run Run) *checker {
	c := &checker{
		run: run, lag: cmp.Or(run.Rules.Lag, 5*time.Second), latency: cmp.Or(run.Rules.Latency, 30*time.Second),
		channels: make(map[string]*channel), cursors: make(map[[2]string]int),
	}
	c.windows = windows(run.Faults, cmp.Or(run.Rules.Heal, healTime))
	for _, p := range run.Published {
		ch := c.channels[p.Channel]
		if ch == nil {
			ch = &channel{checker: c, name: p.Channel, unique: make(map[string]int), faulted: make(map[string][]bool)}
			ch.maxLen, ch.durable = run.Durable[p.Channel]
			c.channels[p.Channel] = ch
		}
		ch.add(p)
		if p.Err == nil {
			c.report.Messages++
		}
	}
	return c
}

// A channel has the publications on one channel.
type channel struct {
	checker *checker
	name    string
	sent    []Publication     // the successful ones, in order
	unique  map[string]int    // index in sent by payload, if it is unique; -1 if its PUBLISH failed
	faulted map[string][]bool // by relay: whether a fault there excuses the loss of each message in sent
	durable bool
	maxLen  int // of a stream; 0 if it is not trimmed

	equal       *string // the payload that the other messages share; nil if payloads are unique
	equalFailed int     // how many of them failed
	uniqueUpTo  []int   // for each n: how many of the first n messages are unique

	newest time.Time // when the newest message that any client received was published
}

func (ch *channel) add(p Publication) {
	switch {
	case p.Equal:
		ch.equal = &p.Payload
		if p.Err != nil {
			ch.equalFailed++
		}
	case p.Err != nil:
		ch.unique[p.Payload] = -1
	default:
		ch.unique[p.Payload] = len(ch.sent)
	}
	if p.Err != nil {
		return
	}
	ch.sent = append(ch.sent, p)
	if len(ch.uniqueUpTo) == 0 {
		ch.uniqueUpTo = []int{0}
	}
	count := ch.uniqueUpTo[len(ch.uniqueUpTo)-1]
	if !p.Equal {
		count++
	}
	ch.uniqueUpTo = append(ch.uniqueUpTo, count)
}

// has reports whether this payload was published on the channel.
func (ch *channel) has(payload string) bool {
	_, ok := ch.unique[payload]
	return ok || ch.equal != nil && payload == *ch.equal
}

// received notes that a client received a message that was published at this
// time.
func (ch *channel) received(published time.Time) {
	if ch.newest.Before(published) {
		ch.newest = published
	}
}

// inFault reports whether message i was under way during a fault at the relay;
// the empty name stands for any relay.
func (ch *channel) inFault(i int, relay string) bool {
	list, known := ch.faulted[relay]
	if !known {
		list = make([]bool, len(ch.sent))
		for i, p := range ch.sent {
			list[i] = slices.ContainsFunc(ch.checker.windows, func(w window) bool {
				return w.touches(ch.name) && w.concerns(relay) && w.explains(p, ch.checker.lag)
			})
		}
		ch.faulted[relay] = list
	}
	return list[i]
}

// durable reports whether the channel is a stream.
func (c *checker) durable(channel string) bool {
	_, ok := c.run.Durable[channel]
	return ok
}

// during reports whether t is during a fault of the channel and the relay for
// which match holds.
func (c *checker) during(t time.Time, channel, relay string, match func(Fault) bool) bool {
	return slices.ContainsFunc(c.windows, func(w window) bool {
		return w.touches(channel) && w.concerns(relay) && w.holds(t) && slices.ContainsFunc(w.faults, match)
	})
}

// owner returns the channel on which a payload was published, if it has a
// stamp.
func (c *checker) owner(payload string) string {
	if _, ok := parseStamp(payload); !ok {
		return ""
	}
	for name, ch := range c.channels {
		if ch.has(payload) {
			return name
		}
	}
	return ""
}

// checkActivity checks that clients received messages at all, and after each
// fault. If they did not, the run proves nothing.
func (c *checker) checkActivity() {
	if c.report.Deliveries == 0 {
		c.report.add(Violation{Rule: Unproven, Text: "no client received a message"})
	}
	for _, w := range c.windows {
		active := w.to.IsZero() // never undone
		for ch := range maps.Values(c.channels) {
			active = active || w.touches(ch.name) && ch.newest.After(w.to)
		}
		if !active {
			c.report.add(Violation{Rule: Unproven, Channel: w.channel, At: w.to, Text: fmt.Sprintf(
				"no client received a message that was published after %s had healed", w.name())})
		}
	}
}
