package sse

import (
	"bytes"
	"net/http"
	"time"

	"sidecast/relay/protocol"
	"sidecast/relay/transport"
)

// maxIgnored is how many bytes a client may send after its request, in bytes.
const maxIgnored = 16 << 10

// A conn is a connection that serves one stream over HTTP/1.1, until it is
// closed.
type conn struct {
	transport.Conn
	*stream
	ignored int // bytes that the client sent after its request
}

// serveHTTP1 takes the connection over and starts to serve it. It returns an
// error if the connection has failed.
func (s *stream) serveHTTP1(w http.ResponseWriter, r *http.Request) error {
	header := w.Header()
	netConn, early, err := transport.Hijack(w)
	if err != nil {
		return err
	}
	transport.SetSendBuffer(netConn, s.handler.cfg.Listened)
	c := &conn{stream: s}
	c.Init(s.handler.cfg.Reader, netConn, s.handler.cfg.Budget, s.slowFrame())
	s.join(&c.Outbox, responseHead(header))
	transport.Serve(c, early)
	return nil
}

// responseHead returns the beginning of the answer. The end of the connection
// ends its body.
func responseHead(header http.Header) []byte {
	setHeaders(header)
	header.Set("Connection", "close")
	header.Set("Date", time.Now().UTC().Format(http.TimeFormat))
	var b bytes.Buffer
	b.WriteString("HTTP/1.1 200 OK\r\n")
	_ = header.Write(&b) // a Buffer has no errors
	b.WriteString("\r\n")
	return b.Bytes()
}

// Receive implements [transport.Receiver]. A client has nothing to send.
func (c *conn) Receive(b []byte) (int, transport.Next) {
	c.session.Seen()
	if c.ignored += len(b); c.ignored > maxIgnored {
		return len(b), transport.End
	}
	return len(b), transport.More
}

// Work implements [transport.Receiver].
func (c *conn) Work() {}

// Incomplete implements [transport.Receiver].
func (c *conn) Incomplete() bool { return false }

// Panicked implements [transport.Receiver].
func (c *conn) Panicked(value any) {
	c.session.LogPanic(value)
}

// Leave implements [transport.Receiver].
func (c *conn) Leave(expired bool) transport.Farewell {
	switch {
	case c.ignored > maxIgnored:
		c.session.Close(protocol.ClosePolicy.Because(protocol.ReasonRate))
	case !expired:
		c.session.ClientLeft()
	}
	c.session.Leave()
	if code := c.session.CloseCode(); code == protocol.CloseNormal || code == protocol.CloseAbnormal {
		return transport.CloseNow
	}
	return transport.Linger
}

// Closed implements [transport.Receiver].
func (c *conn) Closed() {
	c.logClosed(&c.Outbox)
	c.release()
}
