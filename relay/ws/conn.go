package ws

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"time"

	"github.com/lxzan/gws"

	"sidecast/relay"
	"sidecast/relay/outbox"
	"sidecast/relay/protocol"
)

const (
	// readBuffer is what an idle connection holds to read into; a longer message is read past it.
	readBuffer = 128
	// lingerTime is how long a client has to close its half once ours is closed.
	lingerTime = time.Second
)

// A conn is one WebSocket connection. It is the net.Conn that gws writes to and reads from, so every byte in either
// direction passes here: what goes out is put in order with the messages in one outbox, what comes in is walked by the
// guard first. One goroutine, serve, reads, and alone closes the connection.
type conn struct {
	net.Conn // TCP or TLS

	handler *Handler
	session *relay.Session

	outbox outbox.Outbox
	direct directSocket // beside the outbox, which calls it for each delivery

	// Owned by the reading goroutine.
	guard    guard
	early    *[]byte // what the client sent with its handshake; nil for nothing
	peerCode uint16  // of the close frame that the client sent
	expired  bool    // the client had its time, see [conn.expire]

	address        netip.Addr // by which the client is counted
	remote, origin string
	began          int64 // Unix time in milliseconds
}

// readFirst reads what came with the handshake, and the end after the guard has refused something.
func (c *conn) readFirst(p []byte) (int, error) {
	if c.guard.code != 0 {
		return 0, io.EOF
	}
	n := copy(p, *c.early)
	if *c.early = (*c.early)[n:]; len(*c.early) == 0 {
		c.early = nil
	}
	return c.judge(p[:n], nil)
}

// judge walks what was read, and ends the reading where the guard does.
func (c *conn) judge(read []byte, err error) (int, error) {
	c.session.Seen()
	allowed := c.guard.walk(read, time.Now())
	if allowed < len(read) {
		err = io.EOF
	}
	return allowed, err
}

// Write takes what gws sends: its handshake answer, pongs and closes. It never waits.
func (c *conn) Write(b []byte) (int, error) {
	switch {
	case c.session == nil:
		c.outbox.Hold(bytes.Clone(b))
	case protocol.Opcode(b[0]&0x0f) == protocol.OpClose:
		c.answerClose(b)
	default:
		c.outbox.Send(bytes.Clone(b))
	}
	return len(b), nil
}

// answerClose ends the connection in place of gws, whose close frames carry Go's error text.
func (c *conn) answerClose(frame []byte) {
	code := protocol.CloseNormal
	if len(frame) >= 4 {
		code = protocol.CloseCode(binary.BigEndian.Uint16(frame[2:]))
	}
	switch {
	case c.guard.code != 0:
		code = c.guard.code
	case code == protocol.CloseProtocol, code == protocol.CloseBadData, code == protocol.CloseTooBig:
	case c.guard.closing: // the client's own, given back
	default: // reading failed: there is nobody to tell
		return
	}
	c.session.Close(code)
}

// Close is called by gws when it has said its last. The connection is closed by serve, which alone may.
func (c *conn) Close() error { return nil }

// SetDeadline does nothing: gws sets one around its handshake answer, which goes to the outbox.
func (c *conn) SetDeadline(time.Time) error { return nil }

// SetReadDeadline does nothing for gws; see [conn.expire].
func (c *conn) SetReadDeadline(time.Time) error { return nil }

// SetWriteDeadline does nothing for gws.
func (c *conn) SetWriteDeadline(time.Time) error { return nil }

// expire makes the reading goroutine end after d.
func (c *conn) expire(d time.Duration) { _ = c.Conn.SetReadDeadline(time.Now().Add(d)) }

// serve reads until the connection ends, and cleans up whatever happened.
func (c *conn) serve(socket *gws.Conn) {
	defer c.end()
	socket.ReadLoop()
}

// end is deferred by serve.
func (c *conn) end() {
	if v := recover(); v != nil {
		c.handler.cfg.Logger.Error("reading from a client panicked", "session", c.session, "panic", v)
		c.session.Close(protocol.CloseProtocol)
	}
	c.finish()
	c.handler.release(c.address)
}

// finish takes the session out of the hub, gives the client a moment to take the last bytes, and closes.
func (c *conn) finish() {
	c.session.Leave()
	if c.session.CloseCode() != protocol.CloseAbnormal {
		c.linger()
	}
	flushed := c.outbox.Flushed()
	if tcp, ok := c.Conn.(*net.TCPConn); ok && !flushed {
		_ = tcp.SetLinger(0) // what is queued is not wanted any more: give the memory back now
	}
	c.outbox.Shut()
	_ = c.Conn.Close()
	c.log()
}

// linger reads on until the client has closed its half, for closing with bytes unread makes the kernel send a reset, and
// a reset makes the client lose the close frame.
func (c *conn) linger() {
	if _, evicted := c.outbox.Evicted(); evicted || c.expired {
		return // it had its second
	}
	c.expire(lingerTime)
	var sink [512]byte
	for {
		if _, err := c.Conn.Read(sink[:]); err != nil {
			return
		}
	}
}

func (c *conn) log() {
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

// events is what gws calls. It is called by the reading goroutine only.
type events struct{ gws.BuiltinEventHandler }

func (events) OnMessage(socket *gws.Conn, message *gws.Message) {
	c := socket.NetConn().(*conn)
	c.session.Handle(message.Bytes(), message.Opcode == gws.OpcodeText)
	_ = message.Close()
}

// OnPing gives the payload back, as RFC 6455 section 5.5.3 wants.
func (events) OnPing(socket *gws.Conn, payload []byte) { _ = socket.WritePong(payload) }

func (events) OnPong(*gws.Conn, []byte) {}

func (events) OnClose(socket *gws.Conn, err error) {
	c := socket.NetConn().(*conn)
	if closed, ok := err.(*gws.CloseError); ok {
		c.peerCode = closed.Code
	}
	c.expired = errors.Is(err, os.ErrDeadlineExceeded)
}

// storage is gws's per-connection storage, of which there is no need: the connection is the net.Conn itself.
type storage struct{}

func (storage) Len() int                     { return 0 }
func (storage) Load(string) (any, bool)      { return nil, false }
func (storage) Delete(string)                {}
func (storage) Store(string, any)            {}
func (storage) Range(func(string, any) bool) {}
