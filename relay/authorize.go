package relay

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"sidecast/relay/access"
	"sidecast/relay/protocol"
)

const (
	// askTimeout bounds how long one command waits for the application's
	// answers about its channels: the client's next commands and its pongs wait
	// with it.
	askTimeout = 5 * time.Second
	// askAtOnce is about how many of one client's channels the application is
	// asked at once, so that a client with many channels does not use up the
	// share of its user or address, which other connections need too.
	askAtOnce = 4
	// verifyTimeout bounds how long the verification of a token takes that the
	// client sent over the connection.
	verifyTimeout = 5 * time.Second
)

// A grant is the decision about one channel: the application's answer, or that
// of a signature.
type grant struct {
	code  protocol.Code
	why   protocol.CloseReason // of a code other than CodeOK; may be the usual one
	until time.Time            // zero for no end; used by the session only

	// Only if a signature opened the channel.
	signed bool
	app    bool   // as in the Pusher protocol: it has no end, and the user is a member whoever the client is otherwise
	user   string // that was signed; empty for every client
	info   []byte // about that user; nil if there is none
	ends   int64  // until, as in Session.expires; guarded by the shard's mu
	index  int    // in shard.signed, or -1; guarded by the shard's mu
}

// isOpen reports whether the channel of a subscription is still open without a
// new decision. The application's answer counts as long as the session. g may be
// nil.
func (g *grant) isOpen() bool { return g != nil && (!g.expires() || g.until.After(time.Now())) }

// expires reports whether only the subscription ends when the grant does.
func (g *grant) expires() bool { return g.signed && !g.app }

// reason returns why the channel is closed. g may be nil.
func (g *grant) reason() protocol.CloseReason {
	if g == nil {
		return protocol.ReasonUsual
	}
	return g.why
}

// Grants are decisions by channel. A nil map has no decisions.
type grants map[string]grant

// Admit returns 0 if a client may have these channels at once, otherwise the
// code with which it has to be closed. It is called before there is a session,
// and may wait for the application, whose grants it stores in c.
func (h *Hub) Admit(ctx context.Context, c *Client, channels []string) protocol.CloseCode {
	if len(channels) > h.cfg.MaxChannels {
		return protocol.ClosePolicy.Because(protocol.ReasonChannels)
	}
	if h.revoked.end(c.Identity) {
		return protocol.CloseUnauthorized.Because(protocol.ReasonRevoked)
	}
	answers := h.decide(ctx, c, channels)
	for _, channel := range channels {
		code, mistake := h.cfg.Access.Subscribe(c.Identity, channel), access.Mistake(channel)
		if answer, asked := answers[channel]; asked {
			code, mistake = answer.code, cmp.Or(mistake, answer.why)
		}
		h.logNotReceived(channel, code, mistake)
		h.reportNotAdmitted(c, channel, code)
		switch code {
		case protocol.CodeOK:
		case protocol.CodeUnauthorized:
			return protocol.CloseUnauthorized.Because(cmp.Or(mistake, protocol.ReasonLogin))
		case protocol.CodeUnavailable:
			return protocol.CloseTryLater
		case protocol.CodeBadChannel:
			return protocol.CloseForbidden.Because(cmp.Or(mistake, protocol.ReasonName))
		default:
			return protocol.CloseForbidden.Because(cmp.Or(mistake, protocol.ReasonChannel))
		}
	}
	c.grants = answers
	return h.Leaving()
}

// decide returns the decisions about the channels for which the client presents
// a signature, and those of the application.
func (h *Hub) decide(ctx context.Context, c *Client, channels []string) grants {
	if len(c.Signatures) == 0 || h.cfg.Access.Secrets == nil {
		return h.askApplication(ctx, c.Principal, channels)
	}
	signed := make(grants, len(c.Signatures))
	var others []string
	for _, channel := range channels {
		if signature := c.Signatures[channel]; h.hasSignature(signature) {
			signed[channel] = h.verifySignature(c.Identity, channel, signature)
		} else {
			others = append(others, channel)
		}
	}
	maps.Copy(signed, h.askApplication(ctx, c.Principal, others))
	return signed
}

