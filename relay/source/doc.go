// Package source is the way from Redis to the relay: one subscription by patterns, heard completely or with its
// holes declared.
//
// # The link and the tap
//
// A [Link] owns a go-redis client that does nothing but subscribe. go-redis dials, logs in, and subscribes again on
// each new conn; but the net.Conn that it is given is ours, the tap. Once go-redis subscribes, the tap walks over every
// reply and takes messages, markers and answers to its own PINGs out of the stream, as slices of its read buffer and
// without an allocation, and hands them to the [Sink] in the order of the wire. What remains is go-redis's, byte for
// byte.
//
// # Epochs
//
// An epoch is one conn. It begins when the marker channel and every pattern were confirmed on it once, which Online
// says, and ends at its first error or close, which Offline says. Whatever is published in an epoch reaches the sink
// before its Offline or is lost with it; whatever is published between epochs is lost. Messages that arrive on a conn
// before its epoch begins are thrown away: they belong to the hole that clients are told of.
//
// Some things end an epoch besides Redis and the network. The watchdog closes a conn on which nothing came for 8 s
// although it was asked with a PING. The probe closes one over which a marker of our own does not come back. A server
// that has become a replica is left, or that is no longer the one to listen to. Each is found within 10 s. A sink that is slow ends nothing: while it is we
// who do not read, the clocks stand still.
//
// Epochs are counted by the cause of their end. An attempt that ends because a subscription is refused or the server is a
// replica never was an epoch; it is counted under its cause all the same, once for as long as the trouble lasts.
//
// # Markers
//
// Relays publish markers on one service channel and hear each other's. The payload is text, 44 bytes:
//
//	1 0123456789000001 00112233aabbccdd 5f3c9a1b
//
// The fields are the version, the id, the run of the relay that published it, and a hash of the settings that replicas
// must share (the prefixes, and the patterns in any order). Ids are never used twice. A relay publishes one when an
// epoch begins, when it has seen nobody's for 1 s give or take a fifth, and its own at least every 5 s. A relay that may
// not publish them, or not hear them, goes on without and says so once.
//
// # Streams
//
// Some of the patterns may be those of durable channels, whose messages lie in streams at the keys of the same names. What is
// published there goes to the sink as a nudge ([Nudged]), whatever its payload, and the hub reads the stream by
// [Link.Streams]: inclusively from the last entry that it knows, on the master alone. Where Redis sends keyspace events, they
// are nudges too; they have a conn of their own, so that a server that refuses them costs the link nothing.
//
// # Rights
//
// With an ACL, this is all that the relay's user needs. Redis compares the pattern of a PSUBSCRIBE with the user's
// patterns letter by letter, so there must be one & for each pattern that is configured, prefix included:
//
//	ACL SETUSER relay on >password resetkeys resetchannels &chat:* &sidecast:* -@all +psubscribe +punsubscribe
//	    +subscribe +unsubscribe +publish +ping +role +info +hello +auth +client|setname
//
// For durable channels it needs %R~order:* (before Redis 7.0 ~order:*), +xrange, +xrevrange, +xinfo, +multi and +exec for each
// pattern order:*, and %RW~order:* and +xadd where clients may publish to them.
//
// Without +role a replica is not noticed, without +info clients cannot resume at another replica of the relay, and without
// &sidecast:* or +publish neither can they nor is delivery probed. Each is warned of once. [Check] tells what is missing;
// with +pubsub|numsub it tells more.
//
// With a cluster also +cluster|slots and +cluster|links, on all of its nodes; the second needs Redis 7.0.
//
// # Sentinel
//
// The dialler asks all Sentinels for the master and believes most of them. They are asked again every 5 s, and the link
// leaves a master that they name no more, even if it lives and takes itself for one.
//
// # Cluster
//
// A cluster passes every PUBLISH to all of its nodes. The link listens to the master that has the slot of the marker
// channel, wherever an application publishes, so that all relays meet at one node and hear everything in its order. It asks
// that node first whether it has the slot: while a failover spreads, others may name any. A
// link stays where it is when that slot moves: nothing is lost by it, and to follow would cost every client a gap. Clients
// that change between it and a relay at the new node are told of one, which is warned of. Messages are published at the
// master of the channel's slot, and never twice.
//
// Between the nodes messages travel on the cluster's bus, one link for each pair and direction. When one breaks, what was
// in it is lost, though PUBLISH was answered. So the link watches the bus of its node: whatever is read is handed over
// only when no other node came, went or had a new link to it since the epoch began. Else the epoch ends, and the next one
// waits up to 2 s for the nodes that have no link yet. One that has none after that is warned of: what is published there
// is missing until it has a link, which ends the epoch again. This costs a
// question to the node for each read, 200 a second at most, and a delay of up to 5 ms. Before Redis 7.0, or without the
// right, nothing is told of the bus, and losses there are silent: that is warned of once.
//
// # What is not relayed
//
// A channel that several patterns match belongs to the first of them in configuration order; the other copies are
// counted as overlap. Reserved names, invalid names, and payloads beyond the limit are dropped and counted too; the last
// also reach the sink as Oversize. Copies of markers that a wide pattern brings are dropped without being counted.
package source
