package relay

import (
	"sidecast/relay/blackbox"
	"sidecast/relay/history"
	"sidecast/relay/outbox"
	"sidecast/relay/protocol"
	"sidecast/relay/stats"
	"sidecast/relay/stream"
)

// reached are the numbers of the items that a shard has delivered, for the black
// box. Those of live channels are delivered in their order, and so are those of
// each durable channel.
type reached struct {
	live     uint64              // the last one on live channels
	durable  uint64              // the highest one on durable channels
	channels map[*channel]uint64 // the last one on each durable channel with subscribers
}

// reach records that items were delivered. The shard is locked.
func (s *shard) reach(items []item) {
	r := &s.reached
	for i := range items {
		it := &items[i]
		switch {
		case it.kind != itemMessage && it.kind != itemGap:
		case !it.durable:
			r.live = it.seq
		case s.hub.cfg.BlackBox != nil:
			if it.seq < r.durable {
				s.hub.cfg.BlackBox.Swapped(it.seq, r.durable)
			}
			r.durable = max(r.durable, it.seq)
			if r.channels == nil {
				r.channels = make(map[*channel]uint64)
			}
			r.channels[it.channel] = it.seq
			s.forgetReached(it.channel)
		}
	}
}

// reachedOn returns the number of the last item that was delivered to a
// subscription. The shard is locked.
func (s *shard) reachedOn(sub *Subscription) uint64 {
	if sub.reader != nil {
		return s.reached.channels[sub.channel]
	}
	return s.reached.live
}

// forgetReached forgets the deliveries on a channel without subscribers. The
// shard is locked.
func (s *shard) forgetReached(ch *channel) {
	if in := ch.Hub.in(s.index); in == nil || len(in.list) == 0 {
		delete(s.reached.channels, ch)
	}
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

// recordSpurious records that a message was published to a durable channel but
// not added to its stream.
func (h *Hub) recordSpurious(channel string) {
	h.cfg.BlackBox.Dropped([]byte(channel), stats.DropReasons[stats.DropNudge])
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

// recordLeave records that a subscription has ended. The end of a session says
// that for all its live channels. The shard and the hub are locked.
func (h *Hub) recordLeave(sub *Subscription) {
	if s := sub.session; !s.ended || sub.reader != nil {
		h.cfg.BlackBox.Leave(s.number, &sub.channel.Hub.name, sub.channel.Name(), sub.reader != nil, s.shard.reachedOn(sub))
	}
}

// recorded returns the description of the session in the black box.
func (s *Session) recorded() blackbox.Client {
	return blackbox.Client{
		ID: blackbox.SessionID(s.id), User: s.principal.Identity.UserID(),
		Protocol: uint8(s.protocol.ID()), Transport: uint8(s.transport),
	}
}

// beginEnd begins to remove the session's subscriptions, and returns the last
// item on live channels before that.
func (s *Session) beginEnd() (last uint64) {
	s.shard.enter()
	defer s.shard.exit()
	s.ended = true
	return s.shard.reached.live
}

// recordEnd records that the session has ended, after the live item last.
func (s *Session) recordEnd(last uint64) {
	box := s.hub.cfg.BlackBox
	if box == nil {
		return
	}
	lost := s.outbox.Lost()
	e := blackbox.End{Code: uint32(s.CloseCode()), Lost: last + 1, LostReplays: lost.Replayed, Unacknowledged: lost.Unconfirmed}
	if lost.Live != 0 {
		e.Lost = min(e.Lost, lost.Live.Seq(last))
	}
	e.LostStream = lost.Durable.Seq(uint64(s.hub.lastOnStreams()))
	_, e.Evicted = s.outbox.Evicted()
	box.End(s.number, e)
}

// recordUser records that the session has another user.
func (s *Session) recordUser() { s.hub.cfg.BlackBox.Is(s.number, s.recorded()) }

// recordReplay records which messages of the past were sent. The shard is locked.
func (r *resume) recordReplay() {
	joined := false
	r.backlog.sent(func(sub *Subscription, sent blackbox.Replay) {
		sent.Joined, joined = joined, true
		r.hub.cfg.BlackBox.Replay(r.session.number, sub.channel.Name(), sub.reader != nil, sent)
	})
}

// recordOwn records that a message of the past is one that the session published.
func (s *Session) recordOwn(sub *Subscription, at blackbox.Place) {
	s.hub.cfg.BlackBox.Own(s.number, sub.channel.Name(), sub.reader != nil, 0, at)
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

// lastOnStreams returns the number of the last item on durable channels.
func (h *Hub) lastOnStreams() stream.Seq {
	h.enter()
	defer h.leave()
	return h.streamSeq
}

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
		for end, more := -1, true; more && !h.cfg.BlackBox.CensusIsFull(); {
			end, more = s.census(end)
		}
	}
}

// reportBox logs once if the black box does not use its file any more. Only the
// sweep calls it.
func (h *Hub) reportBox() {
	if err := h.cfg.BlackBox.Err(); err != nil && !h.boxFailed {
		h.boxFailed = true
		h.cfg.Logger.Error("the black box is not written to its file any more, only to memory: look at the file and its disk, and restart the relay",
			"error", err)
	}
}

const (
	// censusSessions is how many sessions are recorded at once.
	censusSessions = 64
	// censusSubscriptions is from how many subscriptions on no further session is
	// recorded at once.
	censusSubscriptions = 512
	// behindSessions is how many sessions are looked at at once.
	behindSessions = 1024
)

// census records the sessions before index end, or the last ones if it is
// negative. It returns the end of those that are left, if there are any.
func (s *shard) census(end int) (next int, more bool) {
	s.enter()
	defer s.exit()
	if end < 0 || end > len(s.sessions) {
		end = len(s.sessions)
	}
	s.hub.enter()
	defer s.hub.leave()
	subs := 0
	for next = end; next > 0 && end-next < censusSessions && subs < censusSubscriptions; {
		next--
		s.sessions[next].recordIs()
		subs += len(s.sessions[next].subs)
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
// waiting is what waits in outboxes. Few sessions are looked at at once, so that
// the fan-out does not wait. One that is moved meanwhile is looked at the next
// time.
func (s *shard) recordBehind(waiting map[*outbox.Outbox]outbox.Backlog) {
	for begin, more := 0, true; more; begin += behindSessions {
		more = s.recordBehindFrom(begin, waiting)
	}
}

// recordBehindFrom records those from index begin on, and reports whether more
// follow.
func (s *shard) recordBehindFrom(begin int, waiting map[*outbox.Outbox]outbox.Backlog) (more bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(waiting) == 0 && len(s.behind) == 0 || begin >= len(s.sessions) {
		return false
	}
	end := min(begin+behindSessions, len(s.sessions))
	for _, session := range s.sessions[begin:end] {
		w, waits := waiting[session.outbox]
		_, waited := s.behind[session]
		switch {
		case waits && !waited:
			s.beginBehind(session, &w)
		case waited && !waits:
			delete(s.behind, session)
			s.hub.cfg.BlackBox.CaughtUp(session.number)
		}
	}
	return end < len(s.sessions)
}

// beginBehind records that something waits for a session. The shard is locked.
func (s *shard) beginBehind(session *Session, w *outbox.Backlog) {
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
	s.hub.cfg.BlackBox.Behind(session.number, live, durable, w.Bytes)
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
