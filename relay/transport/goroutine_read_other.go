//go:build !linux

package transport

// readTo reads until the connection ends, or until the receiver wants no more.
func (g *goroutineConn) readTo(r Receiver) { g.ended(g.readIndirect(r)) }
