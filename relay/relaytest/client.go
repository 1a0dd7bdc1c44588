package relaytest

import (
	"bufio"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"
)

// A Client is one connection to a relay, with a log of everything that it
// received and did. It answers pings and close frames as a browser does;
// everything else is up to the test. All methods may be called concurrently;
// the order of commands that are sent concurrently is not defined.
type Client struct {
	name     string
	protocol Protocol
	relay    string
	channels []string // of a raw client
	gapClose bool
	last     int // of a raw client

	conn   *pausableConn
	sentAt func(local string, offset int64) time.Time
	log    eventLog
	done   chan struct{} // closed when the reader has ended
	refs   atomic.Int64

	closing atomic.Bool // the client has sent a close frame or dropped the connection

	writing sync.Mutex // one frame at a time

	stream *stream // of a client of SSE, or nil; owned by the reader until done is closed

	// Owned by the reader.
	reader     *bufio.Reader
	messages   *messageCache
	fragments  []byte // of an incomplete message
	fragmentOp byte   // its opcode, 0 between messages
}

// writeTimeout bounds every write, so that a relay that does not read cannot
// block a test.
const writeTimeout = 10 * time.Second

// maxFrame bounds the frames and messages that a client accepts from a relay.
const maxFrame = 64 << 20

// clients counts the clients of this process.
var clients atomic.Int64

// client returns a client whose handshake on conn has succeeded.
func (d *Dialer) client(conn *pausableConn, reader *bufio.Reader, subprotocol string, s *stream) *Client {
	c := &Client{
		name: fmt.Sprintf("%d from %s", clients.Add(1), conn.conn.LocalAddr()), protocol: d.Protocol, gapClose: d.GapClose,
		relay: d.Relay, sentAt: d.SentAt, conn: conn, done: make(chan struct{}), reader: reader, messages: &d.messages,
	}
	if d.Protocol == Raw {
		c.channels, c.last = d.Channels, d.Last
	}
	opened := Event{At: time.Now(), Kind: KindOpened, Text: subprotocol}
	if s != nil {
		opened.At = s.began // before the request, which subscribes
	}
	c.log.add(opened)
	if s != nil {
		c.protocol, c.stream = V1, s // its log is that of a client of sidecast.v1
		s.begin(c)
	}
	go c.read()
	return c
}

// Name returns a name that no other client of this process has.
func (c *Client) Name() string { return c.name }

// Session returns the log so far, for [Run].
func (c *Client) Session() Session {
	return Session{
		Client: c.name, Relay: c.relay, Protocol: c.protocol, Channels: c.channels, GapClose: c.gapClose, Last: c.last,
		Events: c.Events(),
	}
}

// read logs all frames until the connection ends, and ends the log.
func (c *Client) read() {
	defer close(c.done)
	var code uint16
	var err error
	if c.stream != nil {
		code, err = c.readStream()
	} else {
		code, err = c.readFrames()
	}
	c.conn.conn.Close()
	end := Event{At: time.Now(), Kind: KindEnd, Code: cmp.Or(code, 1006)}
	var broken wireError
	switch {
	case errors.As(err, &broken):
		c.log.add(Event{At: end.At, Kind: KindBroken, Text: broken.Error()})
		end.Text = "the relay broke the protocol"
	case err != io.EOF:
		end.Text = err.Error()
	}
	c.log.add(end)
}

// readFrames returns the relay's close code, 0 if there was none, and the error
// that ended the connection.
func (c *Client) readFrames() (code uint16, err error) {
	for {
		f, err := readFrame(c.reader, false, maxFrame)
		switch {
		case err != nil:
			return code, err
		case code != 0:
			return code, wireErrorf("a frame with opcode %#x follows the close frame", f.op)
		case f.op == OpClose:
			e, err := decodeClose(f.payload)
			if err != nil {
				return 0, err
			}
			code = e.Code
			c.record(e)
			c.answerClose(f.payload)
		default:
			if err := c.receive(f); err != nil {
				return 0, err
			}
		}
	}
}

