package access

import (
	"context"
	"slices"
	"time"

	"sidecast/relay/protocol"
)

// An Identity holds who a client is and its own grants, in addition to the
// public channels. It comes from one source, a token or the application's
// login, and never combines two. It is immutable and may be shared by sessions.
// A nil *Identity is an anonymous client.
type Identity struct {
	User      string    // a name that [ValidUser] accepts
	Subscribe Patterns  // the channels that the client may subscribe to
	Publish   Patterns  // the channels that it may publish to
	Own       []string  // the user's own channels: the client may subscribe to them, and joins those that are relayed
	Join      []string  // channels to join at the start; they need a grant or must be public
	Until     time.Time // when the session ends unless it is refreshed; zero for no end

	// Established is when the login was made: the time at which a token was
	// issued (iat), or at which the relay sent the application the question
	// about the user. Zero if that is not known.
	Established time.Time
	TokenID     string // of the token (jti); empty if it has none
	// Info describes the user to other members of a channel: JSON of at most
	// [MaxInfo] bytes from the application, or nil.
	Info []byte
}

// MaxInfo is the maximum size of [Identity.Info], in bytes.
const MaxInfo = 1 << 10

// UserID returns the user's id, or "" for an anonymous client.
func (id *Identity) UserID() string {
	if id == nil {
		return ""
	}
	return id.User
}

// canSubscribe reports whether the client's own grants allow it to subscribe to
// channel.
func (id *Identity) canSubscribe(channel string) bool {
	return id != nil && (id.Subscribe.Match(channel) || slices.Contains(id.Own, channel))
}

// canPublish reports whether the client's own grants allow it to publish to
// channel.
func (id *Identity) canPublish(channel string) bool { return id != nil && id.Publish.Match(channel) }

// A Principal is what the relay knows about a client when it connects. The zero
// value is an anonymous client.
type Principal struct {
	Identity *Identity
	// Ask asks the application about a channel that no grant opens. It returns
	// [protocol.CodeOK] and the time until which the channel is open (zero for
	// no end), [protocol.CodeForbidden] or [protocol.CodeUnavailable]. It may
	// wait until ctx ends and is called concurrently. It is nil if the
	// application cannot be asked.
	Ask func(ctx context.Context, user, channel string) (until time.Time, code protocol.Code)
}
