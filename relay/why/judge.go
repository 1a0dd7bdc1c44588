package why

import (
	"slices"
	"time"

	"sidecast/relay/blackbox"
)

// killMargin is how long before the last record of a relay that was killed
// clients may have been slow without a record.
const killMargin = 2500 * time.Millisecond

// A verdict is what happened to a message for a session, and the time and the
// record that explain it.
type verdict struct {
	result Result
	when   time.Time       // of what explains it
	record blackbox.Record // likewise; may be zero
	later  bool            // it was sent when the client caught up
	// deleted says that the client caught up, but that some entries had been
	// deleted by then, or had not arrived at this relay.
	deleted bool
}

// answers reports whether a message is the one to judge for a session. A session
// after a restart of the relay can receive an entry of a durable channel that
// arrived before, or arrived again.
func (c *Case) answers(m *message, s *session) bool {
	return s.boot == m.boot || m.durable && !m.again && !c.recorded[entry{s.boot, m.place}]
}

// judge says what happened to a message for a session.
func (c *Case) judge(m *message, s *session) (best verdict) {
	best.result = NotThere
	consider := func(v verdict) {
		if best.result == NotThere || v.result.certainty() > best.result.certainty() {
			best = v
		}
	}
	for _, sub := range s.subs {
		if s.boot == m.boot && sub.durable == m.durable && m.seq > sub.start && (!sub.ended || m.seq <= sub.end) {
			consider(c.given(m, s))
		}
	}
	for i := range s.replays {
		if s.replays[i].has(m) {
			consider(c.replayed(m, s, i))
		}
	}
	if best.result == NotThere && s.boot == m.boot {
		return c.notGiven(m, s)
	}
	return best
}

// has reports whether a message was sent in the replay, if it still existed.
func (r *replay) has(m *message) bool {
	return !r.other && r.durable == m.durable && m.place != (blackbox.Place{}) && m.place.Compare(r.from) >= 0 && m.place.Compare(r.to) <= 0
}

// given judges a message that the fan-out had for the session.
func (c *Case) given(m *message, s *session) verdict {
	switch {
	case s.own[m.seq]:
		return verdict{result: Own}
	case m.tooLarge:
		return verdict{result: TooLarge}
	case s.end != nil && of(m, s.end.Seq, s.end.StreamSeq) > 0 && c.mixed(m, s.end.StreamSeq):
		return verdict{result: Unconfirmed, when: s.end.At, record: *s.end}
	case s.lost(m):
		return s.dropped()
	case s.end == nil && s.closing != nil && c.mixed(m, s.closing.StreamSeq):
		return verdict{result: Unconfirmed, when: s.closing.At, record: *s.closing}
	case s.end == nil && s.closing != nil && m.seq > of(m, s.closing.Seq, s.closing.StreamSeq):
		return verdict{result: Ended, when: s.closing.At, record: *s.closing}
	case s.end != nil && c.unacknowledged(m, s):
		return verdict{result: Unconfirmed, when: s.end.At, record: *s.end}
	case s.end == nil && c.killed(s.boot) && (m.at.After(c.boots[s.boot].last.Add(-killMargin)) || s.waits(m)):
		return verdict{result: Unconfirmed, when: c.boots[s.boot].last}
	}
	if w := s.waited(m); w != nil {
		return verdict{result: Waited, when: w.to}
	}
	return verdict{result: Sent, when: m.at}
}

// replayed judges a message of replay i.
func (c *Case) replayed(m *message, s *session, i int) verdict {
	r := &s.replays[i]
	switch {
	case s.ownReplayed[m.place]:
		return verdict{result: Own}
	case m.durable && !c.complete(r):
		return verdict{result: Unconfirmed, when: r.at, deleted: true}
	case m.tooLarge:
		return verdict{result: TooLarge, when: r.at}
	case s.end != nil && s.end.LostReplays > 0 && s.end.LostReplays >= s.framesFrom(i):
		return s.dropped()
	case s.end != nil && s.end.LostReplays > s.framesAfter(i):
		return verdict{result: Unconfirmed, when: s.end.At, record: *s.end}
	case s.end != nil && s.end.Unacknowledged > 0 && s.end.Unacknowledged > c.bytesAfter(m, s, i):
		return verdict{result: Unconfirmed, when: s.end.At, record: *s.end}
	case s.end == nil && c.killed(s.boot) && (r.at.After(c.boots[s.boot].last.Add(-killMargin)) || s.isBehind()):
		return verdict{result: Unconfirmed, when: c.boots[s.boot].last}
	}
	return verdict{result: Sent, when: r.at, later: true}
}