// askApplication asks the application about the relayed channels to which the
// client has no other right.
func (h *Hub) askApplication(ctx context.Context, principal access.Principal, channels []string) grants {
	if principal.Ask == nil {
		return nil
	}
	var open []string
	for _, channel := range channels {
		if h.cfg.Access.Relayed(channel) == protocol.CodeOK && h.cfg.Access.Subscribe(principal.Identity, channel) != protocol.CodeOK &&
			!slices.Contains(open, channel) {
			open = append(open, channel)
		}
	}
	if len(open) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	answers := make([]grant, len(open))
	var asking sync.WaitGroup
	for first := range min(askAtOnce, len(open)) {
		asking.Go(func() {
			for i := first; i < len(open); i += askAtOnce {
				answers[i].until, answers[i].code = principal.Ask(ctx, principal.Identity.UserID(), open[i])
			}
		})
	}
	asking.Wait()
	all := make(grants, len(open))
	for i, channel := range open {
		all[channel] = answers[i]
	}
	return all
}

// askApplication asks the application about the channels of one command, as far
// as the session may have more channels.
func (s *Session) askApplication(requests []protocol.ChannelRequest) grants {
	if s.principal.Ask == nil {
		return nil
	}
	var channels []string
	for _, request := range requests {
		if s.hub.hasSignature(signatureOf(request)) || s.hub.hasAuth(request) {
			continue
		}
		i := s.subscription(request.Channel)
		if (i < 0 || s.subs[i].grant == nil) && len(s.subs)+len(channels) < s.hub.cfg.MaxChannels {
			channels = append(channels, request.Channel)
		}
	}
	defer s.block()()
	return s.hub.askApplication(context.Background(), s.principal, channels)
}

// authorize returns the error that prevents the session from subscribing to a
// channel, or [protocol.CodeOK], and the signature or the application's answer
// if that is what decides.
func (s *Session) authorize(request protocol.ChannelRequest, answers grants) (protocol.Code, *grant) {
	channel := request.Channel
	if s.hub.hasAuth(request) {
		g := s.verifyAuth(request)
		return g.code, &g
	}
	if signature := signatureOf(request); s.hub.hasSignature(signature) {
		g := s.hub.verifySignature(s.principal.Identity, channel, signature)
		return g.code, &g
	}
	code := s.hub.cfg.Access.Subscribe(s.principal.Identity, channel)
	if code == protocol.CodeOK {
		return code, nil
	}
	if i := s.subscription(channel); i >= 0 && s.subs[i].grant.isOpen() {
		return protocol.CodeOK, s.subs[i].grant
	}
	answer, asked := answers[channel]
	switch {
	case !asked:
		return code, nil
	case answer.code != protocol.CodeOK:
		return answer.code, nil
	}
	return protocol.CodeOK, &answer
}

// authenticate verifies a token that the client sent over the connection. It
// renews the session or closes it.
func (s *Session) authenticate(cmd protocol.Command) {
	verify := s.hub.cfg.Verify
	if verify == nil {
		cmd.Problem = "this relay accepts no tokens: set SIDECAST_JWT_SECRET, SIDECAST_JWT_PUBLIC_KEY or SIDECAST_JWT_JWKS_URL"
		s.refuse(cmd, "", protocol.CodeUnknownType)
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), verifyTimeout)
	defer cancel()
	began, done := time.Now(), s.block()
	id, code := verify(ctx, cmd.Token)
	done()
	if code == protocol.CodeUnavailable {
		s.refuse(cmd, "", code)
		return
	}
	was := s.principal.Identity
	if code != protocol.CodeOK || was != nil && was.User != id.User {
		s.count(cmd.Type, protocol.CodeUnauthorized)
		s.Close(protocol.CloseUnauthorized.Because(protocol.ReasonOtherUser))
		return
	}
	if s.hub.revoked.end(id) {
		s.count(cmd.Type, protocol.CodeUnauthorized)
		s.Close(protocol.CloseUnauthorized.Because(protocol.ReasonRevoked))
		return
	}
	s.count(cmd.Type, protocol.CodeOK)
	s.setIdentity(id, began)
	s.setDeadline()
	if cmd.Ref != nil {
		s.send(protocol.Event{Type: protocol.EventOK, Ref: cmd.Ref})
	}
	s.leaveRevoked()
	if was == nil {
		s.becomeMember()
		s.subscribeOwn()
	}
	s.renewMembers()
}

