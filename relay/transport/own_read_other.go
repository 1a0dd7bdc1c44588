//go:build !linux

package transport

// readTo reads until the connection ends, or until the receiver wants no more.
func (o *ownReader) readTo(r Receiver) { o.ended(o.readIndirect(r)) }
