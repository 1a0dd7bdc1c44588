package relay

import (
	"bytes"
	"context"
	"slices"
	"time"

	"sidecast/relay/protocol"
	"sidecast/relay/roster"
)

// Presence knows who is present on the channels of
// [access.Rules.Presence], over all relays. Its methods are called concurrently.
type Presence interface {
	// Enter counts a subscription of a user, who is then a member of the
	// channel, and Exit ends that. info is JSON text, or empty. They do not
	// wait, and are called with a shard's lock held.
	Enter(channel, user string, info []byte)
	Exit(channel, user string)
	// Watch returns the members of a channel, for a client that watches it
	// until Unwatch. It may wait a second for them. While a channel is watched,
	// the updates of its roster are given to [Hub.PresenceChanged], in order.
	Watch(ctx context.Context, channel string) (*roster.Roster, error)
	Unwatch(channel string)
}

// A membership says that the user of a subscription is a member of its channel,
// and whether the client watches the others. Few subscriptions have one, so the
// shard stores them. Its mu guards the fields that are not constant.
type membership struct {
	sub           *Subscription // constant
	roster.Member               // its User is constant
	entered       bool
	roster        *roster.Roster // nil unless the client watches the members
	seq           uint64         // of the roster: earlier updates are not for the client
	index         int            // in shard.watchers; negative if it is not there
	part          int            // of the clients that watch members: 1 to roster.Parts
}

// presenceTimeout bounds how long a subscribe waits for the members of a
// channel.
const presenceTimeout = 2 * time.Second

const (
	problemNoPresence = "presence is for the channels of SIDECAST_PRESENCE_CHANNELS only"
	problemNotAMember = "already subscribed without a user: unsubscribe before a subscribe with presence"
)

// presenceProblem returns why a client cannot watch the members of a channel, if
// it asks for that.
func (s *Session) presenceProblem(request protocol.ChannelRequest, g *grant) (protocol.Code, string) {
	switch {
	case !request.Presence:
		return protocol.CodeOK, ""
	case !s.hub.hasPresence(request.Channel):
		return protocol.CodeBadRequest, problemNoPresence
	case s.member(g).User == "":
		return protocol.CodeUnauthorized, "presence is for users who are logged in"
	}
	return protocol.CodeOK, ""
}

// hasPresence reports whether the users on a channel are its members.
func (h *Hub) hasPresence(channel string) bool {
	return h.cfg.Presence != nil && h.cfg.Access.Presence.Match(channel)
}

// member returns the client as a member of a channel, without a user if it is
// anonymous and no signature for a user opened the channel. g may be nil.
func (s *Session) member(g *grant) roster.Member {
	if g != nil && g.app && g.user != "" {
		return roster.Member{User: g.user, Info: g.info}
	}
	if id := s.principal.Identity; id != nil {
		return roster.Member{User: id.User, Info: id.Info}
	}
	if g != nil && g.signed {
		return roster.Member{User: g.user}
	}
	return roster.Member{}
}

// newMembership returns the membership of a new subscription, or nil if its user
// is no member. It may wait for Redis.
func (s *Session) newMembership(request protocol.ChannelRequest, g *grant) (*membership, protocol.Code) {
	m := &membership{Member: s.member(g), index: -1}
	if m.User == "" || !s.hub.hasPresence(request.Channel) {
		return nil, protocol.CodeOK
	}
	if !request.Presence {
		return m, protocol.CodeOK
	}
	members, code := s.watch(request.Channel)
	m.roster = members
	return m, code
}

// watch makes the session watch the members of a channel.
func (s *Session) watch(channel string) (*roster.Roster, protocol.Code) {
	defer s.block()()
	ctx, cancel := context.WithTimeout(context.Background(), presenceTimeout)
	defer cancel()
	members, err := s.hub.cfg.Presence.Watch(ctx, channel)
	if err != nil {
		return nil, protocol.CodeUnavailable
	}
	return members, protocol.CodeOK
}

// watchFrom lets the client of a subscription watch the members of the channel
// from now on. The shard is locked.
func (sub *Subscription) watchFrom(members *roster.Roster) {
	if m := sub.session.shard.members[sub]; m != nil && m.roster == nil {
		m.roster = members
		return
	}
	sub.session.hub.cfg.Presence.Unwatch(sub.channel.Name())
}

// arrive makes the user of a subscription that is answered a member of the
// channel, and adds the members to the answer if the client watches them. The
// shard is locked.
func (sub *Subscription) arrive(answer *protocol.Event) {
	s := sub.session.shard
	m, h := s.members[sub], s.hub
	if m == nil {
		return
	}
	if !m.entered {
		m.entered = true
		h.cfg.Presence.Enter(sub.channel.Name(), m.User, m.Info)
	}
	if m.roster == nil {
		return
	}
	now := m.roster.Snapshot(m.Member)
	answer.Members, answer.Count, m.seq = now.Members, now.Count, now.Seq
	if m.index < 0 {
		s.addWatcher(m)
	}
}

// depart undoes arrive. The shard is locked.
func (sub *Subscription) depart() {
	s := sub.session.shard
	m, h := s.members[sub], s.hub
	if m == nil {
		return
	}
	delete(s.members, sub)
	if m.entered {
		h.cfg.Presence.Exit(sub.channel.Name(), m.User)
	}
	if m.roster == nil {
		return
	}
	h.cfg.Presence.Unwatch(sub.channel.Name())
	if m.index >= 0 {
		s.removeWatcher(m)
	}
}

