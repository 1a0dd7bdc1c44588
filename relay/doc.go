// Package relay is the core of Sidecast: it receives the messages that an
// application publishes to Redis and delivers them to the browsers that are
// subscribed to their channels. It imports only the standard library and the
// leaf packages below it.
//
// # One message
//
// The source (relay/source) is one goroutine that reads from Redis. It calls
// [Hub.Publish] for each message and [Hub.Flush] before it has to wait for more.
//
//	source -> Hub.Publish -> Hub.dispatch -> shard.deliver -> outbox.Outbox -> socket
//
// Hub.Publish adds the message to a batch. Hub.dispatch sequences the batch
// (Hub.sequence numbers a message and adds it to the history), and Hub.enqueue
// encodes each message once for each protocol in its audience and gives it to
// every shard that has subscribers. A shard is a share of the sessions with one
// goroutine: shard.deliver writes each subscriber's frames with one system call
// that does not wait, and bytes that the kernel does not accept wait in that client's
// [outbox.Outbox], bounded in bytes and age. Nothing on this path waits for a
// client.
//
// # One subscribe
//
// A transport (relay/ws) has one goroutine for each connection. It reads, runs
// the client's commands one after the other, and alone closes the connection.
//
//	socket -> Session.Handle -> Session.authorize -> Hub.resume -> Hub.join
//
// Session.Handle decodes a command. For a subscribe, Session.authorize checks the
// rights, Hub.addSubscription gives the session a place in the channel, and
// Hub.resume answers. Without a cursor, replay.startFresh makes the subscription
// live at the newest message. With one, replay.locate searches the history for the
// client's place, and replay.step sends the messages after it page by page; the
// step that finds nothing newer calls Hub.join, after which the fan-out reaches
// the subscription. On durable channels streamReplay.step does the same with a
// [stream.Reader].
//
// The two paths meet only in [Session].
//
// # Sequence numbers
//
// Every item that arrives from the source has a sequence number
// ([history.History.Seq]). Three places say how far they are, and each is at most
// as far as the one before:
//
//	ingested   History.Seq      numbered, and in the history
//	flushed    Hub.flushed      in the mailboxes of all shards that it concerns
//	delivered  shard.delivered  written or queued by one shard, for all its sessions
//
// A subscription starts after the ingested item at which it joined: the fan-out
// skips items up to subscriber.start. A heartbeat names a place that the shard has
// delivered (Session.isCurrent). Items of durable channels have separate numbers,
// [stream.Seq], because one reader per stream delivers them independently of
// the source; item.seq and subscriber.start hold the number of their channel's
// kind.
//
// Between relays a place is a number of messages since a shared marker
// ([history.Point]), so that a [history.Cursor] means the same on every relay.
//
// # Locks
//
// The goroutine that holds a shard's lock runs it: its own goroutine, the source
// for a few deliveries at a time, or a session that subscribes or unsubscribes
// between two batches. So a batch is never interrupted, and the order within a
// session is the order in Redis. The order of locks is shard, [stream.Reader],
// hub, outbox.
//
// # Files
//
//	hub.go           the hub: configuration, link state, sessions
//	ingest.go        messages from Redis: batch, sequence numbers, encoding
//	shard.go         fan-out to a share of the sessions
//	mailbox.go       the bounded queue of a shard
//	subscribers.go   the subscribers of a channel, laid out for the fan-out
//	subscription.go  one session's place in a channel
//	durable.go       durable channels: nudges, readers, the sink of a reader
//	session.go       one connected client: joining, leaving, closing
//	commands.go      the commands of a client
//	authorize.go     who may do it: grants, tokens, the application's answers
//	resume.go        answering a subscribe with or without a cursor
//	locate.go        finding a client's place in the history
//	replay.go        sending missed messages of a live channel
//	replay_stream.go sending missed entries of a durable channel
//	replayqueue.go   replays that are not finished at once
//	echo.go          messages that their sender does not want back
//	limiter.go       the command rate of a session
//	sweep.go         pings, pongs, deadlines
//	drain.go         closing all sessions, spread over time
//
// # Promises
//
// Between Redis and the relay a message is delivered at most once, because Redis
// keeps nothing. From the relay on, each promise names the tests that verify it:
//
//   - Per channel, each client receives the messages in Redis's order, none twice,
//     and none is missing without notice (TestBurst, TestModel).
//   - No byte of a message changes (TestByteForByte, TestRawByteForByte,
//     TestV1ByteForByte).
//   - If messages may be missing, the client gets a gap before the next message: one
//     after Redis was away, as soon as every pattern is confirmed again
//     (TestRedisKilled, TestV1Outage), and one on a channel whose message was too
//     large (TestV1Outage, TestRawGapCloseOnOversize).
//   - There is no gap without a cause (TestQuietAndTraffic).
//   - Clients stay connected while Redis is away, and are notified of it
//     (TestRedisKilled, TestV1Outage).
//   - A client that resumes with its cursors, at any relay on the same Redis server,
//     receives exactly the messages that it missed and then live messages, with no
//     hole and no repeat between the two, or is notified that this is impossible
//     (TestReplicas, TestModel, TestSoak, TestResumeOnlyFromWhatWasSaid). The relay
//     decides that only after it has caught up with Redis (TestGapWaitsForTheLink).
//   - Missed messages are sent as fast as the client reads: at most 48 KiB and one
//     message wait in its outbox (TestReplayIsPulled, TestReplayOfAllSizes,
//     TestDurableReplayOfAllSizes), and a client that is slower than the history gets
//     a gap (TestReplayIsOvertaken).
//   - A heartbeat names a place only if the client has everything up to it, and is the
//     last frame before a close (TestHeartbeatPlace, TestLastWord).
//   - After `unsubscribed`, nothing of the channel follows
//     (TestNothingFollowsUnsubscribed); before `subscribed`, nothing of it is sent
//     (TestModel).
//   - A client that reads too slowly is closed with 4408 and delays no other client
//     (TestSlowClientIsEvicted, TestStuckClientsDoNotDelayOthers). All outboxes
//     together are bounded, and the largest is evicted
//     (TestTotalBoundEvictsTheLargest).
//   - A close by the relay follows everything that is queued, unless the client is
//     evicted (TestCloseComesAfterTheQueue).
//   - No client can receive, join or publish to a reserved name (TestReservedNames).
//   - Hostile frames get a close code, and cost neither memory nor other clients
//     (TestHostileFrames, TestAnnouncedBytesAreNotAllocated).
//   - If two patterns match a channel, each message is delivered once
//     (TestOverlappingPatterns).
//
// On durable channels the stream is the source of truth, and every entry that
// Redis still has is delivered:
//
//   - Each client receives each entry once and in order, over all its connections to
//     any relay (TestDurableModel, TestDurableReturn, TestDurableJoinsWhileAdding). A
//     replay on one channel does not delay another channel's
//     (TestDurableStuckReplayHoldsUpNoOther).
//   - If entries that it missed no longer exist, it gets a gap, whatever was done to
//     the stream (TestStreamHistories, TestFollow, TestDurableGaps).
//   - A lost nudge or an outage of Redis delays entries and loses none
//     (TestDurableNudgeLost, TestDurableWhileAway). There is one exception, which Redis
//     itself never causes: a stream that is created again with lower ids than before
//     is read at its next nudge only.
//   - However many clients resume on a stream, it is read a few times
//     (TestDurableStampede).
//   - A message that a client publishes is added to the stream (TestDurablePublish); a
//     publisher that omits XADD is detected (TestDurableUnfoundedNudge).
//   - A key that is not a stream is reported (TestDurableWrongType).
//
// # Durable channels
//
// A [stream.Reader] is the relay's place in one stream: the last entry that was
// delivered. When a nudge, a keyspace event or a regular check of all streams
// indicates new entries, one of a few goroutines reads on, and one rule
// ([stream.Page]) decides whether the entries follow without a hole. They are kept
// in a ring and delivered, numbered, through the mailboxes of the shards. A client
// that resumes finds its place in the ring, or its replay reads the stream until it
// reaches the ring; the step of its shard that sends the last page also joins it to
// the fan-out, after the newest number.
//
// # Memory
//
// An idle client costs about 6 KiB of the process and as much again of the kernel.
// Beyond that the relay holds at most
//
//	OUTBOX_TOTAL_BYTES + HISTORY_BYTES + shards x (16 MiB of mailbox + 4 MiB of sorting) + one read from Redis
//
// and for durable channels 64 MiB of kept entries and 16 pages that are being read.
// There is one shard for each processor. A frame is shared by all clients that wait
// for it, but each outbox is charged for it in full, so the bound holds however the
// frames are shared. TestHistoryBytes verifies the bound of the history.
package relay
