// Package transport has what all transports share: listening, taking a
// connection over from net/http, and writing to it through the outbox of its
// session. On Linux, the fan-out writes to the descriptor with one system call
// that does not wait.
package transport
