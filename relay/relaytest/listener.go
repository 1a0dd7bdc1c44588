package relaytest

import (
	"fmt"
	"maps"
	"slices"
	"time"
)

// listener is one client, over all its sessions, as the checker sees it.
type listener struct {
	j        *judge
	name     string
	sessions []Session
	tracks   map[string]*track // by channel
}

// track is what one client heard on one channel, in the order of its log.
type track struct {
	l       *listener
	name    string
	channel *channel // nil if nobody published there
	items   []item
	deaf    bool // it speaks raw: a fault needs no gap

	joined bool
	relay  string    // where the last subscription was
	live   time.Time // when the last subscription was confirmed
	asked  time.Time // when the last subscribe was sent; zero if with a cursor
	left   time.Time // when the last subscription ended, zero before the first

	resuming  bool // the last subscribe was sent with a cursor
	replaying bool // the relay said that it could go on from there
	crossed   bool // which another relay had given
}

// item is a message, or a boundary behind which messages may be missing.
type item struct {
	message  Event
	live     time.Time // of a message: what was published after this must come in time; zero if nothing must
	boundary *boundary
}

// boundary excuses the loss of messages between the last one before it and the first one behind it.
type boundary struct {
	relay   string
	gap     bool // a declared gap; else a time without a subscription
	history bool // of a gap: what was to be replayed is not there any more
	resumed bool // the subscription began with a cursor, and the relay could not go on from there
	crossed bool // and was not the relay that gave the cursor

	from time.Time // when the subscription before ended; zero for none
	to   time.Time // when the gap was heard or the subscription confirmed; zero if there is none any more
	ask  time.Time // when the new subscription was asked for; zero if it may bring older messages
}

// excuses reports whether the message at this place of the channel may be missing here.
func (b boundary) excuses(c *channel, place int, lag time.Duration) bool {
	p := c.sent[place]
	if after(p.Before, b.to) {
		return false
	}
	if b.gap {
		return b.history || c.durable || c.inFault(place, b.relay) // whether a durable one had a cause is asked elsewhere
	}
	return b.from.IsZero() || p.After.Add(lag).After(b.from)
}

// pending reports whether a fault that lasts explains the loss of the message at this place: the gap is not due before
// the fault is undone.
func (t *track) pending(place int) bool {
	for _, w := range t.l.j.windows {
		if w.to.IsZero() && w.touches(t.name) && w.explains(t.channel.sent[place], t.l.j.lag) {
			return true
		}
	}
	return false
}

// stale reports whether the message is too old to come to the subscription that begins here.
func (b boundary) stale(c *channel, place int, lag time.Duration) bool {
	return !b.gap && !b.ask.IsZero() && !c.inFault(place, "") && c.sent[place].After.Add(lag).Before(b.ask)
}

// listeners groups the sessions by client, in the order of their first sessions.
func (j *judge) listeners() []*listener {
	var list []*listener
	byName := make(map[string]*listener)
	for _, s := range j.run.Sessions {
		l := byName[s.Client]
		if l == nil {
			l = &listener{j: j, name: s.Client, tracks: make(map[string]*track)}
			byName[s.Client] = l
			list = append(list, l)
		}
		l.sessions = append(l.sessions, s)
	}
	return list
}

func (l *listener) judge() {
	for _, s := range l.sessions {
		(&reading{listener: l, session: s}).read()
	}
	for _, name := range slices.Sorted(maps.Keys(l.tracks)) {
		t := l.tracks[name]
		if !t.joined && !t.left.IsZero() {
			t.bound(boundary{from: t.left})
		}
		switch {
		case t.channel == nil, !t.joined && t.left.IsZero(): // nobody published, or the client never listened
		case t.channel.equal != nil:
			t.judgeEqual()
		default:
			t.judgeSequence()
		}
	}
}

func (l *listener) track(channel string) *track {
	t := l.tracks[channel]
	if t == nil {
		t = &track{l: l, name: channel, channel: l.j.channels[channel]}
		l.tracks[channel] = t
	}
	return t
}

func (t *track) bound(b boundary) { t.items = append(t.items, item{boundary: &b}) }

// join begins a subscription. Nobody listened between the last one's end and now, unless the relay says that it makes up
// for that.
func (t *track) join(e Event, relay string) {
	if t.joined {
		return // subscribing twice changes nothing
	}
	b := boundary{relay: relay, to: e.sent(), resumed: t.resuming, crossed: t.relay != "" && t.relay != relay}
	switch {
	case e.Recovered && t.left.IsZero(): // its cursor is from elsewhere
		t.bound(b)
	case !e.Recovered:
		b.from, b.ask = t.lastWell(), t.asked
		t.bound(b)
	case t.resuming:
		t.tally(b.crossed).Recovered++
	}
	t.joined, t.live, t.relay = true, e.At, relay
	t.replaying, t.crossed = t.resuming && e.Recovered && !t.left.IsZero(), b.crossed
}

// lastWell is when somebody who left last had what was published before: when he left, or when the fault began during
// which he did. Zero stands for not known: in a replay a listener is behind.
func (t *track) lastWell() time.Time {
	if t.replaying && t.left.Sub(t.live) < replayTime {
		return time.Time{}
	}
	well := t.left
	for _, w := range t.l.j.windows {
		if !t.left.IsZero() && w.touches(t.name) && w.concerns(t.relay) && w.holds(t.left) && w.from.Before(well) {
			well = w.from
		}
	}
	return well
}

// replayTime is how long a replay may take.
const replayTime = 15 * time.Second

func (t *track) leave(when time.Time) {
	if t.joined {
		t.joined, t.left = false, when
	}
}

func (t *track) fault(rule Rule, at time.Time, format string, args ...any) {
	t.l.j.report.add(Violation{Rule: rule, Client: t.l.name, Channel: t.name, At: at, Text: fmt.Sprintf(format, args...)})
}

// receive takes a message in, if it is one of this channel's. A client that was unwell cannot say what came in time.
func (t *track) receive(e Event, unwell bool) {
	if t.channel != nil && t.channel.knows(e.Data) {
		it := item{message: e, live: t.live}
		if unwell {
			it.live = time.Time{}
		}
		t.items = append(t.items, it)
		return
	}
	if owner := t.l.j.owner(e.Data); owner != "" {
		t.fault(Leak, e.At, "a payload of %q: %s", owner, describe(e.Data))
		return
	}
	t.fault(Corrupt, e.At, "%s", describe(e.Data))
}

// owner returns the channel on which a payload was published, if it is unmistakable.
func (j *judge) owner(payload string) string {
	if _, ok := ParseStamp(payload); !ok {
		return ""
	}
	for name, c := range j.channels {
		if c.knows(payload) {
			return name
		}
	}
	return ""
}

// candidates returns the tracks of a raw session whose channel knows the payload: a raw frame does not name its channel.
func (l *listener) candidates(s Session, payload string) []*track {
	var list []*track
	for _, name := range s.Channels {
		if t := l.track(name); t.channel != nil && t.channel.knows(payload) && !slices.Contains(list, t) {
			list = append(list, t)
		}
	}
	return list
}
