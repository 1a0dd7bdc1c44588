//go:build unix

package relaytest

import "syscall"

// receiveBuffer returns a function that sets SO_RCVBUF on a socket before it
// connects, because the kernel offers a window when it connects. 0 keeps the
// default.
func receiveBuffer(size int) func(network, address string, c syscall.RawConn) error {
	return func(_, _ string, c syscall.RawConn) (err error) {
		if size == 0 {
			return nil
		}
		if outer := c.Control(func(fd uintptr) {
			err = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, size)
		}); outer != nil {
			return outer
		}
		return err
	}
}
