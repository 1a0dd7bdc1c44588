//go:build !linux

package accept

import "net"

// unread is not known on this system.
func unread(net.Conn) bool { return false }