// lost reports whether the message was not written before the session ended.
func (s *session) lost(m *message) bool {
	if s.end == nil {
		return false
	}
	first := of(m, s.end.Seq, s.end.StreamSeq)
	return first != 0 && m.seq >= first
}

// mixed reports whether it is not known which was delivered first, the message or
// another one on a durable channel with that number.
func (c *Case) mixed(m *message, seq uint64) bool {
	if !m.durable || m.seq == seq {
		return false
	}
	for _, s := range c.boots[m.boot].swapped {
		if min(m.seq, seq) >= s[0] && max(m.seq, seq) <= s[1] {
			return true
		}
	}
	return false
}

// of returns the number that concerns a message.
func of(m *message, live, durable uint64) uint64 {
	if m.durable {
		return durable
	}
	return live
}

// dropped is the verdict on a message that was not written before the session
// ended.
func (s *session) dropped() verdict {
	if s.end.Evicted {
		return verdict{result: Evicted, when: s.end.At, record: *s.end}
	}
	if s.closing != nil {
		return verdict{result: Ended, when: s.closing.At, record: *s.closing}
	}
	return verdict{result: Ended, when: s.end.At, record: *s.end}
}

// killed reports whether a relay ended without ending its sessions.
func (c *Case) killed(boot uint32) bool { return boot < c.newBoot || !c.live }

// unacknowledged reports whether the message may be among the bytes that the
// client's kernel had not acknowledged when the session ended. Each message
// takes more bytes than its size.
func (c *Case) unacknowledged(m *message, s *session) bool {
	if s.end.Unacknowledged == 0 {
		return false
	}
	after := 0 // bytes
	for i := m.index + 1; i < len(c.messages) && after < s.end.Unacknowledged; i++ {
		n := &c.messages[i]
		if n.boot != m.boot || n.at.After(s.end.At) {
			break
		}
		if n.durable == m.durable && c.wasWritten(n, s) {
			after += n.size
		}
	}
	return after < s.end.Unacknowledged
}

// wasWritten reports whether the fan-out has written a message for the session.
func (c *Case) wasWritten(n *message, s *session) bool { return c.isWritten(n, s, s.subs) }

// isWritten is wasWritten for some subscriptions of the session.
func (c *Case) isWritten(n *message, s *session, subs []*subscription) bool {
	if s.lost(n) || n.tooLarge || s.own[n.seq] {
		return false
	}
	for _, sub := range subs {
		if sub.durable == n.durable && n.seq > sub.start && (!sub.ended || n.seq <= sub.end) {
			return true
		}
	}
	return false
}

// complete reports whether a replay of a durable channel sent all entries that
// arrived, and no others.
func (c *Case) complete(r *replay) bool {
	if c.sums == nil {
		c.sums = newSums(c.entries)
	}
	return r.check == c.sums.check(r.from, r.to)
}

// framesAfter returns how many frames of replays were sent after the step of
// replay i, and framesFrom how many with that step.
func (s *session) framesAfter(i int) (n int) {
	for i++; i < len(s.replays) && s.replays[i].joined; i++ {
	}
	for ; i < len(s.replays); i++ {
		n += s.replays[i].frames
	}
	return n
}

func (s *session) framesFrom(i int) (n int) {
	for i > 0 && s.replays[i].joined {
		i--
	}
	for ; i < len(s.replays); i++ {
		n += s.replays[i].frames
	}
	return n
}

