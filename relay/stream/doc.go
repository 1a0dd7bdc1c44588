// Package stream reads durable channels, each of which is a Redis stream.
//
// The package has these parts:
//
//   - [Store] is the interface to Redis: it reads and writes streams. Package
//     source implements it.
//   - [Readers] reads the streams of all durable channels that have
//     subscribers. Each such channel has one [Reader], which delivers new entries to
//     its [Sink] and keeps recent ones for clients that resume.
//   - [Position] is one client's place in a stream. It finds the entries that
//     the client has missed. It holds none of them, and does not wait. A client
//     without a cursor can name an id, or ask for the newest entries (start.go,
//     newest.go).
//   - The pages (pages.go) are runs of entries that follow each other, in a
//     cache that all channels share. If a client needs entries that are not
//     there, its reader reads them, once for all clients that wait (lookup.go).
//   - [Cursor] is a place in a stream as clients hold it, and [Entry] is one
//     message. [Held] is an entry that the relay keeps, together with its
//     encoded frames.
//
// # When a stream is read
//
// A reader reads its stream when a nudge announces a new entry (a nudge is the
// PUBLISH on the channel of the same name), when the hub calls
// [Reader.Schedule], when the connection to Redis returns, and when the sweep
// finds that the stream has entries that no nudge announced. So a lost nudge
// only delays a message.
//
// # What the package guarantees
//
// Each reader delivers the entries of its stream once and in order. If entries
// may be missing between two deliveries, the sink gets a gap between them. After
// a gap, it gets everything with a higher id that the stream still has. One rule
// (follow.go) decides whether entries may be missing. It is the same for the
// relay's own place and for the place of a client.
//
// # Concurrency
//
// All methods of Readers and Reader may be called concurrently. A Position
// belongs to one goroutine. The lock order is: shard, Reader, hub. The reader's
// lock is held while [Sink.Number], the functions given to [Reader.Join] and
// [Position.Join], and wake functions run. The lock of the page cache is taken
// last. The mutex of Readers is never held together with that of a Reader.
package stream
