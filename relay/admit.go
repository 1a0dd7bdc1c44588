package relay

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"maps"
	"slices"
	"sync"
	"time"
	"unicode/utf8"

	"sidecast/relay/access"
	"sidecast/relay/protocol"
)

const (
	// askTimeout bounds how long one command waits for the application's word on its channels: the client's next command,
	// and its pongs, wait with it.
	askTimeout = 5 * time.Second
	// askAtOnce is how many of one client's channels the application is asked about at once, so that no client fills the
	// queue that all share.
	askAtOnce = 4
	// verifyTimeout bounds how long a token that came over the connection takes to be verified.
	verifyTimeout = 5 * time.Second
)

// A permit is the application's answer about one channel.
type grant struct {
	code  protocol.Code
	until time.Time // zero for no end
}

// permits are answers by channel. A nil one holds none.
type grants map[string]grant

// Admit returns the code with which a client that wants these channels at once has to be closed, or 0. It is asked before
// there is a session, and may wait for the application. What the application opened is noted in c.
func (h *Hub) Admit(ctx context.Context, c *Client, channels []string) protocol.CloseCode {
	if len(channels) > h.cfg.MaxChannels {
		return protocol.ClosePolicy
	}
	answers := h.askApplication(ctx, c.Principal, channels)
	for _, channel := range channels {
		code := h.cfg.Access.Subscribe(c.Identity, channel)
		if answer, asked := answers[channel]; asked {
			code = answer.code
		}
		switch code {
		case protocol.CodeOK:
		case protocol.CodeUnauthorized:
			return protocol.CloseUnauthorized
		case protocol.CodeUnavailable:
			return protocol.CloseTryLater
		default:
			return protocol.CloseForbidden
		}
	}
	c.grants = answers
	return h.Leaving()
}

// Leaving returns the code with which newcomers have to be closed because the relay stops, or 0.
func (h *Hub) Leaving() protocol.CloseCode { return protocol.CloseCode(h.draining.Load()) }

