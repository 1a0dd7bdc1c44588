//go:build !linux

package ws

// Read is called by gws through a bufio.Reader.
func (c *conn) Read(p []byte) (int, error) {
	if c.early != nil || c.guard.code != 0 {
		return c.readEarly(p)
	}
	n, err := c.Conn.Read(p)
	if n == 0 {
		return 0, err
	}
	return c.filter(p[:n], err)
}
