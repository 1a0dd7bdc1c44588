//go:build !linux

package ws

import "sidecast/relay"

// directSocket is what Linux has.
type directSocket struct{}

// newSocket returns the sending end of c.
func newSocket(c *conn) relay.Socket { return &waitSocket{conn: c} }
