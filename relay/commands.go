package relay

import (
	"cmp"
	"context"
	"slices"
	"time"

	"sidecast/relay/access"
	"sidecast/relay/protocol"
	"sidecast/relay/roster"
	"sidecast/relay/stream"
)

// Handle runs one message of the client to its end: the next one is read after
// this one was answered. data is only valid during the call.
func (s *Session) Handle(data []byte, text bool) {
	if s.closeCode.Load() != 0 {
		return // commands during a close are ignored
	}
	s.enterExclusive()
	defer s.exitExclusive()
	s.removeFailed()
	cmd, code := s.protocol.Decode(data, text)
	if code != 0 {
		s.Close(code)
		return
	}
	if cmd.Type == protocol.CommandPublish && cmd.Channel == "" {
		cmd.Channel, cmd.NoEcho = s.publishTo, s.noEcho
	}
	switch s.limiter.take(s.rate(), s.hub.now()) {
	case limitRefuse:
		s.refuse(cmd, cmd.Channel, protocol.CodeRateLimited)
		return
	case limitDrop:
		if s.protocol.ID() == protocol.PusherID && cmd.Type == protocol.CommandSubscribe {
			s.refuse(cmd, cmd.Channel, protocol.CodeRateLimited) // each waits for its answer, and has no ref
			return
		}
		s.count(cmd.Type, protocol.CodeRateLimited)
		return
	case limitClose:
		s.count(cmd.Type, protocol.CodeRateLimited)
		s.Close(protocol.ClosePolicy.Because(protocol.ReasonRate))
		return
	}
	if cmd.Fault != protocol.CodeOK {
		s.refuse(cmd, cmd.Channel, cmd.Fault)
		return
	}
	s.run(cmd)
}

// rate returns how many commands the session may run.
func (s *Session) rate() commandRate {
	if s.protocol.ID() == protocol.PusherID {
		return s.hub.pusherRate
	}
	return s.hub.commandRate
}

func (s *Session) run(cmd protocol.Command) {
	switch cmd.Type {
	case protocol.CommandSubscribe:
		s.subscribeAll(cmd)
	case protocol.CommandUnsubscribe:
		s.unsubscribe(cmd)
	case protocol.CommandPublish:
		s.publish(cmd)
	case protocol.CommandAuth:
		s.authenticate(cmd)
	case protocol.CommandSignin:
		s.signIn(cmd)
	case protocol.CommandPong:
		s.count(cmd.Type, protocol.CodeOK)
	case protocol.CommandPing:
		s.count(cmd.Type, protocol.CodeOK)
		s.send(protocol.Event{Type: protocol.EventPong, Ref: cmd.Ref})
	default:
		s.refuse(cmd, "", protocol.CodeUnknownType)
	}
}

func (s *Session) count(t protocol.CommandType, code protocol.Code) {
	s.hub.cfg.Stats.Commands[t][code].Add(1)
}

// refuse answers a command with an error, or closes the session if the protocol
// has no error frame.
func (s *Session) refuse(cmd protocol.Command, channel string, code protocol.Code) {
	s.count(cmd.Type, code)
	s.recordRefused(channel, code, cmd.Type)
	if cmd.Type == protocol.CommandSubscribe {
		s.lack(code)
	}
	frame := s.protocol.Event(protocol.Event{
		Type: protocol.EventError, Ref: cmd.Ref, Channel: channel, Command: cmd.Type, Code: code, Message: cmd.Problem,
	})
	if frame == nil {
		s.Close(s.refusal(cmd, code))
		return
	}
	s.outbox.Send(frame)
}

// Subscribe subscribes the session to channels for which it was admitted by
// [Hub.Admit]. It ignores a second request for a channel. It waits until all of
// that is done: for Redis if necessary, but not longer than a client waits for
// the answer to a subscribe.
func (s *Session) Subscribe(requests []protocol.ChannelRequest) {
	s.enterExclusive()
	defer s.exitExclusive()
	var started []*resume
	for _, request := range requests {
		if s.subscription(request.Channel) < 0 {
			g := s.admittedBy(request.Channel)
			started = append(started, s.join(protocol.Command{Type: protocol.CommandSubscribe}, request, g))
		}
	}
	s.admitted = nil
	s.setDeadline()
	s.awaitAnswers(started)
}

// admittedBy returns the application's answer that opened a channel before the
// session began, or nil.
func (s *Session) admittedBy(channel string) *grant {
	if answer, asked := s.admitted[channel]; asked {
		return &answer
	}
	return nil
}

