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
	if w, ok := w.(detacher); ok {
		netConn, early, err := w.Detach()
		if err != nil || len(early) == 0 {
			return netConn, nil, err
		}
		early = bytes.Clone(early)
		return netConn, &early, nil
	}
	netConn, buffered, err := http.NewResponseController(w).Hijack()
	if c, ok := netConn.(interface{ Bare() net.Conn }); ok {
		netConn = c.Bare()
	}
	if err != nil || buffered.Reader.Buffered() == 0 {
		return netConn, nil, err
	}
	early, _ := buffered.Reader.Peek(buffered.Reader.Buffered())
	early = bytes.Clone(early)
	return netConn, &early, nil
}

// A detacher is the response to a request that net/http has not read. It hijacks
// without allocating buffers. The bytes that it returns are valid until the
// handler returns.
type detacher interface {
	Detach() (netConn net.Conn, early []byte, err error)
}

// withoutTLS returns the connection below TLS, or c itself.
func withoutTLS(c net.Conn) net.Conn {
	if secured, ok := c.(interface{ NetConn() net.Conn }); ok {
		return secured.NetConn()
	}
	return c
}