// bytesAfter returns the sizes of the messages that were sent after message m of
// replay i, up to the bytes that were not acknowledged.
func (c *Case) bytesAfter(m *message, s *session, i int) (n int) {
	live := s.subs[s.replays[i].subs:]
	for k := m.index + 1; k < len(c.messages) && n < s.end.Unacknowledged; k++ {
		x := &c.messages[k]
		if x.at.After(s.end.At) {
			break
		}
		if x.durable != m.durable || !x.durable && x.boot != s.boot {
			continue
		}
		written := x.boot == s.boot && c.isWritten(x, s, live)
		if written || !x.again && x.place.Compare(m.place) > 0 && has(s.replays[i:], x) {
			n += x.size
		}
	}
	return n
}

// has reports whether a message was sent in one of the replays.
func has(replays []replay, x *message) bool {
	return slices.ContainsFunc(replays, func(r replay) bool { return r.has(x) })
}

// waited returns the time in which the message may have waited, or nil.
func (s *session) waited(m *message) *slow {
	for i := range s.behind {
		w := &s.behind[i]
		first := of(m, w.seq, w.streamSeq)
		if first != 0 && m.seq >= first && (w.to.IsZero() || !m.at.After(w.to)) {
			return w
		}
	}
	return nil
}

// waits reports whether the message may still have waited at the end of the
// records. Only the first one that waits is recorded, on a live or on a durable
// channel: of the other kind, each one can have waited behind it.
func (s *session) waits(m *message) bool {
	if !s.isBehind() {
		return false
	}
	w := &s.behind[len(s.behind)-1]
	if first := of(m, w.seq, w.streamSeq); first != 0 {
		return m.seq >= first
	}
	return m.at.After(w.from.Add(-killMargin))
}

// isBehind reports whether messages still waited at the end of the records.
func (s *session) isBehind() bool {
	n := len(s.behind)
	return n > 0 && s.behind[n-1].to.IsZero()
}

// notGiven judges a message that was not for the session.
func (c *Case) notGiven(m *message, s *session) verdict {
	if s.end != nil && m.at.After(s.end.At) {
		return verdict{result: Ended, when: s.end.At, record: *s.end}
	}
	if r := s.refusedLast(); r != nil {
		return verdict{result: Refused, when: r.At, record: *r}
	}
	for i := len(s.subs) - 1; i >= 0; i-- {
		sub := s.subs[i]
		switch {
		case sub.durable != m.durable:
		case m.seq <= sub.start && (i == 0 || m.seq > s.subs[i-1].last()):
			return c.late(m, s, sub)
		case sub.ended && m.seq > sub.last():
			return verdict{result: Left, when: sub.endedAt}
		}
	}
	switch {
	case len(s.awaits) == 0 && !s.known:
		return verdict{result: Forgotten}
	case len(s.awaits) == 0:
		return verdict{result: NotThere}
	case s.end != nil:
		return verdict{result: Ended, when: s.end.At, record: *s.end}
	}
	return verdict{result: Pending, when: s.awaits[0]}
}

// refusedLast returns the last refusal, if the client had no subscription then
// and got none later.
func (s *session) refusedLast() *blackbox.Record {
	if len(s.refused) == 0 {
		return nil
	}
	r := &s.refused[len(s.refused)-1]
	if n := len(s.subs); n > 0 && (!s.subs[n-1].ended || s.subs[n-1].endedAt.After(r.At)) {
		return nil
	}
	return r
}

// last returns the number of the last message that a subscription which has
// ended could receive. On a durable channel of which nothing was delivered
// meanwhile, it is the one before the first.
func (s *subscription) last() uint64 { return max(s.start, s.end) }

// late is the verdict on a message that came before a subscription.
func (c *Case) late(m *message, s *session, sub *subscription) verdict {
	v := verdict{result: Late, when: sub.begun}
	for i := range s.gaps {
		if g := &s.gaps[i]; !g.At.After(sub.begun) || sub.begun.IsZero() {
			v.record = *g
		}
	}
	return v
}
