package ws

import "io"

// Read is called by gws through a bufio.Reader. The goroutine of an idle
// connection waits in this method, in the runtime's poller. Each stack frame
// below it exists once for each of thousands of connections, so the call chain
// is short: it reads from the descriptor, which needs half the stack of
// Conn.Read, and the goroutine keeps its initial stack of 2 KiB.
func (c *conn) Read(p []byte) (int, error) {
	if c.early != nil || c.guard.code != 0 || c.direct.raw == nil {
		return c.readIndirect(p)
	}
	c.direct.buf = p
	if err := c.direct.raw.Read(c.direct.onReadable); err != nil {
		return 0, err
	}
	return c.readResult(p)
}

// readResult returns the result of onReadable.
func (c *conn) readResult(p []byte) (int, error) {
	switch {
	case c.direct.errno != 0:
		return 0, c.direct.errno
	case c.direct.n == 0:
		return 0, io.EOF
	}
	return c.filter(p[:c.direct.n], nil)
}
