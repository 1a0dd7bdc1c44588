package access

import "sidecast/relay/protocol"

// Access is who may hear and say what. It is immutable and safe for concurrent use. The zero value opens nothing.
type Rules struct {
	Names    Names
	Channels Patterns // what is relayed at all
	Durable  Patterns // those of Channels whose channels are streams
	Public   Patterns // what anybody may hear
	Publish  Patterns // what anybody may publish to
	Login    bool     // a client can become somebody, so that nobody is told to log in rather than that it is forbidden
}

// Subscribe returns the error that keeps a client from hearing channel, or [CodeOK].
func (a *Rules) Subscribe(id *Identity, channel string) protocol.Code {
	if code := a.Relayed(channel); code != protocol.CodeOK {
		return code
	}
	return a.verdict(id, a.Public.Match(channel) || id.canSubscribe(channel))
}

// PublishTo returns the error that keeps a client from publishing to channel, or [CodeOK].
func (a *Rules) PublishTo(id *Identity, channel string) protocol.Code {
	if code := a.Relayed(channel); code != protocol.CodeOK {
		return code
	}
	return a.verdict(id, a.Publish.Match(channel) || id.canPublish(channel))
}

// relays judges a name before any grant is looked at: reserved names are no names, whatever a grant says.
func (a *Rules) Relayed(channel string) protocol.Code {
	switch {
	case !ValidChannel(channel), a.Names.Reserved(channel):
		return protocol.CodeBadChannel
	case !a.Channels.Match(channel):
		return protocol.CodeForbidden
	}
	return protocol.CodeOK
}

func (a *Rules) verdict(id *Identity, open bool) protocol.Code {
	switch {
	case open:
		return protocol.CodeOK
	case id == nil && a.Login:
		return protocol.CodeUnauthorized
	}
	return protocol.CodeForbidden
}
