package relay

import (
	"encoding/json"
	"strings"
	"time"

	"sidecast/relay/access"
	"sidecast/relay/protocol"
	"sidecast/relay/roster"
)

// hasAuth reports whether a client presents what its application has signed for
// it in the Pusher protocol. That alone decides then, like a [access.Signature].
func (h *Hub) hasAuth(request protocol.ChannelRequest) bool {
	return request.Auth != "" && h.cfg.Access.App != nil
}

// verifyAuth decides about a channel for which the client presents a signature
// of its application.
func (s *Session) verifyAuth(request protocol.ChannelRequest) grant {
	app := s.hub.cfg.Access.App
	switch code := s.hub.cfg.Access.Relayed(request.Channel); code {
	case protocol.CodeOK:
	case protocol.CodeForbidden:
		return grant{code: code, why: protocol.ReasonNotRelayed}
	default:
		return grant{code: code}
	}
	presence := access.KindOf(request.Channel).Presence
	if !isChannelData(request.ChannelData, presence) ||
		!app.Verify(request.Auth, app.SignChannel(s.socketID(), request.Channel, request.ChannelData)) {
		return grant{code: protocol.CodeForbidden, why: protocol.ReasonAuth}
	}
	g := grant{signed: true, app: true}
	if !presence {
		return g
	}
	member, ok := memberOf(request.ChannelData)
	if !ok {
		return grant{code: protocol.CodeForbidden, why: protocol.ReasonChannelData}
	}
	g.user, g.info = member.User, member.Info
	return g
}

// isChannelData reports whether a text can be the channel_data that an application
// signs: empty, or, on a presence channel, an object. A colon precedes it in the
// text that is signed, and names may contain one: otherwise, the signature for
// private-orders:42 would also be that for private-orders with the data 42.
func isChannelData(text string, presence bool) bool {
	return text == "" || presence && text[0] == '{' && json.Valid([]byte(text))
}

// memberOf returns the member that the channel_data of a presence channel
// describes: an object with a user_id, which is a string or a whole number, and
// perhaps a user_info. Nothing may follow the object: it would be a part of what
// was signed as the name of another channel.
func memberOf(channelData string) (m roster.Member, ok bool) {
	var data map[string]json.RawMessage // names count exactly as they are written
	var user any
	if !decodeWhole(channelData, &data) || !decodeWhole(string(data["user_id"]), &user) || len(data["user_info"]) > access.MaxInfo {
		return m, false
	}
	m.User, m.Info = userText(user), data["user_info"]
	return m, access.ValidUser(m.User)
}

// decodeWhole decodes a text that is one JSON value, and keeps its numbers as they
// are.
func decodeWhole(text string, to any) bool {
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	return json.Valid([]byte(text)) && d.Decode(to) == nil
}

// userText returns the id of a user that is a string or a whole number in JSON, or
// "".
func userText(id any) string {
	switch id := id.(type) {
	case string:
		return id
	case json.Number:
		if strings.Trim(id.String(), "-0123456789") == "" {
			return id.String()
		}
	}
	return ""
}

// signIn makes the client of a session the user for whom its application has
// signed it in.
func (s *Session) signIn(cmd protocol.Command) {
	app := s.hub.cfg.Access.App
	if app == nil {
		s.refuse(cmd, "", protocol.CodeUnknownType)
		return
	}
	var data map[string]json.RawMessage
	var id any
	var user string
	if app.Verify(cmd.Auth, app.SignUser(s.socketID(), cmd.UserData)) && decodeWhole(cmd.UserData, &data) && decodeWhole(string(data["id"]), &id) {
		user = userText(id)
	}
	was := s.principal.Identity
	switch {
	case !access.ValidUser(user):
		cmd.Problem = "auth does not sign this user_data for this socket, or user_data has no id"
		s.refuse(cmd, "", protocol.CodeUnauthorized)
		return
	case was != nil && was.User != user:
		cmd.Problem = "signed in as another user: disconnect first"
		s.refuse(cmd, "", protocol.CodeBadRequest)
		return
	}
	s.count(cmd.Type, protocol.CodeOK)
	if was == nil {
		// The signature is for this socket, so it is not older than the session.
		began := s.hub.sockets.find(s.socketNumber()).began
		id := &access.Identity{User: user, Own: []string{access.UserChannelPrefix + user}, Established: began}
		if s.hub.revoked.end(id) {
			// The login may be newer than the connection. If the client connects
			// again, the application decides.
			s.Close(protocol.CloseTryLater)
			return
		}
		s.setIdentity(id, time.Time{})
		s.becomeMember()
	}
	s.send(protocol.Event{Type: protocol.EventSignedIn, Ref: cmd.Ref, UserData: cmd.UserData})
}