// receive logs a ping, a pong, or a message if this is its last fragment.
func (c *Client) receive(f frame) error {
	switch {
	case f.op == OpPing:
		c.record(Event{Kind: KindPingFrame, Data: string(f.payload)})
		if !c.closing.Load() {
			_ = c.SendFrame(true, OpPong, f.payload) // if the connection is broken, the next read fails
		}
		return nil
	case f.op == OpPong:
		c.record(Event{Kind: KindPongFrame, Data: string(f.payload)})
		return nil
	case (f.op == OpContinuation) != (c.fragmentOp != 0):
		return wireErrorf("opcode %#x inside a message with opcode %#x", f.op, c.fragmentOp)
	case f.fin && c.fragmentOp == 0:
		return c.message(f.op, f.payload)
	case len(c.fragments)+len(f.payload) > maxFrame:
		return wireErrorf("a message of more than %d bytes", maxFrame)
	}
	c.fragmentOp = max(c.fragmentOp, f.op)
	c.fragments = append(c.fragments, f.payload...)
	if !f.fin {
		return nil
	}
	op, whole := c.fragmentOp, c.fragments
	c.fragmentOp, c.fragments = 0, nil
	return c.message(op, whole)
}

func (c *Client) message(op byte, payload []byte) error {
	at := time.Now()
	e, err := c.messages.decode(c.protocol, op, payload)
	if err != nil {
		return err
	}
	e.At, e.Sent = at, c.sentBefore()
	c.log.add(e)
	return nil
}

// sentBefore returns when the relay had sent the bytes read so far; zero if
// that is not known. Only the reader calls it.
func (c *Client) sentBefore() time.Time {
	if c.sentAt == nil {
		return time.Time{}
	}
	return c.sentAt(c.conn.conn.LocalAddr().String(), c.conn.total-int64(c.reader.Buffered()))
}

func (c *Client) record(e Event) {
	e.At = time.Now()
	c.log.add(e)
}

func decodeClose(payload []byte) (Event, error) {
	if len(payload) == 0 {
		return Event{Kind: KindClose, Code: 1005}, nil
	}
	if len(payload) == 1 {
		return Event{}, wireErrorf("a close frame of one byte")
	}
	code := binary.BigEndian.Uint16(payload)
	if code < 1000 || code >= 5000 || code >= 1004 && code <= 1006 || code > 1014 && code < 3000 {
		return Event{}, wireErrorf("close code %d may not be sent", code)
	}
	return Event{Kind: KindClose, Code: code, Text: string(payload[2:])}, nil
}

// answerClose returns the relay's close code to it, unless the client has sent
// a close frame itself.
func (c *Client) answerClose(payload []byte) {
	if c.closing.CompareAndSwap(false, true) {
		_ = c.SendFrame(true, OpClose, payload[:min(2, len(payload))])
	}
}

// Await returns the first event of the whole log for which match holds, and
// waits for it if necessary. It fails when ctx ends, or after [Patience] if ctx
// has no deadline, and with [ErrEnded] as soon as no event can follow.
func (c *Client) Await(ctx context.Context, match func(Event) bool) (Event, error) {
	return c.log.await(ctx, 0, match)
}

// AwaitAfter is [Client.Await] for events after e, which is one of this
// client's.
func (c *Client) AwaitAfter(ctx context.Context, e Event, match func(Event) bool) (Event, error) {
	return c.log.await(ctx, e.N+1, match)
}

// Events returns the log so far. The caller must not change it.
func (c *Client) Events() []Event { return c.log.snapshot() }

// Last returns the newest event, for [Client.AwaitAfter].
func (c *Client) Last() Event {
	events := c.log.snapshot()
	return events[len(events)-1]
}

// Done is closed when the connection has ended and the log is complete.
func (c *Client) Done() <-chan struct{} { return c.done }

func (c *Client) ended() bool { return c.Last().Kind == KindEnd }
