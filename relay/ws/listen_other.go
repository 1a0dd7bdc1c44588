//go:build !linux

package ws

import "syscall"

// sizeBuffers is what Linux has: elsewhere connections do not inherit what their listener has.
var sizeBuffers func(network, address string, c syscall.RawConn) error
