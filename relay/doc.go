// Package relay is the core of Sidecast: it receives the messages that an
// application publishes to Redis and delivers them to the browsers that are
// subscribed to their channels. It imports only the standard library and the
// leaf packages below it.
//
// # Terms
//
//   - A channel is live or durable. Redis delivers the messages of a live
//     channel by pub/sub and does not store them. The messages of a durable
//     channel are the entries of a Redis stream.
//   - The source is the part of Sidecast that receives from Redis
//     (relay/source).
//   - A nudge is a PUBLISH on a durable channel. It tells the relay to read the
//     stream.
//   - A marker is a message that the relays themselves publish to Redis at
//     intervals. Every relay receives it at the same position in the order of
//     the messages, so a position can be described relative to it.
//   - The history holds the recent messages of live channels in memory.
//   - A position is a point in the order of the messages of a channel, or of all
//     live channels. A cursor is its form on the wire: frames of a channel carry
//     one as `cursor`, a heartbeat can carry one for all live channels as `at`.
//   - The live channels of a client can share a cursor: one message is the
//     client's place on all of them, because Redis publishes all messages in one
//     order.
//   - An item is a message, or a notice such as a gap, on its way to sessions.
//   - A gap is the notice that messages may be missing.
//   - A heartbeat is a frame that a client of the JSON protocol receives at
//     intervals, or a block of an event stream.
//   - The link is the connection to Redis. The page cache holds messages and
//     entries in memory that clients who resume have needed, or may need.
//   - To evict a client is to close its connection because it reads too slowly.
//   - The fan-out is the delivery of an item to all subscribers of its channel.
//   - A replay sends messages that a client missed.
//
// # One message
//
// The source is one goroutine that reads from Redis. It calls [Hub.Publish] for
// each message and [Hub.Flush] before it has to wait for more.
//
//	source -> Hub.Publish -> Hub.dispatch -> shard.deliver -> outbox.Outbox -> socket
//
// Hub.Publish adds the message to a batch. Hub.dispatch sequences the batch
// (ledger.sequence numbers a message and adds it to the history). Hub.enqueue
// encodes each message once for each protocol of its subscribers, and gives it
// to every shard that has subscribers.
//
// A shard is a share of the sessions with one goroutine. Its mailbox is the
// bounded queue of items that wait for this goroutine. shard.deliver writes
// each subscriber's frames with one system call that does not wait. Bytes that
// the kernel does not accept wait in the [outbox.Outbox] of that client, which
// is bounded in bytes and in the time without progress. Nothing on this path
// waits for a client.
//
// # One subscribe
//
// On Linux, event loops read from the connections (relay/transport), decode what
// arrives (relay/ws), and give each command to a goroutine, so that they never
// wait. Nothing more is read from the client until its command is done: commands
// run one after the other. On other systems and with TLS, each connection has a
// goroutine that reads instead. The channels of an event stream (relay/sse) are
// in its request.
//
//	socket -> Session.Handle -> Session.authorize -> Session.join -> Hub.join
//
// Session.Handle decodes a command. For a subscribe, Session.authorize checks
// the rights, and Session.join registers the subscription. On a live channel, if
// the client asks for no message of the past, Session.join also lets the
// subscription join the fan-out after the newest message, and answers.
//
// Otherwise a resume does the rest, and the client's next commands need not
// wait for it: only the answer to such a subscribe can follow later answers. A
// resumer runs the resumes of all sessions on a few goroutines. Sessions take
// turns, a page each:
//
//	resumer.turn -> resume.step -> backlog.next -> outbox.Outbox
//
// A backlog contains what a client may have missed. For a live channel,
// liveBacklog.search finds the client's position in the history (or
// liveBacklog.beginWithNewest the place before the newest messages), and
// liveBacklog.replay returns the messages after it, page by page. For a durable
// channel, streamBacklog does the same with a [stream.Reader]. Channels that
// share a cursor (Session.SubscribeTogether) have one resume, whose liveBacklog
// merges their messages in the order in which they arrived. Pages that are
// encoded once serve all clients. The step that finds nothing newer calls
// backlog.join, which calls Hub.join: from then on, the fan-out reaches the
// subscription. A resume that waits for Redis or for the link is parked, and the
// session of one whose client has no room is stalled. Neither holds messages.
//
// The path of a message and the path of a subscribe meet only in two
// structures: the [Session], and the lists of subscribers that each shard
// reads. The shard's lock guards what both paths use.
//
// # Sequence numbers
//
// Every item that arrives from the source has a sequence number
// ([history.History.Seq]). Three counters say how far an item has been
// processed. Each counter is at most as high as the one above it:
//
//	ingested   History.Seq      the item is numbered, and in the history
//	flushed    Hub.flushed      the item is in the mailboxes of all shards that it concerns
//	delivered  shard.delivered  one shard has written or queued the item for all its sessions
//
// A subscription starts after the item that was the newest ingested one when it
// joined: the fan-out skips items up to subscriber.start. A heartbeat contains
// a cursor only for a position that the shard has delivered
// (Session.isCurrent).
//
// Items of durable channels have separate numbers, [stream.Seq], because one
// reader per stream delivers them independently of the source. So for a durable
// channel, item.seq and subscriber.start hold a stream.Seq, and for a live
// channel a number from History.Seq.
//
// All these numbers are local to one relay. A position that every relay
// understands ([history.Point]) consists of a marker and the number of messages
// on the channel since that marker. A [history.Cursor] contains such a
// position, so it means the same on every relay.
//
// # Locks
//
// A shard has one lock, and the goroutine that holds it does the shard's work.
// This is one of three: the shard's own goroutine; the source's goroutine, if
// there are only a few deliveries; or the goroutine that runs a command or a
// resume of a session. A session gets the lock only between two batches. So a
// batch is never interrupted, and each session receives messages in Redis's
// order. Only one goroutine at a time may wait for the lock on behalf of a
// session (shard.enter), so that the fan-out does not have to compete with
// thousands. Locks are taken in the order shard, [stream.Reader], hub, outbox,
// resumer; the locks of the page cache and of the black box are the last. Under
// a shard's lock, the methods of [Presence] and [roster.Roster] take their own,
// and under the hub's lock those of [Counts].
//
// # Files
//
//	hub.go           the hub: configuration, link state, sessions
//	ledger.go        what the hub has received, numbered in one order
//	ingest.go        messages from Redis: batch and encoding
//	shard.go         fan-out to a share of the sessions
//	mailbox.go       the bounded queue of a shard
//	subscribers.go   the subscribers of a channel, laid out for the fan-out
//	subscription.go  one session's subscription to one channel
//	durable.go       durable channels: nudges, readers, delivery of the entries
//	session.go       one connected client: joining, leaving, closing
//	commands.go      the commands of a client
//	together.go      channels that share a cursor
//	exclusive.go     commands and actions of a session, one after the other
//	actions.go       what the application does to sessions
//	revoked.go       logins that the application has ended
//	users.go         the sessions of each user
//	sockets.go       sessions by socket id, for applications that leave one out
//	appsigned.go     channels and users that an application signs in the Pusher protocol
//	clientevents.go  events that clients publish
//	lacks.go         clients that reconnect to repeat a subscribe that failed
//	signed.go        channels that a signature opens, until it expires
//	refusal.go       why clients are refused
//	authorize.go     rights: grants, tokens, the application's answers
//	resume.go        the steps from a client's position to the fan-out
//	resume_live.go   what a client missed on a live channel
//	resume_place.go  where a client was on live channels
//	resume_stream.go what a client missed on a durable channel
//	resumer.go       the turns of all resumes
//	messages.go      pages of the history, encoded once for all clients
//	presence.go      members of channels, and the clients that watch them
//	counts.go        numbers of subscriptions, and the clients that are told them
//	report.go        reports about clients, for the application
//	record.go        what the black box records
//	explain.go       the state of one channel, and the names of all
//	unheard.go       messages without a subscriber
//	echo.go          messages that their sender does not want to receive
//	limiter.go       the command rate of a session
//	sweep.go         pings, pongs, deadlines
//	drain.go         closing all sessions, spread over time
//
// # Promises
//
// Between Redis and the relay a message is delivered at most once, because
// Redis keeps no messages of live channels. From the relay to the client, the
// following promises hold. The tests that verify a promise are in parentheses.
//
//   - On each channel, each client receives the messages in Redis's order, no
//     message twice, and no message is missing without notice (TestBurst,
//     TestModel).
//   - No byte of a message changes (TestByteForByte, TestRawByteForByte,
//     TestV1ByteForByte).
//   - If messages may be missing, the client receives a gap before the next
//     message. After an outage of Redis it receives one gap, as soon as Redis
//     has confirmed every pattern again (TestRedisKilled, TestV1Outage). After a
//     failover by Sentinels it receives one more, when the old master is no
//     longer a master or has not answered for 30 s, and another if it returned
//     as a master after that, all within 5 minutes (TestDeposedMaster,
//     TestDeposedMasterIsWatched, TestGapWithinALink). If a message was too
//     large, it receives a gap on this channel (TestV1Outage,
//     TestRawGapCloseOnOversize).
//   - There is no gap without a cause (TestQuietAndTraffic).
//   - Clients stay connected while Redis is down, and are notified
//     (TestRedisKilled, TestV1Outage).
//   - A client that resumes with its cursors, at any relay on the same Redis
//     server, receives exactly the messages that it missed and then new
//     messages. None is missing or repeated where the replay ends and the
//     fan-out begins. If this is impossible, the client is notified
//     (TestReplicas, TestModel, TestSoak, TestResumeOnlyFromWhatWasSaid). The
//     relay decides that it is impossible only after it has caught up with
//     Redis (TestGapWaitsForTheLink).
//   - A client that joins a live channel with last receives up to that number of
//     its newest messages, and then new ones. None is missing or repeated
//     between the two, and if the connection breaks after the answer, the
//     client can resume before the first of them (TestLast, TestModel,
//     TestReplicas, TestLastIsResumedBeforeItsFirstMessage).
//   - If the channels of a client share a cursor, each cursor that it receives
//     is its place on all of them: it receives their messages in the order in
//     which Redis published them, also the messages that it missed
//     (TestOneCursorForAllChannels, TestPlacesThatDiffer,
//     TestHeartbeatDoesNotRewind, TestMergedResumesWhileMessagesArrive).
//   - However many clients resume, they do not delay new messages. They share
//     the pages that they need, and a position is found by reading one page
//     (TestPagesAreEncodedOnce, TestLocateReadsOnePage). A client that reads is
//     served, whatever slower ones do (TestSlowReplaysDelayNoAnswer). The
//     benchmark BenchmarkReturning measures it.
//   - While a subscribe waits for Redis, the client's other commands are
//     answered (TestPendingSubscribe), and all channels of one command are
//     answered within ten seconds (TestOneDeadlineForACommand).
//   - Missed messages are sent as fast as the client reads: at most 48 KiB and
//     one message wait in its outbox (TestReplayIsPulled, TestReplayOfAllSizes,
//     TestDurableReplayOfAllSizes). If the client reads so slowly that the
//     history drops messages before they are sent, it receives a gap
//     (TestReplayIsOvertaken).
//   - A heartbeat contains a cursor only if the client has received everything
//     up to its position (TestHeartbeatPlace).
//   - If the relay closes a connection of the JSON protocol, the last frame
//     before the close frame is a heartbeat, unless the client is evicted
//     (TestLastWord).
//   - After `unsubscribed`, nothing of the channel follows
//     (TestNothingFollowsUnsubscribed). Before `subscribed`, nothing of it is
//     sent (TestModel).
//   - The connection of a client that reads too slowly is closed with 4408, and
//     delays no other client (TestSlowClientIsEvicted,
//     TestStuckClientsDoNotDelayOthers). A client on a slow line that receives
//     a large message is not too slow (TestSlowLineReceivesLargeMessage,
//     TestPongTimeoutOnSlowLine).
//   - All outboxes together are bounded: at the bound, the client is evicted
//     whose outbox holds the most bytes that no other outbox holds
//     (TestTotalBoundEvictsTheLargest). A large message counts once, so it does
//     not evict the clients that are reading it (TestLargeMessageEvictsNobody).
//   - When the relay closes a connection, everything that is queued is sent
//     before the close frame, unless the client is evicted
//     (TestCloseComesAfterTheQueue).
//   - No client can receive, subscribe to or publish to a channel whose name is
//     reserved: it begins with `sidecast:`, with the key prefix or with `__`
//     (TestReservedNames).
//   - A client that sends hostile frames gets a close code. The frames allocate
//     no memory for bytes that have not arrived, and do not disturb other
//     clients (TestHostileFrames, TestAnnouncedBytesAreNotAllocated). A message
//     that arrives too slowly gets one, too (TestMessageTime), and until then
//     costs at most twice the part that has arrived (TestHalfMessagesAreSmall).
//   - When the application ends a login, its sessions are closed, and no relay
//     accepts the login any more, whether it is a token or a cached answer
//     (TestRevoke, TestLogoutByPHP, TestCachedLoginIsNotUsed). If the link was
//     down, the sessions are closed before the first message of its next epoch
//     (TestKickWhileTheLinkIsCut, TestKickWhileTheRelayReconnects,
//     TestKickWhileTheRelayIsStopped).
//   - A user or address with many questions to the application, about logins or
//     channels, does not make the application unavailable to others: at most
//     one question of each user and address is sent before theirs
//     (TestFloodDelaysNoOtherClient).
//   - Connections that do not become clients keep no client out: if all places
//     are taken, the oldest of them is closed. They cannot use up the file
//     descriptors, and health probes and metrics are answered
//     (TestConnectionsThatNeverBecomeClients).
//   - A signature opens one channel for receiving, for the user that was signed,
//     and until it expires; whatever was changed in it, it opens nothing
//     (TestSignatureRules, TestTamperedSignatures). The subscription ends then,
//     and the client is notified (TestSignedChannelEnds,
//     TestSignedChannelEndsSession).
//   - An event that the application publishes over the HTTP API of the Pusher
//     protocol is answered with 200 only after Redis has accepted it
//     (TestRedisUnavailable, TestPusherAPIReplicas). A request in which anything
//     was changed after it was signed publishes nothing (TestTamperedRequests),
//     and costs no memory (TestUnsignedBodyIsNotRead).
//   - In the Pusher protocol, a client joins a private or presence channel only
//     with a signature of the application for its connection, this channel and
//     this member, and becomes a user only with one for this user. What it sends
//     cannot be taken for an event of the application or of another client
//     (TestHostilePusherFrames).
//   - pusher-js and Laravel Echo need no change, whether Laravel signs or Sidecast
//     does (TestLaravelEcho, TestLaravelHooks). If their relay stops or is killed,
//     they connect to another one, with all their channels (TestLaravelReplicas).
//   - A broadcast that names the socket of a session reaches all other
//     subscribers, whatever protocol that session speaks (TestToOthers,
//     TestToOthersOnStream).
//   - All relays have the same members of a channel. Each arrival and departure
//     is reported once to the application and to the clients that watch, also if
//     relays are killed, and a page that is loaded again is no departure
//     (TestStories, TestModelOnRedis). The clients of a channel with many
//     members do not delay the messages of others (TestCountsInParts); the
//     benchmark BenchmarkPresenceStorm measures it.
//   - A message without a listener at any relay is reported once, if the
//     application wants to know (TestUnheardOverRelays, TestUnheardOverOutage).
//     Events are posted to the application until it has accepted them
//     (TestWebhookOutage, TestWebhookFails).
//   - The black box says of each message and each session whether the relay gave
//     the message to the session's connection, and why not (TestWhyAgrees,
//     TestCensus), also for the time before a kill -9 (TestSoak).
//   - If two patterns match a channel, each message is delivered once
//     (TestOverlappingPatterns).
//
// On durable channels the stream is the source of truth, and every entry that
// Redis still has is delivered:
//
//   - Each client receives each entry once and in order, over all its
//     connections to any relay (TestDurableModel, TestDurableReturn,
//     TestDurableJoinsWhileAdding). A replay on one channel does not delay a
//     replay on another (TestDurableStuckReplayHoldsUpNoOther).
//   - If entries that a client missed no longer exist, it receives a gap,
//     whatever was done to the stream, and then every entry with a higher id
//     that the stream still has (TestStreamHistories, TestFollow,
//     TestDurableGaps, TestDurableModel).
//   - A client that joins with last receives up to that number of the newest
//     entries, and then new ones, and a client that joins with since the entries
//     after the one with this id, or a gap and every entry with a higher id
//     (TestDurableLast, TestSince, TestDurableModel). If the connection breaks
//     after the answer, the client can resume from the place where it began
//     (TestDurableLastIsResumedBeforeItsFirstEntry, TestSinceIsResumed). The
//     relay reads the stream a few times, however many clients join
//     (TestDurableLastReadsOnce, TestSinceReadsOnce).
//   - If a nudge is lost or Redis is down, no entry is lost: a regular check of
//     all streams finds the new entries, and they are delivered later
//     (TestDurableNudgeLost, TestDurableWhileAway). If a stream
//     was deleted and created again with lower ids (possible only with explicit
//     ids in XADD), the relay finds its new entries at the next nudge only.
//   - However many clients resume on a stream, the relay reads it only a few
//     times (TestDurableStampede).
//   - A message that a client publishes is added to the stream
//     (TestDurablePublish). An application that publishes without XADD is
//     reported in the log (TestDurableUnfoundedNudge).
//   - A key that is not a stream is reported (TestDurableWrongType).
//
// # Durable channels
//
// A [stream.Reader] stores the relay's position in one stream: the last entry
// that was delivered. When a nudge, a keyspace event or a regular check of all
// streams indicates new entries, one of a few goroutines reads the next
// entries: a page ([stream.Page]), which is the result of one read. A read
// begins with the last delivered entry itself, and the new entries follow it.
// stream.Page.follow checks that the first entry of the page is still that one:
// if it is, no entry is missing between it and the new ones. If it is not, the
// subscribers get a gap, and then every entry with a higher id that the stream
// still has. The reader numbers the entries, adds them to the page cache, and
// delivers them through its sink ([stream.Sink]), which adds them to the
// mailboxes of the shards.
//
// A client that resumes gets the entries after its position from the page
// cache. If they are not there, the reader reads them, once for all clients
// that wait, and applies the same rule. The step that reaches the reader's
// position also joins the fan-out: while it holds the shard's lock, it sets
// subscriber.start to the newest number, so that the fan-out continues exactly
// there. If the reader's last entry was deleted, a client can be at an earlier
// one. If the next item is a gap, this client resumes again in place of it
// (Hub.resumeBehind), because the entries after its own may be others.
//
// Two things leave no trace in Redis, so nobody is notified of them: a stream
// that was created and deleted while a client was away whose cursor says that
// there was no stream; and a stream that was created, deleted and created again
// between two reads, if it did not exist at the first of them.
//
// # Memory
//
// An idle client costs about 1.5 kB of the process and 6 kB of the kernel. It
// costs 6 kB of the process if a goroutine reads from it, 17 kB with TLS, and 19
// kB as an event stream over HTTP/2. In addition the relay holds at most
//
//	OUTBOX_TOTAL_BYTES + HISTORY_BYTES + PAGE_CACHE_BYTES + BLACKBOX_BYTES + shards x (16 MiB of mailbox + 4 MiB to group messages by client) + the messages of one read from Redis
//
// and for durable channels 10 pages of up to 512 entries that are being read.
// There is one shard for each processor. A frame is shared by all clients that
// wait for it, and OUTBOX_TOTAL_BYTES counts it once. OUTBOX_BYTES, the bound of
// one outbox, counts all its frames. Replays hold a quarter of
// OUTBOX_TOTAL_BYTES at most. An answer to `sidecast why` costs about three times
// BLACKBOX_BYTES, and there is one at a time. A subscription costs up to 1 KiB
// while its resume waits. A message of which only a part has arrived costs at most twice that
// part: at most 2 x MAX_INBOUND_BYTES for each client, and 2.5 x if the relay
// encrypts. While a message that a client publishes waits for Redis, it costs
// its size, and with PUBLISH_FORMAT=json up to 6 times that. A message that the
// application publishes over HTTP costs up to 3 times its size, and there are at
// most 32 of them. The same number of requests to the HTTP API of the Pusher
// protocol costs up to 4 times their bodies, of MAX_PAYLOAD_BYTES + 128 KiB each.
// With BROADCAST_AUTH_URL, a client of that protocol that has sent credentials
// costs up to 8 KiB more.
//
// TestMemoryIsBounded fills all of this at once, and TestHistoryBytes verifies
// the bound of the history.
package relay
