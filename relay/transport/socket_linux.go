package transport

import (
	"net"
	"syscall"
	"time"
	"unsafe"

	"sidecast/relay/outbox"
)

// newSocket returns the socket that c's outbox writes to. A TCP connection gets
// a [directSocket], all other connections a [blockingSocket].
func newSocket(c *Conn) outbox.Socket {
	if tcp, ok := c.Conn.(*net.TCPConn); ok {
		if raw, err := tcp.SyscallConn(); err == nil {
			s := &c.direct
			s.conn, s.raw, s.onReadable = c, raw, s.readOnce
			if raw.Control(func(fd uintptr) { s.fd = fd }) == nil {
				return s
			}
		}
	}
	return &blockingSocket{conn: c}
}

// A directSocket writes with one non-blocking system call, on the goroutine
// that calls Send. The outbox is locked and not shut during each call, and the
// connection is closed only after the outbox was shut. So the descriptor is
// never one that the kernel has reused for another file.
type directSocket struct {
	fd   uintptr
	conn *Conn
	raw  syscall.RawConn

	// Owned by the reading goroutine: the results of one readOnce.
	onReadable func(fd uintptr) bool // readOnce
	buf        *[readBuffer]byte     // if n > 0
	n          int                   // 0 at the end of the connection
	errno      syscall.Errno
}

const sendFlags = syscall.MSG_DONTWAIT | syscall.MSG_NOSIGNAL

// Send implements [outbox.Socket].
func (s *directSocket) Send(frames [][]byte) (int, error) {
	for {
		var n uintptr
		var errno syscall.Errno
		if len(frames) == 1 {
			n, _, errno = syscall.RawSyscall6(syscall.SYS_SENDTO, s.fd, uintptr(unsafe.Pointer(unsafe.SliceData(frames[0]))),
				uintptr(len(frames[0])), sendFlags, 0, 0)
		} else {
			n, errno = s.sendMany(frames)
		}
		switch errno {
		case 0:
			return int(n), nil
		case syscall.EAGAIN:
			return 0, nil
		case syscall.EINTR:
			continue
		}
		return 0, errno
	}
}

func (s *directSocket) sendMany(frames [][]byte) (uintptr, syscall.Errno) {
	var vectors [64]syscall.Iovec
	k := 0
	for _, frame := range frames[:min(len(frames), len(vectors))] {
		vectors[k].Base = unsafe.SliceData(frame)
		vectors[k].SetLen(len(frame))
		k++
	}
	message := syscall.Msghdr{Iov: &vectors[0]}
	setIovlen(&message, k)
	n, _, errno := syscall.RawSyscall(syscall.SYS_SENDMSG, s.fd, uintptr(unsafe.Pointer(&message)), sendFlags)
	return n, errno
}

// Unacknowledged implements [outbox.Socket].
func (s *directSocket) Unacknowledged() (bytes int, known bool) { return sendQueue(s.fd) }

// sendQueue returns how many bytes a TCP socket has accepted that the client's
// kernel has not acknowledged. It falls whenever bytes arrive there, while the
// kernel accepts more bytes only after a third of its buffer is free: on a slow
// line, that takes longer than the write timeout.
func sendQueue(fd uintptr) (bytes int, known bool) {
	var n int32
	_, _, errno := syscall.RawSyscall(syscall.SYS_IOCTL, fd, syscall.TIOCOUTQ, uintptr(unsafe.Pointer(&n)))
	return int(n), errno == 0
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
	if raw.Control(func(fd uintptr) { bytes, known = sendQueue(fd) }) != nil {
		return 0, false
	}
	return bytes, known
}

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
func (s *directSocket) Expire(d time.Duration) { s.conn.Expire(d) }

// readOnce reads with one system call. It reports false if there is nothing to
// read yet: the poller calls it again when there is.
func (s *directSocket) readOnce(fd uintptr) bool {
	buf := readBuffers.Get().(*[readBuffer]byte)
	for {
		n, _, errno := syscall.RawSyscall(syscall.SYS_READ, fd, uintptr(unsafe.Pointer(buf)), readBuffer)
		switch {
		case errno == syscall.EINTR:
			continue
		case errno == 0 && n > 0:
			s.buf, s.n, s.errno = buf, int(n), 0
			return true
		}
		readBuffers.Put(buf)
		s.n, s.errno = 0, errno
		return errno != syscall.EAGAIN
	}
}
