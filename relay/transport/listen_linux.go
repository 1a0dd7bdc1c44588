package transport

import "syscall"

// setSendBuffer sets the send buffer of a listener, which its connections
// inherit.
var setSendBuffer = func(_, _ string, c syscall.RawConn) error {
	var failed error
	err := c.Control(func(fd uintptr) {
		failed = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_SNDBUF, sendBuffer)
	})
	if err != nil {
		return err
	}
	return failed
}
