// Package source connects the relay to Redis. It subscribes to the configured
// patterns and delivers every message in order, or reports that messages may be
// missing.
//
// # The link and its connection
//
// A [Link] owns a go-redis client that does nothing but subscribe. go-redis
// dials, logs in, and subscribes again on each new connection, but the net.Conn
// that it gets is the link's own, a pubsubConn. After go-redis has subscribed,
// the pubsubConn parses every reply. It takes messages, markers and the answers
// to its own PINGs out of the stream, as slices of its read buffer and without
// allocating, and delivers them to the [Sink] in the order in which they
// arrived. Everything else goes to go-redis, byte for byte. Package resp
// contains the parts that know only the protocol.
//
// In the code, a connection begins with Link.dial, which go-redis calls.
// Link.prepareConn checks the server, and parseConfirmation begins the epoch
// with Link.beginEpoch. A message goes from pubsubConn.Read through process,
// parseReply and parsePMessage to filter.admit, which decides whether it is
// relayed, and then to Sink.Publish. The epoch ends in pubsubConn.end, which
// calls Link.endEpoch. Other goroutines only call pubsubConn.cut: the watchdog,
// the probe and the topologyWatcher.
//
// # Epochs
//
// An epoch belongs to one connection. It begins when Redis has confirmed the
// marker channel and every pattern on that connection, which Online reports,
// and ends at the first error or when the connection is closed, which Offline
// reports. Messages that are published in an epoch reach the sink before its
// Offline, or are lost when it ends. Messages that are published between epochs
// are lost. Messages that arrive on a connection before its epoch begins are
// dropped, because clients get a gap for that time.
//
// Redis and the network are not the only reasons for the end of an epoch. The
// watchdog closes a connection on which nothing has arrived for 8 s although
// the relay sent a PING. The probe closes a connection over which one of the
// relay's own markers does not return. The link leaves a server that has become
// a replica, or that is no longer the one to listen to. Each of these is
// detected within 10 s. A slow sink does not end an epoch: while the relay
// itself does not read, the time does not count.
//
// Epochs are counted by the cause of their end. An attempt that fails because a
// subscription is refused, or because the server is a replica, never was an
// epoch. It is counted under its cause all the same, once for as long as the
// problem lasts.
//
// # Markers
//
// Relays publish markers on one channel and receive each other's. The payload
// is text, 44 bytes:
//
//	1 0123456789000001 00112233aabbccdd 5f3c9a1b
//
// The fields are the version, the id, the run of the relay that published it,
// and a hash of the settings that replicas must share: the prefixes, and the
// patterns in any order. Ids are never used twice. A relay publishes a marker
// when an epoch begins, when it has received no marker for 1 s give or take a
// fifth, and at least every 5 s in any case. A relay that may not publish
// markers, or may not receive them, works without them and logs that once.
//
// # Streams
//
// Some of the patterns may be those of durable channels, whose messages are in
// the streams at the keys with the same names. A message that is published to
// such a channel is a nudge, whatever its payload: the sink receives it through
// [Nudged], and the hub reads the stream with [Link.Streams]. It reads from the
// last entry that it knows, including that entry, and from the master only. If
// a cluster moves the stream, it follows the redirects MOVED and ASK. If Redis
// sends keyspace events, they count as nudges too. They use a separate
// connection, so that the link is not affected if a server refuses them.
//
// # Rights
//
// With an ACL, the relay's user needs only the following. Redis compares the
// pattern of a PSUBSCRIBE with the user's patterns literally, so the user needs
// one & for each configured pattern, including the prefix:
//
//	ACL SETUSER relay on >password resetkeys resetchannels &chat:* &sidecast:* -@all +psubscribe +punsubscribe
//	    +subscribe +unsubscribe +publish +ping +role +info +hello +auth +client|setname
//
// For durable channels it needs %R~order:* (before Redis 7.0 ~order:*) for each
// pattern order:*, +xrange and +xinfo, and +xrevrange for clients that ask for
// the newest entries. If clients may publish to them, it also needs %RW~order:*
// and +xadd.
//
// Without +role the relay does not notice a replica, and without +info clients
// cannot resume at another replica of the relay. Without &sidecast:* or
// +publish they cannot do so either, and the relay does not probe delivery.
// Each of these is logged once. [Check] reports the missing rights; with
// +pubsub|numsub it reports more.
//
// In a cluster the user also needs +cluster|slots and +cluster|links, on all
// nodes. The second needs Redis 7.0. Durable channels also need +asking, without
// which their streams cannot be used while their slot moves.
//
// # Sentinel
//
// The dialer asks all Sentinels for the master and uses the most frequent
// answer. The relay asks them again every 5 s. The link leaves a master that
// they no longer name, even if that server is running and considers itself the
// master. Until it becomes a replica or stops, applications that have not
// noticed the failover publish to it, after clients got the gap of the new
// epoch. So the relay asks it for its role once a second, for 5 minutes, and
// reports one more gap when it is no longer a master or has not answered for
// 30 s. In the latter case it may return as a master, for example until the
// Sentinels make it a replica. Then the relay reports another gap in the same
// way.
//
// # Cluster
//
// A cluster forwards every PUBLISH to all of its nodes. The link listens to the
// master that owns the slot of the marker channel, at whichever node an
// application publishes, so that all relays listen to one node and receive
// everything in the same order. The relay first asks that node whether it owns
// the slot, because during a failover other nodes may name any node. If the
// slot moves, the link stays at its node: no message is lost, and following the
// slot would cause a gap for every client. Clients that change between this
// relay and one at the new node get a gap, which the relay logs as a warning.
// Messages are published at the master of the channel's slot, and never twice.
//
// Between the nodes, messages travel on the cluster's bus, over one link for
// each pair of nodes and each direction. When a link breaks, the messages in it
// are lost although PUBLISH was answered. So the relay watches the bus of its
// node, and delivers the messages that it has read only if no other node
// joined, left or opened a new link to the node since the epoch began.
// Otherwise the epoch ends, and the next one waits up to 2 s for the nodes that
// have no link yet. A node that has no link after that is logged: messages that
// are published there do not arrive until it has a link, which ends the epoch
// again. Watching costs one question to the node for each read, 200 a second at
// most, and a delay of up to 5 ms. Before Redis 7.0, or without the right, the
// server does not report the bus and losses there are not noticed, which is
// logged once.
//
// # Messages that are not relayed
//
// A channel that several patterns match belongs to the first of them in
// configuration order. The copies for the other patterns are dropped and
// counted as overlap. Messages with reserved or invalid names, and payloads
// that exceed the limit, are dropped and counted too; the last also reach the
// sink as Oversize. Copies of markers and of messages for services that a wide
// pattern matches are dropped without being counted.
//
// # Services
//
// Other parts of the relay use Redis, too: a [Service] has a channel of the
// relay's own, is prepared before an epoch begins, and sends commands with
// [Link.Do]. The connection subscribes to these channels itself, without
// go-redis, just before go-redis's first subscription. So in a cluster, the
// marker channel remains the only name by which go-redis could choose a node.
package source
