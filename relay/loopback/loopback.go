// Package loopback decides whether a host or an address is the local machine.
// It imports only the standard library.
//
// Two questions have different answers for a name such as app.localhost. A
// browser always resolves it to loopback, so a page may use it ([PageHost]).
// The resolver of an operating system need not, so the relay must not connect
// to it where only the local machine is trusted ([Host]).
package loopback

import (
	"net"
	"net/netip"
	"strings"
)

// Host reports whether connecting to a host, which has neither port nor
// brackets, reaches the local machine: it is localhost or a loopback address.
// The name must be in lower case.
func Host(host string) bool { return host == "localhost" || isAddress(host) }

// PageHost reports whether a host in a URL that a browser uses, which has
// neither port nor brackets, is the local machine: it is a [Name] or a loopback
// address.
func PageHost(host string) bool { return Name(host) || isAddress(host) }

// Name reports whether a host name is localhost or below it, such as
// app.localhost, in any case (RFC 6761 section 6.3).
func Name(name string) bool {
	name = strings.ToLower(name)
	return name == "localhost" || strings.HasSuffix(name, ".localhost")
}

// Addr reports whether a listener with this TCP address can be reached from the
// local machine only.
func Addr(addr net.Addr) bool {
	tcp, ok := addr.(*net.TCPAddr)
	return ok && tcp.IP.IsLoopback()
}

func isAddress(host string) bool {
	address, err := netip.ParseAddr(host)
	return err == nil && address.Unmap().IsLoopback()
}
