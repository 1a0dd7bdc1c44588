package relay

import (
	"context"
	"slices"
	"time"
)

// Handle runs one message of the client, to its end: the next one is read when this one is answered. data is only valid
// during the call.
func (s *Session) Handle(data []byte, text bool) {
	if s.code.Load() != 0 {
		return // what a client says while it is being closed is not heard
	}
	cmd, code := s.protocol.Decode(data, text)
	if code != 0 {
		s.Close(code)
		return
	}
	if cmd.Type == CommandPublish && cmd.Channel == "" {
		cmd.Channel, cmd.NoEcho = s.publishTo, s.noEcho
	}
	switch s.limiter.take(s.hub.now()) {
	case limitRefuse:
		s.refuse(cmd, cmd.Channel, CodeRateLimited)
		return
	case limitSilent:
		s.count(cmd.Type, CodeRateLimited)
		return
	case limitClose:
		s.count(cmd.Type, CodeRateLimited)
		s.Close(ClosePolicy)
		return
	}
	if cmd.Fault != CodeOK {
		s.refuse(cmd, cmd.Channel, cmd.Fault)
		return
	}
	s.run(cmd)
}

func (s *Session) run(cmd Command) {
	switch cmd.Type {
	case CommandSubscribe:
		answers := s.ask(cmd.Subscribe)
		for _, request := range cmd.Subscribe {
			s.subscribe(cmd, request, answers)
		}
	case CommandUnsubscribe:
		s.unsubscribe(cmd)
	case CommandPublish:
		s.publish(cmd)
	case CommandAuth:
		s.authenticate(cmd)
	case CommandPing:
		s.count(cmd.Type, CodeOK)
		s.send(Event{Type: EventPong, Ref: cmd.Ref})
	default:
		s.refuse(cmd, "", CodeUnknownType)
	}
}

func (s *Session) count(t CommandType, code Code) { s.hub.cfg.Stats.Commands[t][code].Add(1) }

// refuse answers a command with an error, or closes where the protocol has no words for one.
func (s *Session) refuse(cmd Command, channel string, code Code) {
	s.count(cmd.Type, code)
	if s.send(Event{Type: EventError, Ref: cmd.Ref, Channel: channel, Code: code}) {
		return
	}
	switch code {
	case CodeUnavailable:
		s.Close(CloseTryLater)
	case CodeTooLarge:
		s.Close(CloseTooBig)
	default:
		s.Close(ClosePolicy)
	}
}

// Subscribe puts the session into channels that [Hub.Admit] let it have.
func (s *Session) Subscribe(channels []string) {
	for _, channel := range channels {
		if s.subscription(channel) < 0 {
			s.enter(Command{Type: CommandSubscribe}, ChannelRequest{Channel: channel})
		}
	}
}

func (s *Session) subscribe(cmd Command, request ChannelRequest, answers permits) {
	code := s.judge(request.Channel, answers)
	known := s.subscription(request.Channel) >= 0
	switch {
	case code != CodeOK:
	case known && (request.After != "" || request.At != ""):
		code = CodeBadRequest
	case !known && len(s.subs) >= s.hub.cfg.MaxChannels:
		code = CodeTooManyChannels
	}
	if code != CodeOK {
		s.refuse(cmd, request.Channel, code)
		return
	}
	if known {
		s.count(CommandSubscribe, CodeOK)
		// No cursor: messages before that of this moment may still be on their way to the client.
		s.send(Event{Type: EventSubscribed, Ref: cmd.Ref, Channel: request.Channel, Recovered: true})
		return
	}
	s.enter(cmd, request)
}

// enter puts the session into a channel that it is not in, and says so where the protocol can.
func (s *Session) enter(cmd Command, request ChannelRequest) {
	sub := s.hub.reserve(s, request.Channel)
	s.subs = append(s.subs, sub)
	if code := s.hub.resume(sub, cmd.Ref, request); code != CodeOK {
		s.subs = s.subs[:len(s.subs)-1]
		s.hub.unsubscribe(sub, nil)
		s.refuse(cmd, request.Channel, code)
		return
	}
	s.count(CommandSubscribe, CodeOK)
}

func (s *Session) unsubscribe(cmd Command) {
	i := s.subscription(cmd.Channel)
	if i < 0 {
		code := CodeNotSubscribed
		if !ValidChannel(cmd.Channel) {
			code = CodeBadChannel
		}
		s.refuse(cmd, cmd.Channel, code)
		return
	}
	s.count(CommandUnsubscribe, CodeOK)
	sub := s.subs[i]
	s.subs = slices.Delete(s.subs, i, i+1)
	s.hub.unsubscribe(sub, s.protocol.Event(Event{Type: EventUnsubscribed, Ref: cmd.Ref, Channel: cmd.Channel}))
}

// subscription returns the index of the session's place in channel, or -1. A session has few channels: a scan is cheaper
// than a map for each of many thousand sessions.
func (s *Session) subscription(channel string) int {
	return slices.IndexFunc(s.subs, func(sub *Subscription) bool { return sub.channel.name == channel })
}

// publishTimeout is how long a publish waits for Redis.
const publishTimeout = time.Second

func (s *Session) publish(cmd Command) {
	code := s.hub.cfg.Access.PublishTo(s.visitor.Identity, cmd.Channel)
	if s.hub.cfg.WrapPublished {
		cmd.Data = wrap(s.visitor.Identity, s.ID(), cmd.Data)
	}
	if code == CodeOK && len(cmd.Data) > s.hub.cfg.MaxPayload {
		code = CodeTooLarge
	}
	if code == CodeOK && !s.toRedis(cmd) {
		code = CodeUnavailable
	}
	if code != CodeOK {
		s.refuse(cmd, cmd.Channel, code)
		return
	}
	s.count(CommandPublish, CodeOK)
	if cmd.Ref != nil {
		s.send(Event{Type: EventOK, Ref: cmd.Ref})
	}
}

// toRedis publishes, and reports whether Redis said that it did.
func (s *Session) toRedis(cmd Command) bool {
	if s.hub.isDurable(cmd.Channel) {
		return s.toStream(cmd)
	}
	if s.hub.cfg.Publish == nil {
		return false
	}
	noted, hash := s.noteEcho(cmd)
	defer s.wait()()
	ctx, cancel := context.WithTimeout(context.Background(), publishTimeout)
	defer cancel()
	receivers, err := s.hub.cfg.Publish(ctx, cmd.Channel, cmd.Data)
	if noted != nil && (err != nil || receivers == 0) {
		noted.drop(cmd.Channel, hash)
	}
	return err == nil
}

// noteEcho notes that the message about to be published is not to come back, where it would.
func (s *Session) noteEcho(cmd Command) (*echoes, uint64) {
	i := s.subscription(cmd.Channel)
	if !cmd.NoEcho || i < 0 {
		return nil, 0
	}
	e := s.echos.Load()
	if e == nil {
		e = new(echoes)
		s.echos.Store(e)
	}
	s.hub.quieten(s.subs[i])
	hash := s.hub.hash(cmd.Data)
	e.add(cmd.Channel, hash, s.hub.now())
	return e, hash
}
