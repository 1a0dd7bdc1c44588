package relaytest

import "syscall"

// receiveBuffer returns what sets SO_RCVBUF on a socket before it connects: afterwards the kernel has offered a window
// already.
func receiveBuffer(size int) func(network, address string, c syscall.RawConn) error {
	return func(_, _ string, c syscall.RawConn) (err error) {
		if size == 0 {
			return nil
		}
		if outer := c.Control(func(fd uintptr) {
			err = syscall.SetsockoptInt(syscall.Handle(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, size)
		}); outer != nil {
			return outer
		}
		return err
	}
}
