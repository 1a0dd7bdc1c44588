//go:build !linux

package ws

import "sidecast/relay"

// directSocket is what Linux has.
type directSocket struct{}

// newSocket returns the sending end of c.
func newSocket(c *conn) relay.Socket { return &waitSocket{conn: c} }

// Read is where gws gets its bytes from, through a bufio.Reader.
func (c *conn) Read(p []byte) (int, error) {
	if c.early != nil || c.guard.code != 0 {
		return c.readFirst(p)
	}
	n, err := c.Conn.Read(p)
	if n == 0 {
		return 0, err
	}
	return c.judge(p[:n], err)
}
