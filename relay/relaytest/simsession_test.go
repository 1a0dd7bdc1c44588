package relaytest

import "slices"

// A simSession is a relay's end of a connection.
type simSession struct {
	relay  *simRelay
	shard  *simShard
	client *simClient
	conn   *simConn
	over   bool
	subs   map[string]*simSub
	order  []*simSub
	owed   bool     // a gap is to come behind the next message
	kept   *simPost // a message that is to be swapped with the next
}

// A simSub is a subscription on its way, or there.
type simSub struct {
	session *simSession
	channel string
	state   simState
	start   int    // items up to this one are not for it
	pos     simPos // how far the replay has come
	epoch   int    // of the replay
}

type simState uint8

const (
	simAsked   simState = iota
	simWaiting          // for the barrier before a verdict
	simAbsent           // for Redis; answered already
	simReplay
	simLive
	simGone // unsubscribed
)

func (s *simSession) send(e Event) {
	if !s.over {
		s.conn.send(e)
	}
}

func (s *simSession) end() {
	s.over = true
	s.conn.end()
	s.relay.sessions = slices.DeleteFunc(s.relay.sessions, func(other *simSession) bool { return other == s })
}

// heartbeat tells the newest marker that the shard has handed out, unless a subscription is behind it.
func (s *simSession) heartbeat() {
	e := Event{Kind: KindHeartbeat}
	mark := s.shard.mark
	switch {
	case s.relay.w.is("heartbeat overtakes") && mark != "" && s.relay.cur[0] == 'm',
		s.relay.w.is("heartbeat with a local marker") && s.relay.ready && s.relay.cur[0] == 'l':
		mark = s.relay.cur
	}
	behind := slices.ContainsFunc(s.order, func(sub *simSub) bool { return sub.state != simLive || s.shard.flushed < sub.start })
	if mark != "" && (!behind || s.relay.w.is("heartbeat in a replay")) {
		e.Cursor = s.relay.encode(mark, simPos{})
	}
	s.send(e)
}

// evict closes a session that does not read, and lets go of all that waits for it.
func (s *simSession) evict() {
	s.conn.drop()
	if s.relay.w.is("heartbeat behind what was dropped") {
		s.heartbeat()
	}
	s.send(Event{Kind: KindClose, Code: 4408})
	s.end()
}

// take hands an item of a batch to the session.
func (s *simSession) take(p simPost) {
	w := s.relay.w
	switch p.kind {
	case simEpoch:
		switch {
		case w.is("missing gap"), w.is("gap before resubscription"):
		case w.is("late gap"):
			s.owed = true
		default:
			s.send(Event{Kind: KindGap, Text: "redis"})
		}
	case simMessage:
		sub := s.subs[p.channel]
		if sub == nil {
			if w.is("leak") && w.oneIn(200) {
				s.say(p)
			}
			return
		}
		if sub.state == simLive && p.seq > sub.start {
			s.hand(p)
		}
	}
}

// hand sends a message, as far as the relay is not broken.
func (s *simSession) hand(p simPost) {
	w := s.relay.w
	switch {
	case w.is("drop") && w.oneIn(300):
		return
	case w.is("reorder") && s.kept == nil && w.oneIn(100):
		s.kept = &p
		return
	}
	s.say(p)
	if s.kept != nil && s.kept.channel == p.channel {
		s.say(*s.kept)
		s.kept = nil
	}
	if w.is("duplicate") && w.oneIn(300) {
		s.say(p)
	}
	if s.owed {
		s.owed = false
		s.send(Event{Kind: KindGap, Text: "redis"})
	}
}

func (s *simSession) say(p simPost) {
	if p.large {
		if !s.relay.w.is("no gap where one was too large") {
			s.send(Event{Kind: KindGap, Channel: p.channel, Text: "too_large", Cursor: p.cursor})
		}
		return
	}
	s.send(Event{Kind: KindMessage, Channel: p.channel, Data: p.payload, Cursor: p.cursor})
}

// subscribe takes a command.
func (s *simSession) subscribe(wish Wish) {
	sub := &simSub{session: s, channel: wish.Channel}
	s.subs[wish.Channel], s.order = sub, append(s.order, sub)
	switch {
	case !s.relay.ready:
		s.absent(sub)
	case wish.After == "" && wish.At == "":
		s.joinAnswered(sub)
	default:
		s.resume(sub, wish, s.relay.w.is("verdict before the barrier"))
	}
}

// unsubscribe takes a command. Nothing of the channel follows the answer.
func (s *simSession) unsubscribe(channel string) {
	sub := s.subs[channel]
	if sub == nil {
		return
	}
	delete(s.subs, channel)
	s.order = slices.DeleteFunc(s.order, func(other *simSub) bool { return other == sub })
	if sub.state != simReplay || !s.relay.w.is("replay outlives its subscription") {
		sub.state = simGone
	}
	s.send(Event{Kind: KindUnsubscribed, Channel: channel})
}

// absent answers while Redis is away: the subscription begins with the next link.
func (s *simSession) absent(sub *simSub) {
	sub.state = simAbsent
	cursor := s.relay.encode(s.relay.away, simPos{})
	if s.relay.w.is("old cursor while Redis is away") {
		cursor = s.now(sub.channel)
	}
	s.send(Event{Kind: KindSubscribed, Channel: sub.channel, Cursor: cursor})
}