// askAll asks the application about those of the channels that are relayed and that no grant opens.
func (h *Hub) askApplication(ctx context.Context, v access.Principal, channels []string) grants {
	if v.Ask == nil {
		return nil
	}
	var open []string
	for _, channel := range channels {
		if h.cfg.Access.Relayed(channel) == protocol.CodeOK && h.cfg.Access.Subscribe(v.Identity, channel) != protocol.CodeOK &&
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
				answers[i].until, answers[i].code = v.Ask(ctx, v.Identity.UserID(), open[i])
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

// ask asks the application about the channels of one command, as far as the session may have more.
func (s *Session) askApplication(requests []protocol.ChannelRequest) grants {
	if s.principal.Ask == nil {
		return nil
	}
	var channels []string
	for _, request := range requests {
		_, known := s.grants[request.Channel]
		if !known && len(s.subs)+len(channels) < s.hub.cfg.MaxChannels {
			channels = append(channels, request.Channel)
		}
	}
	defer s.block()()
	return s.hub.askApplication(context.Background(), s.principal, channels)
}

// judge returns the error that keeps the session from hearing channel, and notes what the application said.
func (s *Session) authorize(channel string, answers grants) protocol.Code {
	code := s.hub.cfg.Access.Subscribe(s.principal.Identity, channel)
	if code == protocol.CodeOK {
		return code
	}
	if _, known := s.grants[channel]; known {
		return protocol.CodeOK
	}
	answer, asked := answers[channel]
	switch {
	case !asked:
		return code
	case answer.code != protocol.CodeOK:
		return answer.code
	}
	if len(s.grants) >= s.hub.cfg.MaxChannels {
		maps.DeleteFunc(s.grants, func(channel string, _ grant) bool { return s.subscription(channel) < 0 })
	}
	if s.grants == nil {
		s.grants = make(grants)
	}
	s.grants[channel] = answer
	s.setDeadline()
	return protocol.CodeOK
}

// authenticate takes a token that the client sent over the connection: it renews the session, or ends it.
func (s *Session) authenticate(cmd protocol.Command) {
	verify := s.hub.cfg.Verify
	if verify == nil {
		s.refuse(cmd, "", protocol.CodeUnknownType)
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), verifyTimeout)
	defer cancel()
	done := s.block()
	id, code := verify(ctx, cmd.Token)
	done()
	if code == protocol.CodeUnavailable {
		s.refuse(cmd, "", code)
		return
	}
	was := s.principal.Identity
	if code != protocol.CodeOK || was != nil && was.User != id.User {
		s.count(cmd.Type, protocol.CodeUnauthorized)
		s.Close(protocol.CloseUnauthorized)
		return
	}
	s.count(cmd.Type, protocol.CodeOK)
	s.principal.Identity = id
	s.setDeadline()
	if cmd.Ref != nil {
		s.send(protocol.Event{Type: protocol.EventOK, Ref: cmd.Ref})
	}
	s.leaveRevoked()
	if was == nil {
		s.SubscribeOwn()
	}
}

// leaveClosed takes the session out of the channels that its identity does not open any more.
func (s *Session) leaveRevoked() {
	s.subs = slices.DeleteFunc(s.subs, func(sub *Subscription) bool {
		channel := sub.channel.Name()
		if _, asked := s.grants[channel]; asked || s.hub.cfg.Access.Subscribe(s.principal.Identity, channel) == protocol.CodeOK {
			return false
		}
		s.hub.removeSubscription(sub, s.protocol.Event(protocol.Event{Type: protocol.EventUnsubscribed, Channel: channel}))
		return true
	})
}

// SubscribeOwn puts the session into the channels that its identity names, as far as there is room: its own where they are
// relayed, those that the token asked for with an answer in any case.
func (s *Session) SubscribeOwn() {
	id := s.principal.Identity
	if id == nil {
		return
	}
	for i, channel := range slices.Concat(id.Own, id.Join) {
		code := s.hub.cfg.Access.Subscribe(id, channel)
		switch {
		case s.subscription(channel) >= 0:
		case code == protocol.CodeOK && len(s.subs) < s.hub.cfg.MaxChannels:
			s.join(protocol.Command{Type: protocol.CommandSubscribe}, protocol.ChannelRequest{Channel: channel})
		case i >= len(id.Own):
			s.send(protocol.Event{Type: protocol.EventError, Channel: channel, Code: cmp.Or(code, protocol.CodeTooManyChannels)})
		}
	}
}

// setDeadline makes the session end when the first thing ends that it rests on.
func (s *Session) setDeadline() {
	var end time.Time
	if id := s.principal.Identity; id != nil {
		end = id.Until
	}
	for _, p := range s.grants {
		if end.IsZero() || !p.until.IsZero() && p.until.Before(end) {
			end = p.until
		}
	}
	if end.IsZero() {
		s.expires.Store(0)
		return
	}
	const century = 100 * 365 * 24 * time.Hour
	s.expires.Store(max(s.hub.now()+int64(min(time.Until(end), century)), 1))
}

// wrap says who sent what reaches Redis.
func wrapPublished(id *access.Identity, session string, data []byte) []byte {
	message := struct {
		User    *string `json:"user"` // null for anybody
		Session string  `json:"session"`
		Data    *string `json:"data,omitempty"`
		Base64  *[]byte `json:"base64,omitempty"` // in place of data, where that is not UTF-8
	}{Session: session}
	if id != nil {
		message.User = &id.User
	}
	if utf8.Valid(data) {
		message.Data = new(string(data))
	} else {
		message.Base64 = &data
	}
	var wrapped bytes.Buffer
	encoder := json.NewEncoder(&wrapped)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(message); err != nil {
		panic(err) // strings and bytes are always encoded
	}
	return bytes.TrimSuffix(wrapped.Bytes(), []byte("\n"))
}
