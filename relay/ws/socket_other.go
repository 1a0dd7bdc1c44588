//go:build !linux

package ws

import "sidecast/relay/outbox"

// directSocket exists only on Linux.
type directSocket struct{}

// newSocket returns the socket that c's outbox writes to.
func newSocket(c *conn) outbox.Socket { return &blockingSocket{conn: c} }
