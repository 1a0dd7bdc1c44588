package transport

import (
	"net"
	"syscall"
	"time"

	"sidecast/relay/outbox"
)

// newSocket returns the socket that the outbox of conn writes to. A TCP
// connection gets a [directSocket], all other connections a [blockingSocket].
func newSocket(conn *goroutineConn) outbox.Socket {
	if tcp, ok := conn.Conn.(*net.TCPConn); ok {
		if raw, err := tcp.SyscallConn(); err == nil {
			s := &conn.direct
			s.conn, s.raw, s.onReadable = conn, raw, s.readOnce
			if raw.Control(func(fd uintptr) { s.fd = int32(fd) }) == nil {
				return s
			}
		}
	}
	return &blockingSocket{conn}
}

// A directSocket writes with one non-blocking system call, on the goroutine
// that calls Send. The outbox is locked and not shut during each call, and the
// connection is closed only after the outbox was shut. So the descriptor is
// never one that the kernel has reused for another file.
type directSocket struct {
	fd   int32
	conn *goroutineConn
	raw  syscall.RawConn

	// Owned by the goroutine of conn: the results of one readOnce.
	onReadable func(fd uintptr) bool // readOnce
	buf        *[readBuffer]byte     // if n > 0
	n          int                   // 0 at the end of the connection
	errno      syscall.Errno
}

// Send implements [outbox.Socket].
func (s *directSocket) Send(frames [][]byte) (int, error) { return send(s.fd, frames) }

// Unacknowledged implements [outbox.Socket].
func (s *directSocket) Unacknowledged() (bytes int, known bool) { return sendQueue(s.fd) }

// Polled implements [outbox.Socket].
func (s *directSocket) Polled() bool { return false }

// Drain implements [outbox.Socket]. It waits in the runtime's poller, without a
// thread.
func (s *directSocket) Drain(o *outbox.Outbox) {
	if err := s.raw.Write(func(uintptr) bool { return o.Resume() }); err != nil {
		o.Written(0, err)
	}
}

// Finish implements [outbox.Socket].
func (s *directSocket) Finish() {
	_ = s.conn.Conn.(*net.TCPConn).CloseWrite()
	s.Expire(LingerTime)
}

// Expire implements [outbox.Socket].
func (s *directSocket) Expire(d time.Duration) { s.conn.expire(d) }

// readOnce reads with one system call. It reports false if there is nothing to
// read yet: the poller calls it again when there is.
func (s *directSocket) readOnce(fd uintptr) bool {
	buf := readBuffers.Get().(*[readBuffer]byte)
	n, errno := read(int32(fd), buf[:])
	if errno == 0 && n > 0 {
		s.buf, s.n, s.errno = buf, n, 0
		return true
	}
	readBuffers.Put(buf)
	s.n, s.errno = 0, errno
	return errno != syscall.EAGAIN
}

// unacknowledged is sendQueue for a connection that has a descriptor.
func unacknowledged(c net.Conn) (bytes int, known bool) {
	tcp, ok := c.(syscall.Conn)
	if !ok {
		return 0, false
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return 0, false
	}
	if raw.Control(func(fd uintptr) { bytes, known = sendQueue(int32(fd)) }) != nil {
		return 0, false
	}
	return bytes, known
}
