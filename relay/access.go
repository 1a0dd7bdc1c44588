package relay

// Access is who may hear and say what. It is immutable and safe for concurrent use. The zero value opens nothing.
type Access struct {
	Names    Names
	Channels Patterns // what is relayed at all
	Durable  Patterns // those of Channels whose channels are streams
	Public   Patterns // what anybody may hear
	Publish  Patterns // what anybody may publish to
	Login    bool     // a client can become somebody, so that nobody is told to log in rather than that it is forbidden
}

// Subscribe returns the error that keeps a client from hearing channel, or [CodeOK].
func (a *Access) Subscribe(id *Identity, channel string) Code {
	if code := a.relays(channel); code != CodeOK {
		return code
	}
	return a.verdict(id, a.Public.Match(channel) || id.hears(channel))
}

// PublishTo returns the error that keeps a client from publishing to channel, or [CodeOK].
func (a *Access) PublishTo(id *Identity, channel string) Code {
	if code := a.relays(channel); code != CodeOK {
		return code
	}
	return a.verdict(id, a.Publish.Match(channel) || id.says(channel))
}

// relays judges a name before any grant is looked at: reserved names are no names, whatever a grant says.
func (a *Access) relays(channel string) Code {
	switch {
	case !ValidChannel(channel), a.Names.Reserved(channel):
		return CodeBadChannel
	case !a.Channels.Match(channel):
		return CodeForbidden
	}
	return CodeOK
}

func (a *Access) verdict(id *Identity, open bool) Code {
	switch {
	case open:
		return CodeOK
	case id == nil && a.Login:
		return CodeUnauthorized
	}
	return CodeForbidden
}
