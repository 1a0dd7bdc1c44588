//go:build !linux

package transport

import (
	"net"

	"sidecast/relay/outbox"
)

// directSocket exists only on Linux.
type directSocket struct{}

// newSocket returns the socket that the outbox of conn writes to.
func newSocket(conn *goroutineConn) outbox.Socket { return &blockingSocket{conn} }

// unacknowledged does not know how many bytes the client's kernel has not
// acknowledged.
func unacknowledged(net.Conn) (bytes int, known bool) { return 0, false }
