package relaytest

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"testing"
)

// listen returns a TCP listener that is closed when the test ends.
func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// accept accepts one connection and answers its handshake.
func accept(l net.Listener) (*net.TCPConn, error) {
	conn, err := l.Accept()
	if err != nil {
		return nil, err
	}
	r, err := http.ReadRequest(newReader(conn))
	if err != nil {
		conn.Close()
		return nil, err
	}
	_, err = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Accept: "+acceptKey(r.Header.Get("Sec-WebSocket-Key"))+"\r\n\r\n")
	return conn.(*net.TCPConn), err
}

func newReader(r io.Reader) *bufio.Reader { return bufio.NewReader(r) }
