// Package outbox queues the frames that wait to be sent to clients.
//
// Each client has one [Outbox]. It writes frames to the client's [Socket]
// without waiting, and queues only what the kernel did not accept. The queue is
// bounded in bytes. A client is evicted if its queue exceeds the bound, or if
// the client accepts no byte of it for too long: its queue is dropped and its
// connection closed. A [Budget] bounds the bytes of all outboxes together. If
// they exceed it, the largest outbox is evicted.
//
// Outboxes share frames. The bound of one outbox counts each of its frames. The
// budget counts a frame once: from when the first outbox queues it until the
// last one has sent or dropped it. Replays may hold a quarter of the budget, so
// that clients that return leave room for new messages.
//
// The hub's shards, the session's goroutine and the transport use an outbox
// concurrently. All methods of Outbox and Budget may be called concurrently,
// unless their comment says otherwise.
//
// A client receives whole frames in the order in which they were sent, and no
// frame twice. No method waits for the client.
//
// The lock order is: shard, Outbox, Budget. No goroutine locks two outboxes:
// what concerns several of them is guarded by the Budget's lock. An Outbox
// calls all methods of its [Socket] except Drain with its lock held, so these
// must not call it.
package outbox
