// Package relay is the core of Sidecast: it takes what an application publishes
// to Redis and hands it to the browsers that listen. It imports the standard
// library alone.
//
// # The way down and the way up
//
// Data goes down one way:
//
//	source -> Hub.Publish -> history -> shard -> listener -> Outbox -> socket
//
// and commands come up another:
//
//	socket -> Protocol.Decode -> Session.Handle -> Access -> Hub.subscribe, Config.Publish
//
// They meet in [Session] only. The source (relay/source) is one goroutine that
// reads from Redis and calls [Hub.Publish] for each message and [Hub.Flush]
// when it has to wait for more. The [Hub] encodes a message once for each
// protocol that listens and collects it for each shard that has a listener. A
// shard is a share of the sessions and one goroutine: it writes each listener's
// frames with one system call that does not wait, and what the kernel refuses
// stays in that client's [Outbox], bounded in bytes and age. Nothing on this
// way waits for a client.
//
// The history numbers the messages of each channel since shared markers, so
// that a place in a channel means the same on every relay ([Cursor]), and keeps
// what was said lately. A client that comes back gets what it missed from
// there, page by page, and its fan-out begins in the same step in which nothing
// newer is found.
//
// Whoever holds a shard's lock runs it: its goroutine, the source for a few
// deliveries at a time, or a session that joins or leaves a channel, between
// two batches. So a batch is never interrupted, and the order within a session
// is the order in Redis. A transport (relay/ws) owns one goroutine for each
// connection, which reads, runs the client's commands one after the other, and
// alone closes the connection.
//
// # What is promised
//
// Between Redis and the relay a message is delivered at most once, because
// Redis keeps nothing. From there on, and each with the test that holds it:
//
//   - Per channel, each client hears the messages in Redis's order, none twice, none lost but told
//     (TestBurst, TestModel).
//   - None is changed by a byte (TestByteForByte, TestRawByteForByte, TestV1ByteForByte).
//   - If any may be missing, the client is told before the next message: one gap after Redis was away, once every
//     pattern is confirmed again (TestRedisKilled, TestV1Outage), and one on a channel whose message was larger than the relay
//     carries (TestV1Outage, TestRawGapCloseOnOversize).
//   - A gap is never declared without a cause (TestQuietAndTraffic).
//   - Clients stay connected while Redis is away, and are told that it is (TestRedisKilled, TestV1Outage).
//   - A client that comes back with its cursors to any relay on the same Redis server hears exactly what it missed, and then
//     what is new, with no hole and no repeat between the two, or is told that it cannot (TestReplicas, TestModel, TestSoak,
//     TestResumeOnlyFromWhatWasSaid).
//     It is not told so before the relay has caught up with Redis (TestGapWaitsForTheLink).
//   - What was missed comes as fast as the client reads: 48 KiB and one message of it wait for the client at most
//     (TestReplayIsPulled, TestReplayOfAllSizes, TestDurableReplayOfAllSizes), and a client that is slower than the history
//     is told (TestReplayIsOvertaken).
//   - A heartbeat names a place only where the client has everything up to it, and is the last word before a close
//     (TestHeartbeatPlace, TestLastWord).
//   - After `unsubscribed`, nothing of the channel follows (TestNothingFollowsUnsubscribed); before `subscribed`, nothing of
//     it comes (TestModel).
//   - A client that reads too slowly is closed with 4408 and delays nobody (TestSlowClientIsEvicted,
//     TestStuckClientsDoNotDelayOthers); all outboxes together are bounded, and the largest goes (TestTotalBoundEvictsTheLargest).
//   - A close by the relay comes behind everything that is queued, unless the client is evicted (TestCloseComesAfterTheQueue).
//   - Reserved names are heard, joined and published to by nobody (TestReservedNames).
//   - Hostile frames get a close code, and cost neither memory nor a neighbour anything (TestHostileFrames,
//     TestAnnouncedBytesAreNotAllocated).
//   - If two patterns match a channel, the message comes once (TestOverlappingPatterns).
//
// On durable channels the stream is the truth, and whatever survives in Redis
// is heard:
//
//   - Each client hears each entry once and in order, over all its connections and to whichever relay they lead
//     (TestDurableModel, TestDurableReturn, TestDurableJoinsWhileAdding). What it missed on one channel is not held up by
//     another channel (TestDurableStuckReplayHoldsUpNoOther).
//   - If what it missed is gone, it is told, whatever was done to the stream (TestStreamHistories, TestFollow,
//     TestDurableGaps).
//   - A nudge that is lost, and an outage of Redis, delay and lose nothing (TestDurableNudgeLost, TestDurableWhileAway). Only
//     a stream that is made again with lower ids than before, which Redis itself never gives, waits for its next nudge.
//   - However many clients come back to a stream, it is read a few times (TestDurableStampede).
//   - What a client publishes is added to the stream (TestDurablePublish); who publishes without adding is found out
//     (TestDurableUnfoundedNudge).
//   - A key that is no stream is told (TestDurableWrongType).
//
// # Durable channels
//
// A durable is the relay's place in one stream: the last entry that was handed
// out. When a nudge, an event or a look at all of them says that there is more,
// one of a few goroutines reads on, and one rule ([StreamPage]) says whether
// the entries follow without a hole. They go into a ring and, numbered, into
// the mailboxes of the shards. A client that comes back finds its place in the
// ring, or reads the stream until it reaches the ring; the step of its shard
// that sends it the last page also joins it to the fan-out, behind the last
// number.
//
// # Memory
//
// An idle client costs about 6 KiB of the process and as much again of the
// kernel. Beyond that the relay holds at most
//
//	OUTBOX_TOTAL_BYTES + HISTORY_BYTES + shards x (16 MiB of mailbox + 4 MiB of sorting) + what one read from Redis brought
//
// and for durable channels 64 MiB of entries that are kept and 16 pages that
// are being read, where a shard is a processor. A frame is shared by all
// clients that wait for it, but each outbox is charged for it in full, so the
// bound holds whoever shares. The history's bound is held by TestHistoryBytes.
package relay
