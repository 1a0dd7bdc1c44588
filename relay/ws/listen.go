package ws

import (
	"context"
	"net"
)

// Listen listens on a TCP address in the way that costs a new connection the least; [Config] wants to know. The kernel does
// not probe the peers: the relay's pings do, and before a handshake its deadlines hold. Where connections inherit the
// size of the kernel's send buffer, it is set here, once.
func Listen(ctx context.Context, addr string) (net.Listener, error) {
	config := net.ListenConfig{KeepAlive: -1, Control: sizeBuffers}
	return config.Listen(ctx, "tcp", addr)
}
