package relay

// Access is who may hear and say what. It is immutable and safe for concurrent use. The zero value opens nothing.
type Access struct {
	Names    Names
	Channels Patterns // what is relayed at all
	Public   Patterns // what anybody may hear
	Publish  Patterns // what anybody may publish to
}

// Subscribe returns the error that keeps a client from hearing channel, or [CodeOK].
func (a *Access) Subscribe(channel string) Code { return a.check(channel, a.Public) }

// PublishTo returns the error that keeps a client from publishing to channel, or [CodeOK].
func (a *Access) PublishTo(channel string) Code { return a.check(channel, a.Publish) }

// check knows the one order in which a name is judged: reserved names are no names, whatever a grant says.
func (a *Access) check(channel string, grants Patterns) Code {
	switch {
	case !ValidChannel(channel), a.Names.Reserved(channel):
		return CodeBadChannel
	case !a.Channels.Match(channel), !grants.Match(channel):
		return CodeForbidden
	}
	return CodeOK
}
