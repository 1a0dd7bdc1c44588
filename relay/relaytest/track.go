package relaytest

import (
	"fmt"
	"maps"
	"slices"
	"time"
)

// A clientChecker checks one client, with all its sessions.
type clientChecker struct {
	*checker
	name     string
	sessions []Session
	tracks   map[string]*track // by channel
}

// A track is what one client received on one channel, in the order of its log.
type track struct {
	client  *clientChecker
	name    string
	channel *channel // nil if nothing was published there
	items   []item
	noGaps  bool // the protocol is raw: a loss during a fault needs no gap

	subscribed bool
	relay      string    // of the last subscription
	confirmed  time.Time // when the last subscription was confirmed
	requested  time.Time // when the last subscribe was sent; zero if it had a cursor or an id
	newest     int       // of how many of the newest messages it asked for, without these
	left       time.Time // when the last subscription ended, zero before the first

	resuming  bool // the last subscribe had a cursor
	replaying bool // the relay answered recovered:true
	older     bool // the relay sends older messages first, until the subscription is live
	crossed   bool // another relay had sent the cursor
}

// An item is a message, or a boundary at which messages may be missing.
type item struct {
	message  Event
	since    time.Time // of a message: the messages published after this must arrive in time; zero if none has to
	boundary *boundary
}

// A boundary excuses the loss of messages between the last one before it and
// the first one after it.
type boundary struct {
	relay   string
	gap     bool // a gap; otherwise a time without a subscription
	history bool // of a gap: the relay had removed messages that it was going to replay
	resumed bool // the subscribe had a cursor, and the relay did not recover
	crossed bool // and another relay had sent the cursor

	from time.Time // when the subscription before ended; zero before the first
	to   time.Time // when the gap was sent or the subscription confirmed; zero if it never is
	ask  time.Time // when the new subscription was requested; zero if older messages may arrive

	newest int // so many older messages may arrive
}

// excuses reports whether message i of the channel may be missing here.
func (b boundary) excuses(ch *channel, i int) bool {
	p := ch.sent[i]
	if after(p.Before, b.to) {
		return false
	}
	if b.gap {
		return b.history || ch.durable || ch.inFault(i, b.relay) // for streams, checkBoundary checks the cause
	}
	return b.from.IsZero() || p.After.Add(ch.checker.lag).After(b.from)
}

// stale reports whether message i is too old to arrive on the subscription that
// begins here.
func (b boundary) stale(ch *channel, i int) bool {
	if b.gap || b.ask.IsZero() || ch.inFault(i, "") {
		return false
	}
	k := i + b.newest // the last message that makes this one too old
	return k < len(ch.sent) && ch.sent[k].After.Add(ch.checker.lag).Before(b.ask)
}

// tooFew reports whether message i is too new to be the first one on the
// subscription that begins here.
func (b boundary) tooFew(ch *channel, i int) bool {
	return b.newest > 0 && ch.checker.run.Rules.AllNewest && i > max(ch.publishedBy(b.to)-b.newest, 0)
}

// clients groups the sessions by client, in the order of their first sessions.
func (c *checker) clients() []*clientChecker {
	var list []*clientChecker
	byName := make(map[string]*clientChecker)
	for _, s := range c.run.Sessions {
		client := byName[s.Client]
		if client == nil {
			client = &clientChecker{checker: c, name: s.Client, tracks: make(map[string]*track)}
			byName[s.Client] = client
			list = append(list, client)
		}
		client.sessions = append(client.sessions, s)
	}
	return list
}

func (c *clientChecker) check() {
	for _, s := range c.sessions {
		(&sessionReader{clientChecker: c, session: s}).read()
	}
	for _, name := range slices.Sorted(maps.Keys(c.tracks)) {
		t := c.tracks[name]
		if !t.subscribed && !t.left.IsZero() {
			t.bound(boundary{from: t.receivedUntil()})
		}
		switch {
		case t.channel == nil, !t.subscribed && t.left.IsZero(): // nothing was published, or there was no subscription
		case t.channel.equal != nil:
			t.checkEqual()
		default:
			t.checkSequence()
		}
	}
}

func (c *clientChecker) track(channel string) *track {
	t := c.tracks[channel]
	if t == nil {
		t = &track{client: c, name: channel, channel: c.channels[channel]}
		c.tracks[channel] = t
	}
	return t
}

// candidates returns the tracks of a raw session on whose channel the payload
// was published: a raw frame does not name its channel.
func (c *clientChecker) candidates(s Session, payload string) []*track {
	var list []*track
	for _, name := range s.Channels {
		if t := c.track(name); t.channel != nil && t.channel.has(payload) && !slices.Contains(list, t) {
			list = append(list, t)
		}
	}
	return list
}

func (t *track) violation(rule Rule, at time.Time, format string, args ...any) {
	t.client.report.add(Violation{Rule: rule, Client: t.client.name, Channel: t.name, At: at, Text: fmt.Sprintf(format, args...)})
}

