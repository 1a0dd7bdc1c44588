package transport

import (
	"net"
	"time"

	"sidecast/relay/outbox"
)

// A blockingSocket writes to a connection that has no non-blocking write: a TLS
// connection, or any connection on other systems than Linux. A goroutine
// writes, and exists only while there is something to write.
type blockingSocket struct{ conn *goroutineConn }

// Send implements [outbox.Socket]. It sends nothing: the outbox queues the
// frames, and Drain writes them.
func (s *blockingSocket) Send([][]byte) (int, error) { return 0, nil }

// Unacknowledged implements [outbox.Socket]. On a TLS connection it counts
// encrypted bytes, which is close enough to notice progress.
func (s *blockingSocket) Unacknowledged() (bytes int, known bool) {
	return unacknowledged(withoutTLS(s.conn.Conn))
}

// Polled implements [outbox.Socket].
func (s *blockingSocket) Polled() bool { return false }

// Drain implements [outbox.Socket].
func (s *blockingSocket) Drain(o *outbox.Outbox) {
	var space [64][]byte
	for {
		frames := net.Buffers(o.Next(space[:0]))
		if len(frames) == 0 {
			return
		}
		n, err := frames.WriteTo(s.conn.Conn)
		o.Written(int(n), err)
		clear(space[:])
	}
}

// Finish implements [outbox.Socket]. It does not half-close TLS, because that
// would need a write. If the client sends nothing more, reading ends at once,
// and with it the connection.
func (s *blockingSocket) Finish() {
	if tcp, ok := s.conn.Conn.(*net.TCPConn); ok {
		_ = tcp.CloseWrite()
	}
	if s.conn.peerClosed.Load() {
		s.conn.expire(0)
		return
	}
	s.Expire(LingerTime)
}

// Expire implements [outbox.Socket]. It also ends a blocked write.
func (s *blockingSocket) Expire(d time.Duration) {
	_ = s.conn.Conn.SetDeadline(time.Now().Add(d))
}
