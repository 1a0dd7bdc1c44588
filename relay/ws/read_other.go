//go:build !linux

package ws

// read reads until the connection ends, or until receive wants no more.
func (c *conn) read() error { return c.readIndirect() }
