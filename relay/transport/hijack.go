package transport

import (
	"bytes"
	"net"
	"net/http"
)

// Hijack takes the connection over from net/http, which clears its deadlines.
// It also returns the bytes that the client sent after its request, or nil if
// there are no such bytes.
func Hijack(w http.ResponseWriter) (net.Conn, *[]byte, error) {
	netConn, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil || buffered.Reader.Buffered() == 0 {
		return netConn, nil, err
	}
	early, _ := buffered.Reader.Peek(buffered.Reader.Buffered())
	early = bytes.Clone(early)
	return netConn, &early, nil
}

// withoutTLS returns the connection below TLS, or c itself.
func withoutTLS(c net.Conn) net.Conn {
	if secured, ok := c.(interface{ NetConn() net.Conn }); ok {
		return secured.NetConn()
	}
	return c
}
