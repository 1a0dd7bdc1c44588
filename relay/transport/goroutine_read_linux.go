package transport

import (
	"bytes"
	"io"
)

// readTo reads until the connection ends, or until the receiver wants no more. The
// goroutine of an idle connection waits in this method, in the runtime's poller,
// without a buffer. Each stack frame below it exists once for each of thousands
// of connections, so the call chain is short: it reads from the descriptor,
// which needs half the stack of Conn.Read, and the goroutine keeps its initial
// stack of 2 KiB.
func (g *goroutineConn) readTo(r Receiver) {
	if g.direct.raw == nil {
		g.ended(g.readIndirect(r))
		return
	}
	for {
		if err := g.direct.raw.Read(g.direct.onReadable); err != nil {
			g.ended(err)
			return
		}
		if more, err := g.direct.take(r); !more {
			g.ended(err)
			return
		}
	}
}

// take handles what readOnce has read. It reports false at the end of the
// connection.
func (s *directSocket) take(r Receiver) (more bool, err error) {
	switch {
	case s.errno != 0:
		return false, s.errno
	case s.n == 0:
		return false, io.EOF
	}
	rest, next := receive(r, s.buf[:s.n])
	rest = bytes.Clone(rest) // a client whose command has to wait does not keep a whole buffer
	readBuffers.Put(s.buf)
	s.buf = nil
	return next == More || next == Work && work(r, rest), nil
}