// becomeMember makes the user of a session that was anonymous a member of the
// channels that it is subscribed to.
func (s *Session) becomeMember() {
	s.shard.enter()
	defer s.shard.exit()
	for _, sub := range s.subs {
		if s.shard.members[sub] != nil || sub.state == subscriptionRemoved || !s.hub.hasPresence(sub.channel.Name()) {
			continue
		}
		s.shard.addMember(sub, &membership{Member: s.member(nil), index: -1})
		if sub.is(subscribeAnswered) {
			sub.arrive(new(protocol.Event))
		}
	}
}

// renewMembers gives the others the info in the new login of a session's user.
func (s *Session) renewMembers() {
	info := s.principal.Identity.Info
	s.shard.enter()
	defer s.shard.exit()
	for _, sub := range s.subs {
		m := s.shard.members[sub]
		if m == nil || bytes.Equal(m.Info, info) || sub.grant != nil && sub.grant.app {
			continue
		}
		if m.Info = info; m.entered {
			s.hub.cfg.Presence.Enter(sub.channel.Name(), m.User, info)
			s.hub.cfg.Presence.Exit(sub.channel.Name(), m.User) // of the earlier info
		}
	}
}

// watches reports whether the user of a subscription is a member of the channel,
// and whether the client watches the others.
func (sub *Subscription) watches() (member, watching bool) {
	s := sub.session.shard
	s.enter()
	defer s.exit()
	m := s.members[sub]
	return m != nil, m != nil && m.roster != nil
}

// addMember gives a subscription its membership, which may be nil. The shard is
// locked.
func (s *shard) addMember(sub *Subscription, m *membership) {
	if m == nil {
		return
	}
	if s.members == nil {
		s.members, s.watchers = make(map[*Subscription]*membership), make(map[string][]*membership)
	}
	m.sub = sub
	s.members[sub] = m
}

// addWatcher adds a client to those that are notified of changes of members. The
// shard is locked.
func (s *shard) addWatcher(m *membership) {
	channel := m.sub.channel.Name()
	s.lastPart = s.lastPart%roster.Parts + 1
	m.part = s.lastPart
	m.index = len(s.watchers[channel])
	s.watchers[channel] = append(s.watchers[channel], m)
}

// removeWatcher undoes addWatcher. The shard is locked.
func (s *shard) removeWatcher(m *membership) {
	channel := m.sub.channel.Name()
	list := s.watchers[channel]
	last := len(list) - 1
	list[m.index] = list[last]
	list[m.index].index = m.index
	list[last] = nil
	m.index = -1
	if s.watchers[channel] = list[:last]; last == 0 {
		delete(s.watchers, channel)
	}
}

// A presenceUpdate is an update of the members of a channel on its way to the
// clients that watch them.
type presenceUpdate struct {
	channel string
	seq     uint64
	part    int             // of roster.Update
	changes []presenceFrame // none if the update replaces all members
}

// A presenceFrame has the frames of one change.
type presenceFrame struct {
	user   string
	frames presenceFrames
}

// PresenceFrames are the frames for the protocols that can express changes of
// members.
type presenceFrames [2][]byte

// presenceProtocols are these protocols.
var presenceProtocols = [2]protocol.Protocol{protocol.V1{}, protocol.Pusher{}}

// encodePresence encodes an event about members.
func encodePresence(e protocol.Event) (frames presenceFrames) {
	for i, p := range presenceProtocols {
		frames[i] = p.Event(e)
	}
	return frames
}

// PresenceChanged receives an update for the clients that watch a channel. Only
// one goroutine calls it. It waits only if a shard's mailbox is full, never for
// a client.
func (h *Hub) PresenceChanged(channel string, u roster.Update) {
	news := &presenceUpdate{channel: channel, seq: u.Seq, part: u.Part}
	it := item{kind: itemPresence, presence: news}
	var all presenceFrames
	for _, c := range u.Changes {
		event := protocol.Event{Type: protocol.EventJoin, Channel: channel, User: c.User, Info: c.Info, Count: c.Count}
		if c.Kind == roster.Left {
			event.Type, event.Info = protocol.EventLeave, nil
		}
		frames := encodePresence(event)
		news.changes = append(news.changes, presenceFrame{c.User, frames})
		for i := range all {
			all[i] = append(all[i], frames[i]...)
		}
	}
	if len(u.Changes) == 0 {
		all = encodePresence(protocol.Event{Type: protocol.EventMembers, Channel: channel, Members: u.Members, Count: u.Count})
	}
	for i, p := range presenceProtocols {
		it.frames[p.ID()] = slices.Clip(all[i])
	}
	for _, s := range h.shards {
		s.mailbox.put([]item{it})
	}
}

// notifyWatchers delivers an update to the clients that watch a channel, without
// their own arrivals and departures. The shard is locked.
func (s *shard) notifyWatchers(it *item) {
	news := it.presence
	for _, m := range s.watchers[news.channel] {
		if news.seq > m.seq && (news.part == 0 || news.part == m.part) {
			m.seq = news.seq
			if frame := news.withoutOwn(m.User, it, m.sub.session.protocol.ID()); len(frame) > 0 {
				m.sub.session.outbox.Send(frame)
			}
		}
	}
}

// withoutOwn returns the frames of an update for a protocol, without those about
// a user.
func (u *presenceUpdate) withoutOwn(user string, it *item, id protocol.ID) (frames []byte) {
	own := func(c presenceFrame) bool { return c.user == user }
	if !slices.ContainsFunc(u.changes, own) {
		return it.frames[id]
	}
	for i, p := range presenceProtocols {
		if p.ID() != id {
			continue
		}
		for _, c := range u.changes {
			if !own(c) {
				frames = append(frames, c.frames[i]...)
			}
		}
	}
	return slices.Clip(frames)
}
