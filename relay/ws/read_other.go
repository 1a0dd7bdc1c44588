//go:build !linux

package ws

// Read is called by gws through a bufio.Reader.
func (c *conn) Read(p []byte) (int, error) { return c.readIndirect(p) }
