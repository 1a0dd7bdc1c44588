package relaytest

import (
	"context"
	"encoding/binary"
)

// StopReading leaves everything that arrives in the kernel, until
// [Client.ResumeReading]. Bytes that the client has read already are still
// logged.
func (c *Client) StopReading() {
	c.record(Event{Kind: KindStoppedReading})
	c.conn.pause()
}

// ResumeReading reads again.
func (c *Client) ResumeReading() {
	c.record(Event{Kind: KindResumedReading})
	c.conn.resume()
}

// Close sends a close frame, waits until the relay has closed the connection,
// and drops it if the relay does not. It returns nil if the relay answered with
// a close frame.
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

// Drop closes the TCP connection without a close frame, as a browser that is
// killed does, and waits until the log has ended. It may be called again.
func (c *Client) Drop() { c.hangUp("closed", -1) }

// Abort resets the TCP connection (RST) and waits until the log has ended.
func (c *Client) Abort() { c.hangUp("reset", 0) }

func (c *Client) hangUp(how string, linger int) {
	c.closing.Store(true)
	c.record(Event{Kind: KindAborted, Text: how})
	if linger >= 0 {
		_ = c.conn.conn.SetLinger(linger)
	}
	c.conn.conn.Close()
	c.conn.resume() // so that a paused reader notices the end
	<-c.done
}
