// Package outbox queues the frames that wait to be sent to clients.
//
// Each client has one [Outbox]. It writes frames to the client's [Socket]
// without waiting, and queues only what the kernel did not accept. The queue is
// bounded in bytes and in age. A client that exceeds a bound is evicted: its
// queue is dropped and its connection closed. A [Budget] bounds the bytes of
// all outboxes together. If they exceed it, the largest outbox is evicted.
//
// The hub's shards, the session's goroutine and the transport use an outbox
// concurrently. All methods of Outbox and Budget may be called concurrently,
// unless their comment says otherwise.
//
// A client receives whole frames in the order in which they were sent, and no
// frame twice. No method waits for the client, except [Outbox.Room]. The budget
// is charged for exactly the bytes that are queued and a fixed charge for each
// frame.
//
// The lock order is: shard, Outbox, Budget. An Outbox calls [Socket.Send],
// [Socket.Finish] and [Socket.Expire] with its lock held, so these must not
// call it.
package outbox
