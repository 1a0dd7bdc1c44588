package ws

import (
	"log/slog"
	"net/netip"
	"time"

	"sidecast/relay"
	"sidecast/relay/protocol"
	"sidecast/relay/transport"
)

// A conn is one WebSocket connection. All bytes pass through it: outgoing frames
// wait in one outbox, and what arrives passes the decoder. One goroutine, serve,
// reads from the connection; only that goroutine closes it.
type conn struct {
	transport.Conn

	handler *Handler
	session *relay.Session

	// Owned by the reading goroutine.
	decoder  decoder
	limit    messageLimit
	early    *[]byte // bytes that arrived together with the handshake request; may be nil
	closing  bool    // the client sent a close frame
	peerCode uint16  // of that frame; 0 if it has none

	address        netip.Addr // counted by the IPLimiter
	remote, origin string
	began          int64 // Unix time in milliseconds
}

// serve reads until the connection ends.
func (c *conn) serve() {
	defer c.cleanUp()
	if early := c.early; early != nil {
		c.early = nil
		if !c.Receive(*early) {
			return
		}
	}
	c.ReadTo(c)
}

// Receive implements [transport.Receiver].
func (c *conn) Receive(b []byte) bool {
	c.session.Seen()
	now := time.Now()
	if code := c.decoder.decode(b, now, c); code != 0 {
		c.session.Close(code)
		return false
	}
	c.limit.update(c, now)
	return true
}

// Incomplete implements [transport.Receiver].
func (c *conn) Incomplete() bool { return c.decoder.began != 0 }

func (c *conn) receiveMessage(message []byte, text bool) {
	c.limit.stop() // the message is complete, and handling it may wait
	c.session.Handle(message, text)
}

// receivePing answers with the payload, as RFC 6455 section 5.5.3 requires.
func (c *conn) receivePing(payload []byte) {
	c.Outbox.Send(append(protocol.NewFrame(protocol.OpPong, len(payload)), payload...))
}

func (c *conn) receiveClose(code uint16) { c.closing, c.peerCode = true, code }

// cleanUp ends the session and the connection, also after a panic. serve defers
// it.
func (c *conn) cleanUp() {
	if v := recover(); v != nil {
		c.handler.cfg.Logger.Error("panic while reading from a client; the client is disconnected",
			"session", c.session, "panic", v)
		c.session.Close(protocol.CloseProtocol)
	}
	c.limit.stop()
	c.disconnect()
	if c.session.CloseCode() == protocol.CloseTooBig {
		c.handler.cfg.Refusals.Log(problems[protocol.CloseTooBig], c.remote)
	}
	c.handler.release(c.address)
}

// disconnect removes the session from the hub, gives the client a moment to
// read its last bytes, and closes the connection.
func (c *conn) disconnect() {
	c.session.Leave()
	if c.session.CloseCode() != protocol.CloseAbnormal {
		// A client that has sent its own close frame waits for the relay to close
		// the connection (RFC 6455 section 7.1.1).
		c.Linger(c.closing)
	}
	c.Shut()
	c.logClosed()
}

func (c *conn) logClosed() {
	if !c.handler.cfg.Logger.Enabled(c.handler.ctx, slog.LevelInfo) {
		return
	}
	sent, messages := c.Outbox.Sent()
	code := c.session.CloseCode()
	attrs := []any{
		"session", c.session, "remote", c.remote, "transport", protocol.WebSocket.String(),
		"protocol", c.session.Protocol().ID().String(), "code", code.Number(),
		"duration", time.Since(time.UnixMilli(c.began)).Round(time.Millisecond), "messages", messages, "bytes", sent,
	}
	if code != code.Plain() {
		attrs = append(attrs, "reason", code.Reason())
	}
	if c.origin != "" {
		attrs = append(attrs, "origin", c.origin)
	}
	if c.peerCode != 0 {
		attrs = append(attrs, "peer_code", int(c.peerCode))
	}
	c.handler.cfg.Logger.Log(c.handler.ctx, slog.LevelInfo, "connection closed", attrs...)
}
