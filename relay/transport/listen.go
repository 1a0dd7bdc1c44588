package transport

import (
	"context"
	"net"
)

// sendBuffer is the size of a connection's send buffer in the kernel, in bytes.
// By default, Linux buffers up to 4 MB for a slow client, and the relay could
// not limit those bytes.
const sendBuffer = 128 << 10

// Listen listens on a TCP address with socket options that make new connections
// cheap; see [SetSendBuffer]. It disables the kernel's keep-alive probes: the
// relay sends its own pings, and deadlines apply before the handshake. On Linux
// it also sets the size of the send buffer, which connections inherit.
func Listen(ctx context.Context, addr string) (net.Listener, error) {
	config := net.ListenConfig{KeepAlive: -1, Control: setSendBuffer}
	return config.Listen(ctx, "tcp", addr)
}

// SetSendBuffer sets the size of a connection's send buffer. listened says that
// the connection is from a listener that [Listen] returned.
func SetSendBuffer(c net.Conn, listened bool) {
	if tcp, ok := withoutTLS(c).(*net.TCPConn); ok && (!listened || setSendBuffer == nil) {
		_ = tcp.SetWriteBuffer(sendBuffer)
	}
}
