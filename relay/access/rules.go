package access

import (
	"strings"

	"sidecast/relay/protocol"
)

// Rules decides what a client may subscribe to and publish to. It must not be
// changed after its first use, and is then safe for concurrent use. The zero
// value allows nothing.
type Rules struct {
	Names    Names
	Channels Patterns // the channels that are relayed at all
	Durable  Patterns // those of Channels whose channels are streams
	Public   Patterns // the channels that every client may subscribe to
	Publish  Patterns // the channels that every client may publish to
	Presence Patterns // the channels whose users are known to each other and to the application
	Login    bool     // clients can log in: an anonymous client gets CodeUnauthorized rather than CodeForbidden

	Secrets *ChannelSecrets // verify signed channels; nil: signatures are ignored

	// App verifies what the application signs for clients of the Pusher
	// protocol. If it is nil, the prefixes of that protocol mean nothing.
	App *App
}

// Subscribe returns [protocol.CodeOK] if the client may subscribe to channel,
// or else the reason why not. id is nil for an anonymous client.
func (r *Rules) Subscribe(id *Identity, channel string) protocol.Code {
	if code := r.Relayed(channel); code != protocol.CodeOK {
		return code
	}
	return r.decide(id, r.Public.Match(channel) && !r.Guarded(channel) || id.canSubscribe(channel))
}

// Guarded reports whether the Pusher protocol gives the channel a prefix by which
// it is never public, whatever the patterns of public channels are.
// Nor is it public if Laravel's own prefix of all names in Redis precedes that
// one: without the setting for this prefix, the events of private channels arrive
// under such names.
func (r *Rules) Guarded(channel string) bool {
	return r.App != nil && (KindOf(channel).Guarded() || KindOf(withoutLaravelPrefix(channel)).Guarded())
}

// withoutLaravelPrefix returns what follows the prefix that Laravel has in
// config/database.php unless it is changed: the name of the application, and
// `_database_` or, since Laravel 12, `-database-`.
func withoutLaravelPrefix(channel string) string {
	for _, end := range []string{"_database_", "-database-"} {
		if _, rest, ok := strings.Cut(channel, end); ok {
			return rest
		}
	}
	return channel
}

// PublishTo returns [protocol.CodeOK] if the client may publish to channel, or
// else the reason why not. id is nil for an anonymous client.
func (r *Rules) PublishTo(id *Identity, channel string) protocol.Code {
	if code := r.Relayed(channel); code != protocol.CodeOK {
		return code
	}
	return r.decide(id, r.Publish.Match(channel) && !r.Guarded(channel) || id.canPublish(channel))
}

// Relayed returns [protocol.CodeOK] if channel is relayed. It does not consider
// grants: reserved names are never valid, whatever a grant says.
func (r *Rules) Relayed(channel string) protocol.Code {
	switch {
	case !ValidChannel(channel), r.Names.Reserved(channel):
		return protocol.CodeBadChannel
	case !r.Channels.Match(channel):
		return protocol.CodeForbidden
	}
	return protocol.CodeOK
}

func (r *Rules) decide(id *Identity, open bool) protocol.Code {
	switch {
	case open:
		return protocol.CodeOK
	case id == nil && r.Login:
		return protocol.CodeUnauthorized
	}
	return protocol.CodeForbidden
}
