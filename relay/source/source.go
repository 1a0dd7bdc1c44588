package source

import (
	"log/slog"

	"github.com/redis/go-redis/v9"

	"sidecast/relay/access"
	"sidecast/relay/stats"
)

// DefaultMaxPayload is the maximum payload of a message from Redis, in bytes,
// if the configuration does not set one.
const DefaultMaxPayload = 1 << 20

// Sink receives messages, markers and the state of the link. All methods are
// called by one goroutine, the link's, in the order in which Redis sent the
// messages. The link reads nothing while a method runs, so no method may wait
// for a client.
type Sink interface {
	// Publish delivers one message. The slices are valid during the call only
	// and must not be changed. channel is valid, is not reserved, and does not
	// include the channel prefix.
	Publish(channel, payload []byte)
	// Oversize reports that a message larger than the payload limit was dropped
	// at this point. channel is as for Publish.
	Oversize(channel []byte)
	// Flush reports that everything from one read was delivered and that the
	// link is about to wait.
	Flush()
	// Marker delivers the id of a marker, whichever relay published it, in its
	// place among the messages. The slice has 8 bytes and is valid during the
	// call only.
	Marker(id []byte)
	// Offline reports that the epoch is over. It is called once for each epoch
	// that began, and once at the start if the first attempt to connect fails.
	// Everything that was received before has been flushed.
	Offline()
	// Online reports that a new epoch began: everything that is published from
	// now on is received, until Offline. node identifies the Redis server: two
	// relays receive messages from the same node in the same order. If the
	// server does not identify itself, node is a random number, a new one for
	// each epoch.
	Online(node uint32)
	// Gap reports, within an epoch, that messages may be lost that were published
	// before: after a failover they went to the deposed master. node is that of
	// Online.
	Gap(node uint32)
}

// Nudged is an interface that a [Sink] must also implement if there are durable
// channels. Its methods may be called concurrently.
type Nudged interface {
	// Nudge reports that a message was published to a durable channel, so its
	// stream may have new entries. hasPayload reports whether the message had a
	// payload. channel does not include the channel prefix and is valid during
	// the call only.
	Nudge(channel []byte, hasPayload bool)
	// Event reports that Redis sent a keyspace event about a durable channel's
	// stream. channel is as for Nudge.
	Event(channel []byte)
}

// Config is the configuration of a link. It must not be changed after New.
type Config struct {
	Server     Server          // where Redis is
	Connect    Connect         // makes the clients; nil means a function of go-redis
	Names      access.Names    // prefixes
	Patterns   access.Patterns // what to subscribe to, in configuration order; at least one
	Durable    access.Patterns // those of Patterns whose channels are streams; they must be the first ones of Patterns
	MaxPayload int             // bytes; 0 means DefaultMaxPayload
	MarkersOff bool            // neither subscribe to markers nor publish them
	Embedded   bool            // the server is the relay's own in-memory one: do not warn about missing features
	Stats      *stats.Stats    // nil: count nothing
	Logger     *slog.Logger    // nil means slog.Default

	// Dropped is called for each message that is dropped because of its name,
	// which is valid during the call only. The link waits for it. nil: nothing is
	// called.
	Dropped func(name []byte, reason stats.DropReason)

	Services []Service // what else uses Redis
	Logins   bool      // clients can log in; only Check uses it
	Features Features  // what else is in use; only Check uses it

	StreamLength int // approximate number of entries to which a stream is trimmed when a client adds one; 0: no trimming
}

// Connect makes a go-redis client. It is called twice: for the client that
// subscribes, which is a client for a single node, and for the client for
// commands, which is a cluster client if the options say so. The options
// contain a Dialer, which does TLS and finds the master that Sentinels name,
// and for the first client an OnConnect. Connect must keep both, and must not
// enable retries.
type Connect func(*redis.UniversalOptions) redis.UniversalClient
