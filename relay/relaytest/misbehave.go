package relaytest

import (
	"context"
	"encoding/binary"
	"time"
)

// StopReading leaves everything that comes in the kernel, until [Client.ResumeReading]. Bytes that are read already are
// still logged.
func (c *Client) StopReading() {
	c.record(Event{Kind: KindStopped})
	c.gate.set(true, 0, 0)
}

// ReadSlowly reads at most chunk bytes, at least one, after every pause of this length.
func (c *Client) ReadSlowly(chunk int, every time.Duration) {
	c.record(Event{Kind: KindSlowed})
	c.gate.set(false, max(chunk, 1), every)
}

// ResumeReading reads at full speed again.
func (c *Client) ResumeReading() {
	c.record(Event{Kind: KindResumed})
	c.gate.set(false, 0, 0)
}

// Mute stops answering pings and close frames, as a client does whose path is cut.
func (c *Client) Mute() {
	c.record(Event{Kind: KindMuted})
	c.muted.Store(true)
}

// Close sends a close frame, waits until the relay has closed the connection, and drops it otherwise. It returns nil if
// the relay answered with a close frame.
func (c *Client) Close(ctx context.Context, code uint16, reason string) error {
	ctx, cancel := patient(ctx)
	defer cancel()
	if c.closing.CompareAndSwap(false, true) {
		c.record(Event{Kind: KindClosing, Code: code, Text: reason})
		_ = c.SendFrame(true, OpClose, append(binary.BigEndian.AppendUint16(nil, code), reason...))
	}
	_, err := c.Await(ctx, Is(KindClose))
	if err == nil {
		_, err = c.Await(ctx, Is(KindEnd))
	}
	c.Drop()
	return err
}

// Drop closes the TCP connection without a close frame, as a browser does that is killed, and waits until the log has
// ended. Dropping a client again does nothing.
func (c *Client) Drop() { c.hangUp("closed", -1) }

// Abort resets the TCP connection (RST) and waits until the log has ended.
func (c *Client) Abort() { c.hangUp("reset", 0) }

func (c *Client) hangUp(how string, linger int) {
	c.closing.Store(true)
	c.record(Event{Kind: KindAborted, Text: how})
	if linger >= 0 {
		_ = c.conn.SetLinger(linger)
	}
	c.conn.Close()
	c.gate.set(false, 0, 0) // a reader that waits at the gate comes to see the end
	<-c.done
}

// Done is closed when the connection is over and the log complete.
func (c *Client) Done() <-chan struct{} { return c.done }
