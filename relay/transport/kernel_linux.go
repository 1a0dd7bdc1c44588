package transport

import (
	"errors"
	"net"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// linux is the kernel of Linux.
type linux struct{}

// osKernel is the operating system's kernel, or nil if there is none for
// readers.
var osKernel Kernel = linux{}

// Adopt implements [Kernel]. The runtime registers the descriptor of each
// net.Conn in its own poller, with memory of its own, and has no way to give it
// back, so this duplicates the descriptor, and closes c. For a moment, the
// connection has two.
func (linux) Adopt(c net.Conn) (int32, bool) {
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		return 0, false
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return 0, false
	}
	duplicate, failed := -1, error(nil)
	err = raw.Control(func(fd uintptr) { duplicate, failed = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0) })
	if err != nil || failed != nil {
		return 0, false
	}
	_ = tcp.Close()
	return int32(duplicate), true
}

// Read implements [Kernel].
func (linux) Read(fd int32, b []byte) (int, error) {
	switch n, errno := read(fd, b); errno {
	case 0:
		return n, nil
	case syscall.EAGAIN:
		return 0, ErrAgain
	default:
		return 0, errno
	}
}

// Send implements [Kernel].
func (linux) Send(fd int32, frames [][]byte) (int, error) { return send(fd, frames) }

// Unacknowledged implements [Kernel].
func (linux) Unacknowledged(fd int32) (bytes int, known bool) { return sendQueue(fd) }

// EndReading implements [Kernel].
func (linux) EndReading(fd int32) { _ = syscall.Shutdown(int(fd), syscall.SHUT_RD) }

// EndWriting implements [Kernel].
func (linux) EndWriting(fd int32) { _ = syscall.Shutdown(int(fd), syscall.SHUT_WR) }

// Close implements [Kernel].
func (linux) Close(fd int32, discard bool) {
	if discard { // the kernel frees the memory of unsent bytes now
		_ = syscall.SetsockoptLinger(int(fd), syscall.SOL_SOCKET, syscall.SO_LINGER, &syscall.Linger{Onoff: 1})
	}
	_ = syscall.Close(int(fd))
}

// NewPoller implements [Kernel].
func (linux) NewPoller() (Poller, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	if err := unix.SetNonblock(fd, true); err != nil { // lets the runtime's poller wait for it
		_ = unix.Close(fd)
		return nil, os.NewSyscallError("fcntl", err)
	}
	p := &epoll{fd: fd, file: os.NewFile(uintptr(fd), "epoll")}
	p.raw, err = p.file.SyscallConn()
	if err = errors.Join(err, p.file.SetReadDeadline(time.Time{})); err != nil { // the runtime cannot wait for it
		_ = p.file.Close()
		return nil, err
	}
	return p, nil
}

// An epoll is a poller that waits in the runtime's poller, so that it needs no
// thread.
type epoll struct {
	fd   int
	file *os.File
	raw  syscall.RawConn

	// Owned by the goroutine that calls Wait.
	list [maxEvents]unix.EpollEvent
}

// interest is what an epoll reports. Events are edge-triggered: an idle
// connection costs no further system call, and the kernel reports that a socket
// is writable only after it has refused bytes.
const interest = unix.EPOLLIN | unix.EPOLLPRI | unix.EPOLLOUT | unix.EPOLLRDHUP | unix.EPOLLET

// Add implements [Poller].
func (p *epoll) Add(fd int32, tag uint64) error { return p.control(unix.EPOLL_CTL_ADD, fd, tag) }

// Rearm implements [Poller].
func (p *epoll) Rearm(fd int32, tag uint64) error { return p.control(unix.EPOLL_CTL_MOD, fd, tag) }

func (p *epoll) control(op int, fd int32, tag uint64) error {
	event := unix.EpollEvent{Events: interest, Fd: int32(tag), Pad: int32(tag >> 32)}
	return os.NewSyscallError("epoll_ctl", unix.EpollCtl(p.fd, op, int(fd), &event))
}

// Wait implements [Poller].
func (p *epoll) Wait(events []Event, wait bool) (n int, err error) {
	failed := p.raw.Read(func(fd uintptr) bool {
		n, err = epollNow(int(fd), p.list[:min(len(events), maxEvents)])
		return n > 0 || err != nil || !wait
	})
	if failed != nil {
		return 0, failed
	}
	for i, e := range p.list[:max(n, 0)] {
		all := e.Events&(unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR|unix.EPOLLPRI) != 0
		events[i] = Event{
			Tag:      uint64(uint32(e.Fd)) | uint64(uint32(e.Pad))<<32,
			Readable: all || e.Events&unix.EPOLLIN != 0, ReadAll: all,
			Writable: e.Events&unix.EPOLLOUT != 0,
		}
	}
	return n, err
}

// epollNow returns events without waiting.
func epollNow(fd int, list []unix.EpollEvent) (n int, err error) {
	for {
		n, err = unix.EpollWait(fd, list, 0)
		if err != unix.EINTR {
			return n, os.NewSyscallError("epoll_wait", err)
		}
	}
}

// Close implements [Poller].
func (p *epoll) Close() { _ = p.file.Close() }
