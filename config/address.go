package config

import (
	"net"
	"strconv"
	"strings"

	"sidecast/relay/syntax"
)

// An Address is the host:port of a listener. An empty host means all addresses,
// and port 0 means any free port.
type Address string

// Decode reads an address.
func (a *Address) Decode(value string) error {
	value = strings.TrimSpace(value)
	if n, err := strconv.ParseUint(value, 10, 16); err == nil {
		return syntax.New(syntax.Quote(value)+" is only a port", "write :"+strconv.FormatUint(n, 10))
	}
	if strings.Contains(value, "/") {
		return syntax.New(syntax.Quote(value)+" is not an address", "write host:port or :port, without a scheme or a path")
	}
	_, port, err := net.SplitHostPort(value)
	if err != nil {
		return syntax.New(syntax.Quote(value)+" is not an address", "write host:port or :port, and [::1]:port for IPv6")
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return syntax.New(syntax.Quote(value)+" has a port that is not 0 to 65535", "write host:port or :port")
	}
	*a = Address(value)
	return nil
}

// conflicts reports whether two listeners cannot use a and b at the same time.
func (a Address) conflicts(b Address) bool {
	hostA, portA, _ := net.SplitHostPort(string(a))
	hostB, portB, _ := net.SplitHostPort(string(b))
	isAny := func(host string) bool { return host == "" || host == "0.0.0.0" || host == "::" }
	return portA == portB && strings.Trim(portA, "0") != "" &&
		(strings.EqualFold(hostA, hostB) || isAny(hostA) || isAny(hostB))
}