// joinLate begins, where the answer was given before: what came between the gap of this link and now is not for it.
func (s *simSession) joinLate(sub *simSub) {
	if s.over || sub.state != simAbsent {
		return
	}
	if !s.relay.w.is("no gap at a late join") {
		s.send(Event{Kind: KindGap, Channel: sub.channel, Text: "redis", Cursor: s.now(sub.channel)})
	}
	sub.attach(s.relay.seq)
}

// joinAnswered begins with what has not come in yet.
func (s *simSession) joinAnswered(sub *simSub) {
	s.send(Event{Kind: KindSubscribed, Channel: sub.channel, Cursor: s.now(sub.channel)})
	sub.attach(s.relay.seq)
}

func (sub *simSub) attach(start int) { sub.state, sub.start = simLive, start }

// now is the position behind all that has come in.
func (s *simSession) now(channel string) string {
	r := s.relay
	if last := r.of(channel).last; last.ord == r.ord {
		return r.encode(r.cur, last)
	}
	return r.encode(r.cur, simPos{})
}

// resume goes on where the client was, or says that it cannot, once the link has caught up.
func (s *simSession) resume(sub *simSub, wish Wish, caughtUp bool) {
	w := s.relay.w
	p, ok := s.known(sub.channel, wish)
	hasty := w.is("no barrier below the floor") && p.before(s.relay.of(sub.channel).floor)
	switch {
	case s.over:
	case w.is("always a gap") && !caughtUp, !ok && !caughtUp && !hasty:
		sub.state = simWaiting
		s.relay.barrier(func() {
			if sub.state == simWaiting {
				s.resume(sub, wish, true)
			}
		})
	case !ok && w.is("a gap joins at what was handed out"):
		s.joinAnswered(sub)
		sub.attach(s.shard.flushed)
	case !ok, w.is("always a gap"):
		s.joinAnswered(sub)
	default:
		s.recover(sub, p, wish)
	}
}

// known finds the latest position that the client names and everything behind which is here.
func (s *simSession) known(channel string, wish Wish) (best simPos, found bool) {
	r := s.relay
	h := r.of(channel)
	beyond := func(p simPos) bool {
		return p.ord == h.last.ord && p.index > h.last.index || p.ord > h.last.ord && p.index > 0
	}
	for i, cursor := range []string{wish.After, wish.At} {
		p, ok := r.decode(cursor)
		switch {
		case !ok, beyond(p) && r.w.is("a heartbeat stands in for a position not here yet"):
		case !found || best.before(p) || r.w.is("heartbeat rewinds") && i == 1:
			best, found = p, true
		}
	}
	whole := !beyond(best) && (!best.before(h.floor) || r.w.is("floor ignored")) && (h.agrees(best) || r.w.is("check ignored"))
	for _, e := range h.held {
		whole = whole && !(e.large && best.before(e.pos))
	}
	return best, found && whole
}

func (s *simSession) recover(sub *simSub, p simPos, wish Wish) {
	e := Event{Kind: KindSubscribed, Channel: sub.channel, Recovered: true, Cursor: wish.After}
	if at, ok := s.relay.decode(wish.At); ok && at == p {
		e.Cursor = wish.At
	}
	if s.relay.w.is("newest cursor in subscribed") {
		e.Cursor = s.now(sub.channel)
	}
	if s.relay.w.is("resume off by one") {
		p.index++
	}
	if s.relay.w.is("resume off by one, early") && p.index > 0 {
		p.index--
	}
	s.send(e)
	sub.state, sub.pos, sub.epoch = simReplay, p, s.relay.epoch
	s.replay(sub)
}

// replay sends a page. The step that finds nothing newer lets the session in.
func (s *simSession) replay(sub *simSub) {
	if s.over || sub.state != simReplay {
		return
	}
	w, h := s.relay.w, s.relay.of(sub.channel)
	if sub.pos.before(h.floor) && !w.is("floor ignored") || sub.epoch != s.relay.epoch {
		s.send(Event{Kind: KindGap, Channel: sub.channel, Text: "history", Cursor: s.now(sub.channel)})
		sub.attach(s.relay.seq)
		return
	}
	limit := s.relay.seq
	if w.is("replays what was handed out, joins at the end of history") {
		limit = s.shard.flushed
	}
	n := 0
	for _, e := range h.held {
		if !sub.pos.before(e.pos) || e.seq > limit {
			continue
		}
		if n == w.page {
			life := s.relay.lives
			w.after(w.upTo(w.pageEvery), func() {
				if s.relay.lives == life {
					s.replay(sub)
				}
			})
			return
		}
		n++
		sub.pos = e.pos
		if e.large {
			s.send(Event{Kind: KindGap, Channel: sub.channel, Text: "too_large", Cursor: e.cursor})
			continue
		}
		s.send(Event{Kind: KindMessage, Channel: sub.channel, Data: e.payload, Cursor: e.cursor})
	}
	if w.is("replays to the end of history, joins at what was handed out") {
		sub.attach(s.shard.flushed)
		return
	}
	sub.attach(s.relay.seq)
}
