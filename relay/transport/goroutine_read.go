package transport

import "sync"

const (
	// readBuffer is how many bytes are read at once.
	readBuffer = 16 << 10
	// idleBuffer is the size of the buffer in which a connection without a
	// descriptor waits for the next message.
	idleBuffer = 128
)

// readBuffers has buffers of readBuffer bytes. Connections with a descriptor use
// them only while they have something to read.
var readBuffers = sync.Pool{New: func() any { return new([readBuffer]byte) }}

// readIndirect is Read for connections without a descriptor. Their buffer exists
// while they wait, so it grows only with what has arrived of a message.
func (g *goroutineConn) readIndirect(r Receiver) error {
	buffer := make([]byte, idleBuffer)
	for {
		n, err := g.Conn.Read(buffer)
		if n > 0 && !g.receive(r, buffer[:n]) {
			return nil
		}
		if err != nil {
			return err
		}
		switch between := !r.Incomplete(); {
		case between && len(buffer) > idleBuffer:
			buffer = make([]byte, idleBuffer)
		case !between && n == len(buffer):
			buffer = make([]byte, min(2*n, readBuffer))
		}
	}
}
