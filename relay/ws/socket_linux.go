package ws

import (
	"io"
	"net"
	"syscall"
	"time"
	"unsafe"

	"sidecast/relay/outbox"
)

// newSocket returns the sending end of c. A TCP connection is written to directly, without waiting; anything else waits on
// a goroutine.
func newSocket(c *conn) outbox.Socket {
	if tcp, ok := c.Conn.(*net.TCPConn); ok {
		if raw, err := tcp.SyscallConn(); err == nil {
			s := &c.direct
			s.conn, s.raw, s.fill = c, raw, s.readInto
			if raw.Control(func(fd uintptr) { s.fd = fd }) == nil {
				return s
			}
		}
	}
	return &waitSocket{conn: c}
}

// Read is where gws gets its bytes from, through a bufio.Reader. The goroutine of an idle connection sleeps in here, in the
// runtime's poller. What it needs of the stack counts ten-thousandfold, so the way down is short: by the descriptor
// itself, in half the stack that Conn.Read takes, a goroutine keeps the 2 KiB that it began with.
func (c *conn) Read(p []byte) (int, error) {
	if c.early != nil || c.guard.code != 0 || c.direct.raw == nil {
		return c.readOther(p)
	}
	c.direct.into = p
	if err := c.direct.raw.Read(c.direct.fill); err != nil {
		return 0, err
	}
	return c.received(p)
}

// readOther reads what came with the handshake, and from connections that have no descriptor of their own.
func (c *conn) readOther(p []byte) (int, error) {
	if c.early != nil || c.guard.code != 0 {
		return c.readFirst(p)
	}
	n, err := c.Conn.Read(p)
	if n == 0 {
		return 0, err
	}
	return c.judge(p[:n], err)
}

// received judges what readInto left.
func (c *conn) received(p []byte) (int, error) {
	switch {
	case c.direct.errno != 0:
		return 0, c.direct.errno
	case c.direct.got == 0:
		return 0, io.EOF
	}
	return c.judge(p[:c.direct.got], nil)
}

// readInto makes one read call, and reports whether it is not to be made again when there is more.
func (s *directSocket) readInto(fd uintptr) bool {
	for {
		n, _, errno := syscall.RawSyscall(syscall.SYS_READ, fd, uintptr(unsafe.Pointer(unsafe.SliceData(s.into))), uintptr(len(s.into)))
		switch errno {
		case syscall.EAGAIN:
			return false
		case syscall.EINTR:
			continue
		}
		s.got, s.errno = int(n), errno
		break
	}
	s.into = nil
	return true
}

// A directSocket writes with one non-blocking system call on the goroutine that has something to write. Every such call is
// made with the outbox locked and not shut, and the connection is closed only after the outbox was shut, so the
// descriptor is never one that the kernel gave to somebody else.
type directSocket struct {
	fd   uintptr
	conn *conn
	raw  syscall.RawConn

	// Owned by the reading goroutine: one call of receive.
	fill  func(fd uintptr) bool // readInto
	into  []byte
	got   int // 0 at the end
	errno syscall.Errno
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
func (s *directSocket) Drain(o *outbox.Outbox) {
	if err := s.raw.Write(func(uintptr) bool { return o.Resume() }); err != nil {
		o.Took(0, err)
	}
}

// Finish implements [relay.Socket].
func (s *directSocket) Finish() {
	_ = s.conn.Conn.(*net.TCPConn).CloseWrite()
	s.Expire(lingerTime)
}

// Expire implements [relay.Socket].
func (s *directSocket) Expire(d time.Duration) { s.conn.expire(d) }
