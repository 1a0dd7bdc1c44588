package ws

import (
	"context"
	"net"
)

// Listen listens on a TCP address with socket options that make new connections
// cheap; see [Config.Listened]. It disables the kernel's keep-alive probes: the
// relay sends its own pings, and deadlines apply before the handshake. On Linux
// it also sets the size of the send buffer, which connections inherit.
func Listen(ctx context.Context, addr string) (net.Listener, error) {
	config := net.ListenConfig{KeepAlive: -1, Control: setSendBuffer}
	return config.Listen(ctx, "tcp", addr)
}