func (t *track) bound(b boundary) { t.items = append(t.items, item{boundary: &b}) }

// request processes a subscribe. If it has a cursor or an id, old messages may
// arrive.
func (t *track) request(e Event) {
	t.requested, t.resuming, t.newest = e.At, e.Cursor != "" || e.Data != "", e.Last
	if t.resuming || e.Since != "" {
		t.requested, t.newest = time.Time{}, 0
	}
}

// join processes a subscribed. If the relay does not recover, messages since
// the last subscription may be missing.
func (t *track) join(e Event, relay string) {
	if t.subscribed {
		return // a second subscribe changes nothing
	}
	b := boundary{relay: relay, to: e.sent(), resumed: t.resuming, crossed: t.relay != "" && t.relay != relay}
	switch {
	case e.Recovered && t.left.IsZero(): // the run does not have the session of its cursor
		t.bound(b)
	case !e.Recovered:
		b.from, b.ask, b.newest = t.completeUntil(), t.requested, t.newest
		t.bound(b)
	case t.resuming:
		t.resumes(b.crossed).Recovered++
	}
	t.subscribed, t.confirmed, t.relay = true, e.At, relay
	t.older = e.Recovered || t.newest > 0
	t.replaying, t.crossed = t.resuming && e.Recovered && !t.left.IsZero(), b.crossed
}

// completeUntil returns a time: the client must have received everything that
// was published before it. This is the end of the last subscription, or the
// beginning of the fault during which it ended. Zero means unknown, because the
// replay may not have ended.
func (t *track) completeUntil() time.Time {
	until := t.receivedUntil()
	for _, w := range t.client.windows {
		if !t.left.IsZero() && w.touches(t.name) && w.concerns(t.relay) && w.holds(t.left) && w.from.Before(until) {
			until = w.from
		}
	}
	return until
}

// receivedUntil is completeUntil without regard to faults.
func (t *track) receivedUntil() time.Time {
	if t.older && t.left.Sub(t.confirmed) < replayTime {
		return time.Time{}
	}
	return t.left
}

// replayTime is the longest time that a replay may take.
const replayTime = 15 * time.Second

func (t *track) leave(when time.Time) {
	if t.subscribed {
		t.subscribed, t.left = false, when
	}
}

// receive processes a message. If inTime is false, it may be late.
func (t *track) receive(e Event, inTime bool) {
	if t.channel != nil && t.channel.has(e.Data) {
		it := item{message: e}
		if inTime {
			it.since = t.confirmed
		}
		t.items = append(t.items, it)
		return
	}
	if owner := t.client.owner(e.Data); owner != "" {
		t.violation(Leak, e.At, "a payload of %q: %s", owner, describe(e.Data))
		return
	}
	t.violation(Corrupt, e.At, "%s", describe(e.Data))
}

// gap processes a gap. A gap during the replay of a live channel counts as
// recovered:false.
func (t *track) gap(e Event, relay string) {
	b := boundary{gap: true, to: e.sent(), relay: relay}
	if e.Text == gapHistory && e.Channel != "" && t.replaying && !t.client.durable(t.name) {
		b.history, b.resumed, b.crossed = true, true, t.crossed
		t.resumes(t.crossed).Recovered--
		t.replaying = false
	}
	t.bound(b)
}

// gapHistory is the reason of a gap during a replay.
const gapHistory = "history"

// pending reports whether a fault that was not undone excuses the loss of
// message i: its gap is not due yet.
func (t *track) pending(i int) bool {
	for _, w := range t.client.windows {
		if w.to.IsZero() && w.touches(t.name) && w.explains(t.channel.sent[i], t.client.lag) {
			return true
		}
	}
	return false
}

// checkBoundary counts a resume that ended in a gap, and checks the cause of a
// durable channel's gap. The client is known to be at message position.
func (t *track) checkBoundary(b boundary, position int) {
	published := t.channel.publishedBy(b.to)
	if b.resumed {
		r := t.resumes(b.crossed)
		r.Gaps++
		if published <= position {
			r.FalseGaps++
		}
	}
	trimmed := t.channel.maxLen > 0 && published-position >= t.channel.maxLen
	if t.channel.durable && (b.gap || b.resumed) && !trimmed {
		t.violation(CauselessGap, b.to, "the stream still had the client's last entry and the %d entries after it", published-position)
	}
}

// checkCursor checks that a cursor names one message of its channel, whichever
// relay sends it to whichever client.
func (t *track) checkCursor(e Event, i int) {
	if e.Cursor == "" {
		return
	}
	key := [2]string{t.name, e.Cursor}
	first, known := t.client.cursors[key]
	if !known {
		t.client.cursors[key] = i
		return
	}
	if first != i {
		sent := t.channel.sent
		t.violation(BadCursor, e.At, "%s is the cursor of seq %d and of seq %d", e.Cursor, sent[first].Seq, sent[i].Seq)
	}
}
