package relay

import (
	"iter"

	"sidecast/relay/history"
	"sidecast/relay/protocol"
)

// An Anchor is a place on all channels of a client: the message of Channel that
// Cursor names, or a marker if Channel is empty. The zero Anchor is no place.
type Anchor struct {
	Channel, Cursor string
}

// Together are the subscriptions of a session that share a cursor. They begin
// and end together, so they do not change.
type together struct{ subs []*Subscription }

// An origin is where the messages of subscriptions that share a cursor begin.
type origin struct {
	channel string           // of the cursor; empty if that is a marker
	places  []protocol.Place // instead of a cursor, if no single one says it
}

// SubscribeTogether subscribes the session to live channels for which it was
// admitted by [Hub.Admit]. Each cursor that the client receives is its place on
// all of these channels, because it receives their messages in the order in
// which they arrived from Redis. So the answer has no channel, except that of
// its cursor, and a gap that concerns all channels has none. A client that was
// subscribed in this way before continues after anchor. Without an anchor, each
// request can say where its channel continues; then the client's place is a list
// of cursors until it has caught up on all channels, if the protocol is a
// [protocol.PlaceLister].
//
// It ignores a second request for a channel. It waits like [Session.Subscribe].
// The session must have no other subscriptions, and must not handle commands.
func (s *Session) SubscribeTogether(requests []protocol.ChannelRequest, anchor Anchor) {
	s.enterExclusive()
	defer s.exitExclusive()
	r := s.joinTogether(requests, anchor)
	s.admitted = nil
	s.setDeadline()
	s.awaitAnswers([]*resume{r})
}

// joinTogether is SubscribeTogether, but returns the resume that gives the
// answer if that has to wait.
func (s *Session) joinTogether(requests []protocol.ChannelRequest, anchor Anchor) *resume {
	if requests = distinct(requests); len(requests) == 0 {
		return nil
	}
	for _, request := range requests {
		s.hub.logMistake(s, request.Channel)
	}
	members := make([]*membership, len(requests))
	for i, request := range requests {
		members[i], _ = s.newMembership(request, s.admittedBy(request.Channel)) // nobody watches them: event streams have no frames for that
	}
	s.shard.enter()
	defer s.shard.exit()
	named := anchor != Anchor{}
	resumes := named
	for i, request := range requests {
		sub := s.hub.addSubscription(s, request.Channel, s.admittedBy(request.Channel))
		s.subs = append(s.subs, sub)
		s.shard.addMember(sub, members[i])
		named = named || namesPlace(request)
		resumes = resumes || s.hub.needsResume(request)
	}
	s.together = &together{s.subs}
	if !resumes {
		newest, cursor := s.hub.joinFresh(s.subs)
		s.answerTogether(protocol.Event{Cursor: cursor}, origin{channel: nameOf(newest)})
		return nil
	}
	r := s.hub.newJointResume(s, named, requests, anchor)
	s.hub.startResume(r)
	return r
}

// distinct returns the first request for each channel.
func distinct(requests []protocol.ChannelRequest) (list []protocol.ChannelRequest) {
	known := make(map[string]bool, len(requests))
	for _, request := range requests {
		if !known[request.Channel] {
			known[request.Channel] = true
			list = append(list, request)
		}
	}
	return list
}

// nameOf returns the name of a channel, or nothing if there is none.
func nameOf(ch *channel) string {
	if ch == nil {
		return ""
	}
	return ch.Name()
}

// channels returns the channels of subscriptions.
func channels(subs []*Subscription) iter.Seq[*channel] {
	return func(yield func(*channel) bool) {
		for _, sub := range subs {
			if !yield(sub.channel) {
				return
			}
		}
	}
}

// answerTogether answers the subscribe of all channels that share a cursor. It
// sets the type and the channel of the answer. The shard is locked.
func (s *Session) answerTogether(answer protocol.Event, at origin) {
	for _, sub := range s.together.subs {
		s.count(protocol.CommandSubscribe, protocol.CodeOK)
		sub.arrive(new(protocol.Event))
	}
	answer.Type, answer.Channel, answer.All = protocol.EventSubscribed, at.channel, len(s.together.subs) > 1
	if at.places == nil {
		s.send(answer)
		return
	}
	s.outbox.Send(s.withPlaces(s.protocol.Event(answer), at.places))
}

// leaveTogether ends all subscriptions in one step: a message on one of the
// channels must not follow one that was not delivered on another.
func (s *Session) leaveTogether() {
	s.shard.enter()
	defer s.shard.exit()
	for _, sub := range s.subs {
		s.hub.endSubscription(sub, subscribeEnded, nil)
	}
	s.subs = nil
}

// withPlaces returns a frame after which the client is at these places, as far
// as the protocol can say that.
func (s *Session) withPlaces(frame []byte, places []protocol.Place) []byte {
	if p, ok := s.protocol.(protocol.PlaceLister); ok {
		return p.WithPlaces(frame, places)
	}
	return frame
}

// rewinds reports whether a client whose channels share a cursor may have
// received messages after the newest marker at or before seq: then its last
// message is the better place. The shard is locked.
func (s *Session) rewinds(seq history.Seq) bool {
	if s.together == nil {
		return false
	}
	s.hub.enter()
	defer s.hub.leave()
	return !s.hub.history.MarkerIsNewest(seq, channels(s.together.subs))
}
