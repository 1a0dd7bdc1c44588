package relaytest

import (
	"bufio"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// A Client is one connection to a relay that remembers what it heard. It answers pings and close frames as a browser
// does; everything else is up to the test. All methods may be called concurrently, except that commands sent
// concurrently leave in any order.
type Client struct {
	name     string
	protocol Protocol
	relay    string
	channels []string // of a raw client
	gapClose bool

	conn   *net.TCPConn
	gate   *gate
	sentAt func(local string, offset int64) time.Time
	log    recorder
	done   chan struct{} // closed when the reader has ended
	refs   atomic.Int64

	muted   atomic.Bool // pings are not answered
	closing atomic.Bool // our close frame is out, or the connection was dropped

	writing sync.Mutex // one frame at a time

	// Owned by the reader.
	reader *bufio.Reader
	heard  *heard
	parts  []byte // of a fragmented message
	partOp byte   // its opcode, 0 between messages
}

// writeTimeout bounds every write, so that a relay that does not read cannot hang a test.
const writeTimeout = 10 * time.Second

// maxFrame bounds what the client takes from a relay in one frame.
const maxFrame = 64 << 20

// clients counts those made in this process.
var clients atomic.Int64

func (d *Dialer) client(conn *net.TCPConn, g *gate, reader *bufio.Reader, echoed string) *Client {
	c := &Client{
		name: fmt.Sprintf("%d from %s", clients.Add(1), conn.LocalAddr()), protocol: d.Protocol, gapClose: d.GapClose,
		relay: d.Relay, sentAt: d.SentAt, conn: conn, gate: g, done: make(chan struct{}), reader: reader, heard: &d.heard,
	}
	if d.Protocol == Raw {
		c.channels = d.Channels
		if len(c.channels) == 0 {
			c.channels = d.Defaults
		}
	}
	c.log.add(Event{At: time.Now(), Kind: KindOpened, Text: echoed})
	go c.read()
	return c
}

// Name tells the client from all others of this process.
func (c *Client) Name() string { return c.name }

// read logs everything that comes until the connection ends, and ends the log.
func (c *Client) read() {
	defer close(c.done)
	code, err := c.hear()
	c.conn.Close()
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

// hear returns the relay's close code, 0 if there was none, and how the connection ended.
func (c *Client) hear() (code uint16, err error) {
	for {
		f, err := readFrame(c.reader, false, maxFrame)
		switch {
		case err != nil:
			return code, err
		case code != 0:
			return code, wireErrorf("a frame with opcode %#x behind the close frame", f.op)
		case f.op == OpClose:
			e, err := decodeClose(f.payload)
			if err != nil {
				return 0, err
			}
			code = e.Code
			c.record(e)
			c.answerClose(f.payload)
		default:
			if err := c.take(f); err != nil {
				return 0, err
			}
		}
	}
}

// take logs a ping, a pong, or a message once its last fragment is here.
func (c *Client) take(f frame) error {
	switch {
	case f.op == OpPing:
		c.record(Event{Kind: KindPingFrame, Data: string(f.payload)})
		if !c.muted.Load() && !c.closing.Load() {
			_ = c.SendFrame(true, OpPong, f.payload) // a broken connection shows at the next read
		}
		return nil
	case f.op == OpPong:
		c.record(Event{Kind: KindPongFrame, Data: string(f.payload)})
		return nil
	case (f.op == OpContinuation) != (c.partOp != 0):
		return wireErrorf("opcode %#x while a message with opcode %#x is being sent", f.op, c.partOp)
	case f.fin && c.partOp == 0:
		return c.message(f.op, f.payload)
	case len(c.parts)+len(f.payload) > maxFrame:
		return wireErrorf("a message of more than %d bytes", maxFrame)
	}
	c.partOp = max(c.partOp, f.op)
	c.parts = append(c.parts, f.payload...)
	if !f.fin {
		return nil
	}
	op, whole := c.partOp, c.parts
	c.partOp, c.parts = 0, nil
	return c.message(op, whole)
}

func (c *Client) message(op byte, payload []byte) error {
	at := time.Now()
	e, err := c.heard.message(c.protocol, op, payload)
	if err != nil {
		return err
	}
	e.At, e.Sent = at, c.passed()
	c.log.add(e)
	return nil
}

// passed asks when the bytes read so far had left the relay. Only the reader may ask.
func (c *Client) passed() time.Time {
	if c.sentAt == nil {
		return time.Time{}
	}
	return c.sentAt(c.conn.LocalAddr().String(), c.gate.total-int64(c.reader.Buffered()))
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
		return Event{}, wireErrorf("close code %d is not for the wire", code)
	}
	return Event{Kind: KindClose, Code: code, Text: string(payload[2:])}, nil
}

// answerClose echoes the relay's code, unless our own close frame is out.
func (c *Client) answerClose(payload []byte) {
	if c.closing.CompareAndSwap(false, true) && !c.muted.Load() {
		_ = c.SendFrame(true, OpClose, payload[:min(2, len(payload))])
	}
}

// Await returns the first event of the whole log, past or to come, for which match holds. It fails when ctx ends, or
// after [Patience] where ctx has no deadline, and with [ErrEnded] as soon as nothing more can come.
func (c *Client) Await(ctx context.Context, match func(Event) bool) (Event, error) {
	return c.log.await(ctx, 0, match)
}

// AwaitAfter is [Client.Await] for events behind e, which is one of this client's.
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
