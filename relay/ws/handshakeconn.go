package ws

import (
	"bytes"
	"net"
	"time"

	"sidecast/relay/outbox"
)

// A handshakeConn is the connection that the library writes its handshake
// response to. The outbox holds the response until the session exists.
type handshakeConn struct {
	net.Conn // nil
	outbox   *outbox.Outbox
}

// Write implements [net.Conn].
func (c handshakeConn) Write(b []byte) (int, error) {
	c.outbox.Hold(bytes.Clone(b))
	return len(b), nil
}

// SetDeadline implements [net.Conn]. A write does not wait.
func (handshakeConn) SetDeadline(time.Time) error { return nil }

// Close implements [net.Conn]. The handler closes the connection.
func (handshakeConn) Close() error { return nil }

// noStorage replaces the map that the library creates for each connection.
type noStorage struct{}

func (noStorage) Len() int                     { return 0 }
func (noStorage) Load(string) (any, bool)      { return nil, false }
func (noStorage) Delete(string)                {}
func (noStorage) Store(string, any)            {}
func (noStorage) Range(func(string, any) bool) {}
