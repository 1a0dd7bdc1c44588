//go:build !linux

package transport

// ReadTo reads until the connection ends, or until the receiver wants no more.
func (c *Conn) ReadTo(r Receiver) { c.ended(c.readIndirect(r)) }
