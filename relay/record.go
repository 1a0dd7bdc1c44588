package relay

import (
	"sidecast/relay/blackbox"
	"sidecast/relay/history"
	"sidecast/relay/outbox"
	"sidecast/relay/protocol"
	"sidecast/relay/stream"
)

// reached are the numbers of the last items that a shard has delivered: every
// earlier one was delivered too.
type reached struct{ live, durable uint64 }

// all records that items were delivered.
func (r *reached) all(items []item) {
	for i := range items {
		switch it := &items[i]; {
		case it.kind != itemMessage && it.kind != itemGap:
		case it.durable:
			r.durable = max(r.durable, it.seq)
		default:
			r.live = max(r.live, it.seq)
		}
	}
}

// of returns the number that concerns a subscription.
func (r *reached) of(sub *Subscription) uint64 {
	if sub.reader != nil {
		return r.durable
	}
	return r.live
}

// record records a message that was numbered. The hub is locked.
func (l *ledger) record(in *incoming) {
	if l.box == nil {
		return
	}
	m := blackbox.Message{Seq: uint64(l.history.Seq), Size: len(in.payload), TooLarge: in.large}
	if in.channel == nil {
		l.box.Message(nil, in.name, m)
		return
	}
	f := &in.channel.Hub
	for _, n := range f.protocols {
		m.Heard += int(n)
	}
	if l.history.On() {
		m.At = place(in.channel.At())
	}
	l.box.Message(&f.name, in.name, m)
}

// place returns a point of a live channel for the black box.
func place(p history.Point) blackbox.Place { return blackbox.Place{Major: p.Ord, Minor: p.Index} }

// entryPlace returns that of an entry of a stream.
func entryPlace(id stream.ID) blackbox.Place { return blackbox.Place{Major: id.Ms, Minor: id.Seq} }

// recordEntries records entries of a durable channel. The hub is not locked.
func (h *Hub) recordEntries(ch *channel, first stream.Seq, entries []*stream.Held, to stream.Audience) {
	if h.cfg.BlackBox == nil {
		return
	}
	h.enter()
	defer h.leave()
	heard := 0
	for _, n := range to.Protocols {
		heard += int(n)
	}
	for i, e := range entries {
		h.cfg.BlackBox.Entry(&ch.Hub.name, ch.Name(), blackbox.Message{
			Seq: uint64(first) + uint64(i), At: entryPlace(e.Cursor.ID), Size: len(e.Payload), Heard: heard, TooLarge: e.TooLarge,
		})
	}
}

// recordAwait records that subscriptions wait for messages of the past. The hub
// is not locked.
func (h *Hub) recordAwait(subs []*Subscription) {
	if h.cfg.BlackBox == nil {
		return
	}
	h.enter()
	defer h.leave()
	for _, sub := range subs {
		h.cfg.BlackBox.Await(sub.session.number, &sub.channel.Hub.name, sub.channel.Name(), sub.reader != nil)
	}
}

// recordLeave records that a subscription has ended, unless its session has. The
// shard and the hub are locked.
func (h *Hub) recordLeave(sub *Subscription) {
	if s := sub.session; !s.ended {
		h.cfg.BlackBox.Leave(s.number, &sub.channel.Hub.name, sub.channel.Name(), sub.reader != nil, s.shard.reached.of(sub))
	}
}

// recorded returns what the black box knows of the session.
func (s *Session) recorded() blackbox.Client {
	return blackbox.Client{
		ID: blackbox.SessionID(s.id), User: s.principal.Identity.UserID(),
		Protocol: uint8(s.protocol.ID()), Transport: uint8(s.transport),
	}
}

// beginEnd begins to remove the session's subscriptions, and returns which items
// were delivered to it before.
func (s *Session) beginEnd() reached {
	s.shard.enter()
	defer s.shard.exit()
	s.ended = true
	return s.shard.reached
}

// recordEnd records that the session has ended, after the items of last.
func (s *Session) recordEnd(last reached) {
	box := s.hub.cfg.BlackBox
	if box == nil {
		return
	}
	lost := s.outbox.Lost()
	e := blackbox.End{Code: uint32(s.CloseCode()), Lost: last.live + 1, LostStream: last.durable + 1, LostReplays: lost.Replayed}
	if lost.Live != 0 {
		e.Lost = min(e.Lost, lost.Live.Seq(last.live+1))
	}
	if lost.Durable != 0 {
		e.LostStream = min(e.LostStream, lost.Durable.Seq(last.durable+1))
	}
	_, e.Evicted = s.outbox.Evicted()
	acknowledged, total := s.outbox.Progress()
	e.Unacknowledged = int(total - acknowledged)
	box.End(s.number, e)
}

