package ws

import (
	"net"
	"time"

	"sidecast/relay/outbox"
)

// A waitSocket is the sending end of a connection that can only be written to by waiting: TLS, and every platform without
// a write that does not. Its writer is a goroutine that exists only while there is something to write.
type waitSocket struct{ conn *conn }

// Send implements [relay.Socket]: never at once.
func (s *waitSocket) Send([][]byte) (int, error) { return 0, nil }

// Drain implements [relay.Socket].
func (s *waitSocket) Drain(o *outbox.Outbox) {
	var space [64][]byte
	for {
		frames := net.Buffers(o.Take(space[:0]))
		if len(frames) == 0 {
			return
		}
		n, err := frames.WriteTo(s.conn.Conn)
		o.Took(int(n), err)
		clear(space[:])
	}
}

// Finish implements [relay.Socket]. It cannot half-close TLS without writing; the client closes on the close frame.
func (s *waitSocket) Finish() {
	if tcp, ok := s.conn.Conn.(*net.TCPConn); ok {
		_ = tcp.CloseWrite()
	}
	s.Expire(lingerTime)
}

// Expire implements [relay.Socket]. A writer that is stuck ends with it.
func (s *waitSocket) Expire(d time.Duration) {
	_ = s.conn.Conn.SetDeadline(time.Now().Add(d))
}