// freeErrors is how many channels of a subscribe may be rejected before each
// further one counts as a command.
const freeErrors = 8

// subscribeAll runs a subscribe. If it names more channels than a session may
// have, it gets one answer, and many rejected channels count as so many
// commands: with an error for each channel, a client could make the relay send
// many times as much as it receives.
func (s *Session) subscribeAll(cmd protocol.Command) {
	if len(cmd.Subscribe) > s.hub.cfg.MaxChannels {
		s.refuse(cmd, "", protocol.CodeTooManyChannels)
		return
	}
	if s.protocol.ID() == protocol.PusherID {
		s.addNewest(cmd.Subscribe)
	}
	answers := s.askApplication(cmd.Subscribe)
	rejected := 0
	for _, request := range cmd.Subscribe {
		if s.subscribe(cmd, request, answers) {
			continue
		}
		if rejected++; rejected > freeErrors {
			s.limiter.charge(s.rate(), s.hub.now())
		}
	}
}

// addNewest requests as many of the newest messages as the setting says, for a
// protocol in which clients cannot do so. It is not for channels that the session
// has already.
func (s *Session) addNewest(requests []protocol.ChannelRequest) {
	for i := range requests {
		switch r := &requests[i]; {
		case s.subscription(r.Channel) >= 0:
			r.Last = 0
		case !r.Cached:
			r.Last = s.hub.Newest(LastBySetting, r.Channel)
		}
	}
}

// subscribe subscribes the session to one channel, or reports false if it has
// rejected that.
func (s *Session) subscribe(cmd protocol.Command, request protocol.ChannelRequest, answers grants) bool {
	code, g := s.authorize(request, answers)
	s.removeFailed()
	i := s.subscription(request.Channel)
	switch {
	case code != protocol.CodeOK:
	case i >= 0 && !s.subs[i].is(subscribeAnswered): // pending, or failed just now
		code, cmd.Problem = protocol.CodeBadRequest, "the last subscribe to this channel is not answered yet"
	case i >= 0 && wantsPast(request):
		code, cmd.Problem = protocol.CodeBadRequest, "already subscribed: unsubscribe before a subscribe with after, at, since or last"
	case i >= 0 && s.subs[i].isSignedForOther(g):
		code, cmd.Problem = protocol.CodeBadRequest, "already subscribed as another user: unsubscribe first"
	case i < 0 && len(s.subs) >= s.hub.cfg.MaxChannels:
		code = protocol.CodeTooManyChannels
	default:
		if cmd.Problem = s.hub.SinceProblem(request); cmd.Problem != "" {
			code = protocol.CodeBadRequest
			break
		}
		code, cmd.Problem = s.presenceProblem(request, g)
	}
	if code != protocol.CodeOK {
		why := cmp.Or(access.Mistake(request.Channel), g.reason())
		if why == protocol.ReasonUsual && code == protocol.CodeForbidden && g == nil {
			why = s.whyClosed(request.Channel)
		}
		s.hub.logNotReceived(request.Channel, code, why)
		s.reportRefused(request.Channel, code)
		if notAllowed(code) {
			cmd.Problem = cmp.Or(cmd.Problem, why.String())
		}
		s.refuse(cmd, request.Channel, code)
		return false
	}
	if i >= 0 {
		if answered, accepted := s.subscribeAgain(cmd, s.subs[i], request, g); answered {
			return accepted
		}
		s.removeFailed()
	}
	s.join(cmd, request, g)
	if g != nil {
		s.setDeadline()
	}
	return true
}

// whyClosed returns why a channel is not open to a client that presents nothing,
// if the prefix of its name, or the lack of one, means that.
func (s *Session) whyClosed(channel string) protocol.CloseReason {
	switch {
	case s.hub.cfg.Access.Guarded(channel):
		return protocol.ReasonNoAuth
	case s.protocol.ID() == protocol.PusherID:
		return protocol.ReasonNotPublic
	}
	return protocol.ReasonUsual
}

// subscribeAgain answers a subscribe to a channel to which the session is
// subscribed already, and reports whether it was accepted. A signature can extend
// that subscription, and the client can watch the members of the channel from now
// on. answered is false if the subscription has just ended.
func (s *Session) subscribeAgain(
	cmd protocol.Command, sub *Subscription, request protocol.ChannelRequest, g *grant,
) (answered, accepted bool) {
	var members *roster.Roster
	member, watching := sub.watches()
	if request.Presence && !watching {
		var code protocol.Code
		if !member {
			code, cmd.Problem = protocol.CodeBadRequest, problemNotAMember
		} else {
			members, code = s.watch(request.Channel)
		}
		if code != protocol.CodeOK {
			s.refuse(cmd, request.Channel, code)
			return true, false
		}
	}
	s.shard.enter()
	defer s.shard.exit()
	if members != nil {
		sub.watchFrom(members)
	}
	if !sub.is(subscribeAnswered) {
		return false, false
	}
	s.shard.signed.extend(sub, g)
	// Without a cursor: messages before the current one may still wait for the
	// client.
	answer := protocol.Event{Ref: cmd.Ref, Recovered: true}
	if request.Presence {
		sub.arrive(&answer)
	}
	s.answerSubscribed(sub, answer)
	return true, true
}