// recordUser records that the session has another user.
func (s *Session) recordUser() { s.hub.cfg.BlackBox.Is(s.number, s.recorded()) }

// recordReplay records which messages of the past were sent. The shard is locked.
func (r *resume) recordReplay() {
	r.backlog.sent(func(sub *Subscription, first, last blackbox.Place) {
		r.hub.cfg.BlackBox.Replay(r.session.number, nil, sub.channel.Name(), sub.reader != nil, first, last)
	})
}

// recordMissed records that the client was told that messages may be missing.
func (r *resume) recordMissed(why protocol.GapReason) {
	for _, sub := range r.subs {
		r.hub.cfg.BlackBox.Gap(blackbox.Gap{
			Session: r.session.number, Channel: sub.channel.Name(), Durable: sub.reader != nil, Reason: why.String(),
		})
	}
}

// refusedConnection is the reason of a refusal that ends a connection before it
// has a session. Others have the name of the command.
const refusedConnection = "connect"

// recordRefused records that a command was refused.
func (s *Session) recordRefused(channel string, code protocol.Code, command protocol.CommandType) {
	s.hub.cfg.BlackBox.Refused(blackbox.Refusal{
		Session: s.number, User: s.principal.Identity.UserID(), Channel: channel, Code: uint32(code), Reason: command.String(),
	})
}

// recordNotAdmitted records that a client gets no session because of a channel.
func (h *Hub) recordNotAdmitted(c *Client, channel string, code protocol.Code) {
	if code != protocol.CodeOK {
		h.cfg.BlackBox.Refused(blackbox.Refusal{
			User: c.Identity.UserID(), Channel: channel, Code: uint32(code), Reason: refusedConnection,
		})
	}
}

// census records all sessions again, if the black box is about to forget them.
// Few of them are recorded at once, so that the fan-out does not wait. A session
// that is moved meanwhile moves to an index that was not reached yet, or had one
// that was.
func (h *Hub) census() {
	if !h.cfg.BlackBox.Census() {
		return
	}
	for _, s := range h.shards {
		for end, more := -1, true; more; {
			end, more = s.census(end)
		}
	}
}

// censusSessions is how many sessions are recorded at once.
const censusSessions = 64

// census records the sessions before index end, or the last ones if it is
// negative. It returns the end of those that are left, if there are any.
func (s *shard) census(end int) (next int, more bool) {
	s.enter()
	defer s.exit()
	if end < 0 || end > len(s.sessions) {
		end = len(s.sessions)
	}
	next = max(0, end-censusSessions)
	s.hub.enter()
	defer s.hub.leave()
	for _, session := range s.sessions[next:end] {
		session.recordIs()
	}
	return next, next > 0
}

// recordIs records the session and its subscriptions. The shard and the hub are
// locked.
func (s *Session) recordIs() {
	box := s.hub.cfg.BlackBox
	box.Is(s.number, s.recorded())
	for _, sub := range s.subs {
		if sub.state == subscriptionLive {
			start := sub.channel.Hub.in(s.shard.index).list[sub.index].start
			box.On(s.number, &sub.channel.Hub.name, sub.channel.Name(), sub.reader != nil, start)
		}
	}
}

// recordBehind records which sessions read slowly, and which no longer do.
// waiting is what waits in outboxes.
func (s *shard) recordBehind(waiting map[*outbox.Outbox]outbox.Backlog) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(waiting) == 0 && len(s.behind) == 0 {
		return
	}
	box := s.hub.cfg.BlackBox
	for _, session := range s.sessions {
		w, waits := waiting[session.outbox]
		_, waited := s.behind[session]
		switch {
		case waits && !waited:
			if s.behind == nil {
				s.behind = make(map[*Session]struct{})
			}
			s.behind[session] = struct{}{}
			live, durable := uint64(0), uint64(0)
			if w.First.IsDurable() {
				durable = w.First.Seq(s.reached.durable)
			} else {
				live = w.First.Seq(s.reached.live)
			}
			box.Behind(session.number, live, durable, w.Bytes)
		case waited && !waits:
			delete(s.behind, session)
			box.CaughtUp(session.number)
		}
	}
}

// recordSlow records the sessions that read slowly.
func (h *Hub) recordSlow() {
	if h.cfg.BlackBox == nil {
		return
	}
	waiting := make(map[*outbox.Outbox]outbox.Backlog)
	for _, w := range h.cfg.Budget.Waiting() {
		waiting[w.Outbox] = w
	}
	for _, s := range h.shards {
		s.recordBehind(waiting)
	}
}
