// Package transport has what all transports share: listening, taking a
// connection over from net/http, reading from it, and writing to it through the
// outbox of its session.
//
// A [Conn] is such a connection. [Serve] gives what its client sends to a
// [Receiver], in one of two ways:
//
//   - On Linux, a [Reader] reads from plain TCP connections with an event loop for
//     each processor. An idle connection has neither a goroutine nor a timer nor a
//     buffer. The loop never waits, so it runs no commands: see [Receiver].
//   - Otherwise the connection has a goroutine that reads: with TLS, on other
//     systems, and if the operator wants it.
//
// On Linux, the fan-out writes to the descriptor of a plain TCP connection with
// one system call that does not wait.
package transport
