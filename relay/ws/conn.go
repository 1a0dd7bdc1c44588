package ws

import (
	"bytes"
	"encoding/binary"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"time"

	"github.com/lxzan/gws"

	"sidecast/relay"
	"sidecast/relay/outbox"
	"sidecast/relay/protocol"
)

const (
	// readBuffer is the size of the read buffer that an idle connection keeps,
	// in bytes. A longer message is read without it.
	readBuffer = 128
	// lingerTime is how long the relay waits for a client to close its half of
	// the connection after the relay has closed its own.
	lingerTime = time.Second
)

// A conn is one WebSocket connection. It is the net.Conn that gws reads from
// and writes to, so all bytes pass through it: outgoing bytes join the
// session's messages in one outbox, and incoming bytes pass the guard first.
// One goroutine, serve, reads from the connection; only that goroutine closes
// it.
type conn struct {
	net.Conn // TCP or TLS

	handler *Handler
	session *relay.Session

	outbox outbox.Outbox
	direct directSocket // next to the outbox, which calls it for each delivery

	// Owned by the reading goroutine.
	guard    guard
	early    *[]byte // bytes that arrived together with the handshake request; may be nil
	peerCode uint16  // of the close frame that the client sent
	expired  bool    // the read deadline passed, see [conn.expire]

	address        netip.Addr // counted by the IPLimiter
	remote, origin string
	began          int64 // Unix time in milliseconds
}

// serve reads until the connection ends.
func (c *conn) serve(socket *gws.Conn) {
	defer c.cleanUp()
	socket.ReadLoop()
}

// cleanUp ends the session and the connection, also after a panic. serve defers
// it.
func (c *conn) cleanUp() {
	if v := recover(); v != nil {
		c.handler.cfg.Logger.Error("panic while reading from a client; the client is disconnected",
			"session", c.session, "panic", v)
		c.session.Close(protocol.CloseProtocol)
	}
	c.disconnect()
	c.handler.release(c.address)
}

// disconnect removes the session from the hub, gives the client a moment to
// read its last bytes, and closes the connection.
func (c *conn) disconnect() {
	c.session.Leave()
	if c.session.CloseCode() != protocol.CloseAbnormal {
		c.linger()
	}
	flushed := c.outbox.Flushed()
	if tcp, ok := c.Conn.(*net.TCPConn); ok && !flushed {
		_ = tcp.SetLinger(0) // discards unsent bytes: the kernel frees their memory now
	}
	c.outbox.Shut()
	_ = c.Conn.Close()
	c.logClosed()
}

// linger reads until the client closes its half. If the relay closed a
// connection with unread bytes, the kernel would send a reset, and the client
// would lose the close frame.
func (c *conn) linger() {
	if _, evicted := c.outbox.Evicted(); evicted || c.expired {
		return // the client already had its time
	}
	c.expire(lingerTime)
	var sink [512]byte
	for {
		if _, err := c.Conn.Read(sink[:]); err != nil {
			return
		}
	}
}

func (c *conn) logClosed() {
	if !c.handler.cfg.Logger.Enabled(c.handler.ctx, slog.LevelInfo) {
		return
	}
	sent, messages := c.outbox.Sent()
	attrs := []any{
		"session", c.session, "remote", c.remote, "transport", protocol.WebSocket.String(),
		"protocol", c.session.Protocol().ID().String(), "code", int(c.session.CloseCode()),
		"duration", time.Since(time.UnixMilli(c.began)).Round(time.Millisecond), "messages", messages, "bytes", sent,
	}
	if c.origin != "" {
		attrs = append(attrs, "origin", c.origin)
	}
	if c.peerCode != 0 {
		attrs = append(attrs, "peer_code", int(c.peerCode))
	}
	c.handler.cfg.Logger.Log(c.handler.ctx, slog.LevelInfo, "connection closed", attrs...)
}

// readIndirect reads the bytes that arrived together with the handshake
// request, and reads from connections without a descriptor.
func (c *conn) readIndirect(p []byte) (int, error) {
	if c.early != nil || c.guard.code != 0 {
		return c.readEarly(p)
	}
	n, err := c.Conn.Read(p)
	if n == 0 {
		return 0, err
	}
	return c.filter(p[:n], err)
}

// readEarly reads from the bytes that arrived together with the handshake
// request. It returns io.EOF if the guard has rejected a frame.
func (c *conn) readEarly(p []byte) (int, error) {
	if c.guard.code != 0 {
		return 0, io.EOF
	}
	n := copy(p, *c.early)
	if *c.early = (*c.early)[n:]; len(*c.early) == 0 {
		c.early = nil
	}
	return c.filter(p[:n], nil)
}

// filter passes read through the guard. It returns how many bytes gws may see,
// and io.EOF if the guard rejects the rest.
func (c *conn) filter(read []byte, err error) (int, error) {
	c.session.Seen()
	allowed := c.guard.inspect(read, time.Now())
	if allowed < len(read) {
		err = io.EOF
	}
	return allowed, err
}

// Write queues or sends what gws writes: its handshake response, pongs and
// close frames. It never waits for the client.
func (c *conn) Write(b []byte) (int, error) {
	switch {
	case c.session == nil:
		c.outbox.Hold(bytes.Clone(b))
	case protocol.Opcode(b[0]&0x0f) == protocol.OpClose:
		c.replaceClose(b)
	default:
		c.outbox.Send(bytes.Clone(b))
	}
	return len(b), nil
}

// replaceClose closes the session with the code of a close frame that gws
// writes. The frame itself is not sent, because it contains the text of a Go
// error.
func (c *conn) replaceClose(frame []byte) {
	code := protocol.CloseNormal
	if len(frame) >= 4 {
		code = protocol.CloseCode(binary.BigEndian.Uint16(frame[2:]))
	}
	switch {
	case c.guard.code != 0:
		code = c.guard.code
	case code == protocol.CloseProtocol, code == protocol.CloseBadData, code == protocol.CloseTooBig:
	case c.guard.closing: // gws returns the client's own code
	default: // reading failed: a close frame would not arrive
		return
	}
	c.session.Close(code)
}

// Close does nothing. gws calls it after its last write, but only serve closes
// the connection.
func (c *conn) Close() error { return nil }

// SetDeadline does nothing. gws sets a deadline for its handshake response,
// which is written to the outbox.
func (c *conn) SetDeadline(time.Time) error { return nil }

// SetReadDeadline does nothing for gws; see [conn.expire].
func (c *conn) SetReadDeadline(time.Time) error { return nil }

// SetWriteDeadline does nothing for gws.
func (c *conn) SetWriteDeadline(time.Time) error { return nil }

// expire makes reading from the connection fail after d.
func (c *conn) expire(d time.Duration) { _ = c.Conn.SetReadDeadline(time.Now().Add(d)) }