// leaveRevoked unsubscribes the session from channels to which it no longer has
// a right.
func (s *Session) leaveRevoked() {
	var ended []*Subscription
	for _, sub := range s.subs {
		channel := sub.channel.Name()
		if g := sub.grant; g != nil && (g.app || isFor(g.user, s.principal.Identity)) ||
			g == nil && s.hub.cfg.Access.Subscribe(s.principal.Identity, channel) == protocol.CodeOK {
			continue
		}
		s.hub.removeSubscription(sub, subscribeEnded, s.protocol.Event(protocol.Event{
			Type: protocol.EventUnsubscribed, Channel: channel, Ended: protocol.EndRevoked,
		}))
		ended = append(ended, sub)
	}
	if len(ended) > 0 {
		s.removeSubs(func(sub *Subscription) bool { return slices.Contains(ended, sub) })
	}
}

// SubscribeOwn subscribes the session to the channels that its identity names,
// up to the channel limit: silently to the user's own channels if they are
// relayed, and with an answer in any case to those that the token asks for.
func (s *Session) SubscribeOwn() {
	s.enterExclusive()
	defer s.exitExclusive()
	s.subscribeOwn()
}

func (s *Session) subscribeOwn() {
	id := s.principal.Identity
	if id == nil {
		return
	}
	s.removeFailed()
	var started []*resume
	for i, channel := range slices.Concat(id.Own, id.Join) {
		code := s.hub.cfg.Access.Subscribe(id, channel)
		switch {
		case s.subscription(channel) >= 0:
		case code == protocol.CodeOK && len(s.subs) < s.hub.cfg.MaxChannels:
			request := protocol.ChannelRequest{Channel: channel, Last: s.hub.Newest(int(s.last), channel)}
			started = append(started, s.join(protocol.Command{Type: protocol.CommandSubscribe}, request, nil))
		case i >= len(id.Own):
			s.send(protocol.Event{Type: protocol.EventError, Command: protocol.CommandSubscribe, Channel: channel, Code: cmp.Or(code, protocol.CodeTooManyChannels)})
		}
	}
	s.awaitAnswers(started)
}

// setDeadline lets the session expire when the first of its rights does.
func (s *Session) setDeadline() {
	var end time.Time
	if id := s.principal.Identity; id != nil {
		end = id.Until
	}
	s.shard.enter()
	defer s.shard.exit()
	for _, sub := range s.subs {
		g := sub.grant
		if g == nil || g.signed || !sub.is(subscribeAnswered) {
			continue
		}
		if end.IsZero() || !g.until.IsZero() && g.until.Before(end) {
			end = g.until
		}
	}
	s.expires.Store(s.deadline(end))
}

// limitDeadline lets the session expire when a right does that it uses from now
// on, unless only a subscription ends then. g may be nil. The shard is locked.
func (s *Session) limitDeadline(g *grant) {
	if g == nil || g.signed || g.until.IsZero() {
		return
	}
	if end, now := s.deadline(g.until), s.expires.Load(); now == 0 || end < now {
		s.expires.Store(end)
	}
}

// deadline returns a time as in Session.expires.
func (s *Session) deadline(end time.Time) int64 {
	if end.IsZero() {
		return 0
	}
	const century = 100 * 365 * 24 * time.Hour
	return max(s.hub.now()+int64(min(time.Until(end), century)), 1)
}
