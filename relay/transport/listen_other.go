//go:build !linux

package transport

import "syscall"

// setSendBuffer is nil because only on Linux do connections inherit their
// listener's send buffer.
var setSendBuffer func(network, address string, c syscall.RawConn) error
