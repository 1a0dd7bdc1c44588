package access

import (
	"context"
	"slices"
	"time"

	"sidecast/relay/protocol"
)

// An Identity is who a client is, and what is open to it beyond what is public: the word of one method, a token or the
// application's login, and never of two together. It is immutable and may be shared by sessions. A nil *Identity is
// anybody.
type Identity struct {
	User      string    // passes [ValidUser]
	Subscribe Patterns  // what the client may hear
	Publish   Patterns  // what it may publish to
	Own       []string  // channels of this user: open to it, and joined where they are relayed
	Join      []string  // channels to join at once; they have to be open otherwise
	Until     time.Time // when the session ends unless it is refreshed; zero for never
}

func (id *Identity) UserID() string {
	if id == nil {
		return ""
	}
	return id.User
}

// hears reports whether the identity's own grants open channel.
func (id *Identity) canSubscribe(channel string) bool {
	return id != nil && (id.Subscribe.Match(channel) || slices.Contains(id.Own, channel))
}

// says reports whether the identity's own grants let it publish to channel.
func (id *Identity) canPublish(channel string) bool { return id != nil && id.Publish.Match(channel) }

// A Visitor is what is known of who a client is when it connects. The zero value is anybody.
type Principal struct {
	Identity *Identity
	// Ask asks the application about a channel that no grant opens. It returns [CodeOK] and until when the channel is open
	// (zero for no end), [CodeForbidden] or [CodeUnavailable]. It may wait until ctx ends and is called concurrently. Nil
	// where there is nobody to ask.
	Ask func(ctx context.Context, user, channel string) (until time.Time, code protocol.Code)
}
