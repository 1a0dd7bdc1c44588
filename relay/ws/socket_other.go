//go:build !linux

package ws

import "sidecast/relay"

// newSocket returns the sending end of c.
func newSocket(c *conn) relay.Socket { return &waitSocket{conn: c} }