// SinceProblem returns the problem with the Since of a request, or nothing.
func (h *Hub) SinceProblem(request protocol.ChannelRequest) string {
	_, ok := stream.ParseID(request.Since)
	switch {
	case request.Since == "":
		return ""
	case !h.isDurable(request.Channel):
		return "since is for durable channels only: use last, or add the channel to SIDECAST_DURABLE_CHANNELS"
	case !ok:
		return `since must be the id of an entry, like "1526919030474-55", or "0-0"`
	}
	return ""
}

// join subscribes the session to a channel. If the answer has to wait, it
// returns the resume that gives it.
func (s *Session) join(cmd protocol.Command, request protocol.ChannelRequest, g *grant) *resume {
	if s.hub.readers == nil && s.hub.isDurable(request.Channel) {
		s.refuse(cmd, request.Channel, protocol.CodeUnavailable)
		return nil
	}
	member, code := s.newMembership(request, g)
	if code != protocol.CodeOK {
		s.refuse(cmd, request.Channel, code)
		return nil
	}
	s.hub.logMistake(s, request.Channel)
	s.shard.enter()
	defer s.shard.exit()
	sub := s.hub.addSubscription(s, request.Channel, g)
	s.shard.addMember(sub, member)
	s.subs = append(s.subs, sub)
	if s.publishTo == request.Channel {
		s.publishTo = sub.channel.Name() // instead of a part of a URL
	}
	if sub.reader == nil && !s.hub.needsResume(request) {
		_, cursor := s.hub.joinFresh([]*Subscription{sub})
		s.answerSubscribe(sub, protocol.Event{Ref: cmd.Ref, Cursor: cursor})
		if request.Cached {
			s.sendCached(sub, nil)
		}
		return nil
	}
	r := s.hub.newResume(sub, cmd.Ref, request)
	s.hub.startResume(r)
	return r
}

// answerSubscribe answers a subscribe that has made a subscription. The shard is
// locked.
func (s *Session) answerSubscribe(sub *Subscription, answer protocol.Event) {
	sub.arrive(&answer)
	s.answerSubscribed(sub, answer)
}

// answerSubscribed answers a subscribe that succeeded. It sets the fields of the
// answer that depend on the channel only.
func (s *Session) answerSubscribed(sub *Subscription, answer protocol.Event) {
	s.count(protocol.CommandSubscribe, protocol.CodeOK)
	answer.Type, answer.Channel, answer.Durable = protocol.EventSubscribed, sub.channel.Name(), sub.reader != nil
	s.send(answer)
}

func (s *Session) unsubscribe(cmd protocol.Command) {
	i := s.subscription(cmd.Channel)
	if i < 0 {
		code := protocol.CodeNotSubscribed
		if !access.ValidChannel(cmd.Channel) {
			code = protocol.CodeBadChannel
		}
		s.refuse(cmd, cmd.Channel, code)
		return
	}
	sub := s.subs[i]
	s.removeSub(i)
	answer := s.protocol.Event(protocol.Event{Type: protocol.EventUnsubscribed, Ref: cmd.Ref, Channel: cmd.Channel})
	if !s.hub.removeSubscription(sub, subscribeEnded, answer) {
		s.refuse(cmd, cmd.Channel, protocol.CodeNotSubscribed)
		return
	}
	s.count(protocol.CommandUnsubscribe, protocol.CodeOK)
	if sub.grant != nil {
		s.setDeadline()
	}
}

// removeFailed forgets the subscriptions that have ended with an error.
func (s *Session) removeFailed() {
	failed := func(sub *Subscription) bool { return sub.is(subscribeFailed) }
	if slices.ContainsFunc(s.subs, failed) {
		s.removeSubs(failed)
		s.setDeadline()
	}
}

// removeSub forgets a subscription.
func (s *Session) removeSub(i int) {
	s.shard.enter()
	defer s.shard.exit()
	s.subs = slices.Delete(s.subs, i, i+1)
}

