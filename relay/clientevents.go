package relay

import (
	"sidecast/relay/access"
	"sidecast/relay/protocol"
)

// wrapEvent gives a message that a client publishes the form of an event, so that
// no client can publish one that an application could have published, nor one
// that another session does not receive. It returns a code other than
// [protocol.CodeOK] if the client may not publish the event.
func (s *Session) wrapEvent(cmd *protocol.Command) protocol.Code {
	event, data, named := cmd.Event, cmd.Data, true
	if event == "" {
		event, data, named = protocol.ClientEvent(cmd.Data)
	}
	code := s.mayPublish(cmd, named)
	if code != protocol.CodeOK {
		return code
	}
	socket, user := "", ""
	if cmd.NoEcho && s.hasSocketID() {
		socket, cmd.NoEcho = s.socketID(), false // the message says who does not receive it
	}
	if access.KindOf(cmd.Channel).Presence {
		user = s.memberUser(cmd.Channel)
	}
	size := len(event) + len(data) + len(socket) + len(user) + 64
	cmd.Data = protocol.AppendEnvelope(make([]byte, 0, size), event, data, socket, user)
	return protocol.CodeOK
}

// mayPublish returns [protocol.CodeOK] if the client may publish an event. An
// event with a name of its own on a private or presence channel needs a
// subscription that was signed, and no other right.
func (s *Session) mayPublish(cmd *protocol.Command, named bool) protocol.Code {
	kind := access.KindOf(cmd.Channel)
	signed := named && kind.Private && s.maySendEvents(cmd.Channel)
	switch {
	case signed && kind.Encrypted:
		cmd.Problem = "clients cannot send events to encrypted channels"
		return protocol.CodeForbidden
	case signed:
		s.limiter.charge(s.rate(), s.hub.now()) // half as many as other commands
		return s.hub.cfg.Access.Relayed(cmd.Channel)
	}
	code := protocol.CodeForbidden
	if s.protocol.ID() != protocol.PusherID {
		code = s.hub.cfg.Access.PublishTo(s.principal.Identity, cmd.Channel)
	}
	if code != protocol.CodeOK && s.hub.cfg.Access.App != nil {
		cmd.Problem = "events of clients need a subscription to a private or presence channel"
	}
	return code
}

// maySendEvents reports whether the application has signed the session's
// subscription to a channel, or has allowed it to a client of the Pusher
// protocol. Other signatures and answers are for receiving only.
func (s *Session) maySendEvents(channel string) bool {
	i := s.subscription(channel)
	if s.hub.cfg.Access.App == nil || i < 0 || s.subs[i].grant == nil {
		return false
	}
	return s.subs[i].grant.app || s.protocol.ID() == protocol.PusherID
}

// memberUser returns the user as whom the session is a member of a channel, or "".
func (s *Session) memberUser(channel string) string {
	i := s.subscription(channel)
	if i < 0 {
		return ""
	}
	s.shard.enter()
	defer s.shard.exit()
	if m := s.shard.members[s.subs[i]]; m != nil {
		return m.User
	}
	return ""
}
