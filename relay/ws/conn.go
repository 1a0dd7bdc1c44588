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
// wait in one outbox, and what arrives passes the decoder.
type conn struct {
	transport.Conn

	handler *Handler
	session *relay.Session

	// Used only by the methods of [transport.Receiver].
	decoder  decoder
	limit    messageLimit
	ending   protocol.CloseCode // why the relay reads nothing more; 0 if the connection has ended
	closing  bool               // the client sent a close frame
	peerCode uint16             // of that frame; 0 if it has none

	address        netip.Addr // counted by the IPLimiter
	remote, origin string
	began          int64 // Unix time in milliseconds
}

// Receive implements [transport.Receiver]. It handles control frames, and leaves
// messages to Work.
func (c *conn) Receive(b []byte) (int, transport.Next) {
	c.session.Seen()
	now := time.Now()
	n, code := c.decoder.decode(b, now, c)
	switch {
	case code != 0:
		c.ending = code
		return n, transport.End
	case c.decoder.whole:
		c.limit.stop() // handling the message may wait
		return n, transport.Work
	}
	c.limit.update(c, now)
	return n, transport.More
}

// Work implements [transport.Receiver].
func (c *conn) Work() { c.session.Handle(c.decoder.take()) }

// Incomplete implements [transport.Receiver].
func (c *conn) Incomplete() bool { return c.decoder.began != 0 }

// receivePing answers with the payload, as RFC 6455 section 5.5.3 requires.
func (c *conn) receivePing(payload []byte) {
	c.Outbox.Send(append(protocol.NewFrame(protocol.OpPong, len(payload)), payload...))
}

func (c *conn) receiveClose(code uint16) { c.closing, c.peerCode = true, code }

// Panicked implements [transport.Receiver].
func (c *conn) Panicked(value any) {
	c.session.LogPanic(value)
	c.ending = protocol.CloseProtocol
}

// Leave implements [transport.Receiver].
func (c *conn) Leave(bool) transport.Farewell {
	c.limit.stop()
	if c.ending != 0 {
		c.session.Close(c.ending)
	}
	c.session.Leave()
	switch {
	case c.session.CloseCode() == protocol.CloseAbnormal:
		return transport.CloseNow
	case c.closing:
		return transport.LingerForPeer // RFC 6455 section 7.1.1
	}
	return transport.Linger
}

// Closed implements [transport.Receiver].
func (c *conn) Closed() {
	c.logClosed()
	if c.session.CloseCode() == protocol.CloseTooBig {
		c.handler.cfg.Refusals.Log(problems[protocol.CloseTooBig], c.remote)
	}
	c.handler.release(c.address)
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
