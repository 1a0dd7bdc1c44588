package accept

import (
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// unread reports whether bytes have arrived that the process has not read.
func unread(c net.Conn) bool {
	tcp, ok := c.(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return false
	}
	bytes := 0
	if err := raw.Control(func(fd uintptr) { bytes, err = unix.IoctlGetInt(int(fd), unix.TIOCINQ) }); err != nil {
		return false
	}
	return err == nil && bytes > 0
}