// removeSubs forgets subscriptions.
func (s *Session) removeSubs(which func(*Subscription) bool) {
	s.shard.enter()
	defer s.shard.exit()
	s.subs = slices.DeleteFunc(s.subs, which)
}

// subscription returns the index of the session's subscription to channel, or
// -1. A session has few channels: a scan is cheaper than a map in each of many
// thousand sessions.
func (s *Session) subscription(channel string) int {
	return slices.IndexFunc(s.subs, func(sub *Subscription) bool { return sub.channel.Name() == channel })
}

// publishTimeout is how long a publish waits for Redis.
const publishTimeout = time.Second

func (s *Session) publish(cmd protocol.Command) {
	var code protocol.Code
	if s.hub.cfg.Envelopes {
		code = s.wrapEvent(&cmd)
	} else {
		code = s.hub.cfg.Access.PublishTo(s.principal.Identity, cmd.Channel)
	}
	if code == protocol.CodeOK && s.hub.cfg.WrapPublished && len(cmd.Data) <= s.hub.cfg.MaxPayload {
		cmd.Data = protocol.WrapPublished(s.principal.Identity.UserID(), s.ID(), cmd.Data)
	}
	if code == protocol.CodeOK && len(cmd.Data) > s.hub.cfg.MaxPayload {
		code = protocol.CodeTooLarge
	}
	if code == protocol.CodeOK && !s.publishToRedis(cmd) {
		code = protocol.CodeUnavailable
	}
	if code != protocol.CodeOK {
		s.hub.logNotPublished(cmd.Channel, code)
		s.reportRefused(cmd.Channel, code)
		cmd.Problem = cmp.Or(cmd.Problem, nameProblem(cmd.Channel, code))
		s.refuse(cmd, cmd.Channel, code)
		return
	}
	s.count(protocol.CommandPublish, protocol.CodeOK)
	s.report(protocol.ReportPublished, cmd.Channel, "")
	if cmd.Ref != nil {
		s.send(protocol.Event{Type: protocol.EventOK, Ref: cmd.Ref})
	}
}

// publishToRedis publishes, and reports whether Redis confirmed it.
func (s *Session) publishToRedis(cmd protocol.Command) bool {
	if s.hub.isDurable(cmd.Channel) {
		return s.appendToStream(cmd)
	}
	if s.hub.cfg.Publish == nil {
		return false
	}
	noted, hash := s.expectEcho(cmd)
	defer s.block()()
	ctx, cancel := context.WithTimeout(context.Background(), publishTimeout)
	defer cancel()
	receivers, err := s.hub.cfg.Publish(ctx, cmd.Channel, cmd.Data)
	if noted != nil && (err != nil || receivers == 0) {
		noted.drop(cmd.Channel, hash)
	}
	return err == nil
}

// expectEcho makes the session skip the message that is about to be published,
// if it would receive it.
func (s *Session) expectEcho(cmd protocol.Command) (*echoes, uint64) {
	i := s.subscription(cmd.Channel)
	if !cmd.NoEcho || i < 0 {
		return nil, 0
	}
	e := s.echoes.Load()
	if e == nil {
		e = new(echoes)
		s.echoes.Store(e)
	}
	s.hub.suppressEcho(s.subs[i])
	hash := s.hub.hash(cmd.Data)
	e.add(cmd.Channel, hash, s.hub.now())
	return e, hash
}

// appendToStream adds a client's message to a stream, and reports whether
// Redis confirmed it.
func (s *Session) appendToStream(cmd protocol.Command) bool {
	h := s.hub
	if h.readers == nil {
		return false
	}
	defer s.block()()
	ctx, cancel := context.WithTimeout(context.Background(), publishTimeout)
	defer cancel()
	i := s.subscription(cmd.Channel)
	if !cmd.NoEcho || i < 0 {
		_, err := h.readers.Store().Append(ctx, cmd.Channel, cmd.Data)
		return err == nil
	}

	// The entry is recognized by its id, which exists only after it was added.
	// The reader waits for that before it delivers the entry.
	sub := s.subs[i]
	h.suppressEcho(sub)
	done := sub.reader.AddOwn()
	defer done()
	id, err := h.readers.Store().Append(ctx, cmd.Channel, cmd.Data)
	if err != nil {
		return false
	}
	e := s.echoes.Load()
	if e == nil {
		e = new(echoes)
		s.echoes.Store(e)
	}
	own := stream.NewEntry(id, []string{stream.PayloadField, string(cmd.Data)}, 0)
	e.add(cmd.Channel, own.Hash(), h.now())
	return true
}
