package transport

import (
	"bytes"
	"io"
)

// ReadTo reads until the connection ends, or until the receiver wants no more. The
// goroutine of an idle connection waits in this method, in the runtime's poller,
// without a buffer. Each stack frame below it exists once for each of thousands
// of connections, so the call chain is short: it reads from the descriptor,
// which needs half the stack of Conn.Read, and the goroutine keeps its initial
// stack of 2 KiB.
func (c *Conn) ReadTo(r Receiver) {
	if c.direct.raw == nil {
		c.ended(c.readIndirect(r))
		return
	}
	for {
		if err := c.direct.raw.Read(c.direct.onReadable); err != nil {
			c.ended(err)
			return
		}
		if more, err := c.direct.take(r); !more {
			c.ended(err)
			return
		}
	}
}

// smallRead is the most that is copied, so that a client whose command has to
// wait does not keep a whole buffer.
const smallRead = 512

// take handles what readOnce has read. It reports false at the end of the
// connection.
func (s *directSocket) take(r Receiver) (more bool, err error) {
	switch {
	case s.errno != 0:
		return false, s.errno
	case s.n == 0:
		return false, io.EOF
	}
	if s.n <= smallRead {
		return s.takeSmall(r), nil
	}
	more = r.Receive(s.buf[:s.n])
	readBuffers.Put(s.buf)
	s.buf = nil
	return more, nil
}

func (s *directSocket) takeSmall(r Receiver) (more bool) {
	small := bytes.Clone(s.buf[:s.n])
	readBuffers.Put(s.buf)
	s.buf = nil
	return r.Receive(small)
}
