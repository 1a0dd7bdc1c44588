package ws

import (
	"net"
	"syscall"
	"time"
	"unsafe"

	"sidecast/relay"
)

// newSocket returns the sending end of c. A TCP connection is written to directly, without waiting; anything else waits on
// a goroutine.
func newSocket(c *conn) relay.Socket {
	if tcp, ok := c.Conn.(*net.TCPConn); ok {
		if raw, err := tcp.SyscallConn(); err == nil {
			s := &c.direct
			s.conn, s.tcp, s.raw = c, tcp, raw
			if raw.Control(func(fd uintptr) { s.fd = fd }) == nil {
				return s
			}
		}
	}
	return &waitSocket{conn: c}
}

// A directSocket writes with one non-blocking system call on the goroutine that has something to write. Every such call is
// made with the outbox locked and not shut, and the connection is closed only after the outbox was shut, so the
// descriptor is never one that the kernel gave to somebody else.
type directSocket struct {
	fd   uintptr
	conn *conn
	tcp  *net.TCPConn
	raw  syscall.RawConn
}

const sendFlags = syscall.MSG_DONTWAIT | syscall.MSG_NOSIGNAL

// Send implements [relay.Socket].
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

// Drain implements [relay.Socket]: it waits in the runtime's poller, which holds no thread.
func (s *directSocket) Drain(o *relay.Outbox) {
	if err := s.raw.Write(func(uintptr) bool { return o.Resume() }); err != nil {
		o.Took(0, err)
	}
}

// Finish implements [relay.Socket].
func (s *directSocket) Finish() {
	_ = s.tcp.CloseWrite()
	s.Expire(lingerTime)
}

// Expire implements [relay.Socket].
func (s *directSocket) Expire(d time.Duration) { s.conn.expire(d) }
