package relaytest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"
)

func dial(t *testing.T, d *Dialer) *Client {
	t.Helper()
	c, err := d.Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Drop)
	return c
}

func await(t *testing.T, c *Client, match func(Event) bool) Event {
	t.Helper()
	e, err := c.Await(t.Context(), match)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// kindsOf lists the kinds of all events of a log.
func kindsOf(c *Client) string {
	var kinds []string
	for _, e := range c.Events() {
		kinds = append(kinds, e.Kind.String())
	}
	return strings.Join(kinds, " | ")
}

// TestClientV1: the log of a session has every event in its order.
func TestClientV1(t *testing.T) {
	relay := Start(t, map[string]string{"SIDECAST_PUBLIC_CHANNELS": "a,b,chat"})
	relay.AwaitReady()
	c := dial(t, &Dialer{URL: relay.URL()})
	await(t, c, Is(KindWelcome))
	check(t, c.Subscribe(t.Context(), "a", "b"))
	var refused *CommandError
	if err := c.Subscribe(t.Context(), "c"); !errors.As(err, &refused) || refused.Code != "forbidden" {
		t.Errorf("a channel that is not public: %v", err)
	}
	check(t, c.SendText(`{"type":"unsubscribe","channel":"b"}`))
	await(t, c, Is(KindUnsubscribed))
	check(t, c.Barrier(t.Context()))
	check(t, c.Close(t.Context(), 1000, "bye"))
	const want = "opened | welcome | sent | sent | subscribed | subscribed | sent | error | sent | unsubscribed | pong frame | " +
		"closing | heartbeat | close | end"
	if got := kindsOf(c); got != want {
		t.Errorf("log\n got %s\nwant %s", got, want)
	}
	if e := c.Last(); e.Code != 1000 || e.Text != "" {
		t.Errorf("end %+v", e)
	}
	for i, e := range c.Events() {
		if e.N != i || i > 0 && e.At.Before(c.Events()[i-1].At) || e.String() == "" {
			t.Errorf("event %d: %v", i, e)
		}
	}
}

// TestDialTimeout: a relay that does not answer the handshake does not block
// the test.
func TestDialTimeout(t *testing.T) {
	l := listen(t)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := (&Dialer{URL: "ws://" + l.Addr().String()}).Dial(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
}

// dialTest connects a raw client to a server that the test itself writes for.
func dialTest(t *testing.T, d *Dialer) (*Client, *net.TCPConn) {
	t.Helper()
	l := listen(t)
	accepted := make(chan *net.TCPConn, 1)
	go func() {
		conn, err := accept(l)
		if err != nil {
			close(accepted)
			return
		}
		accepted <- conn
	}()
	d.URL, d.Protocol = "ws://"+l.Addr().String(), Raw
	c := dial(t, d)
	conn := <-accepted
	if conn == nil {
		t.Fatal("no connection")
	}
	t.Cleanup(func() { conn.Close() })
	return c, conn
}

func textFrame(payload string) []byte {
	return appendFrame(nil, frame{fin: true, op: OpText, payload: []byte(payload)}, nil)
}

// TestAwait: waits find earlier and later events, and end when no event can
// follow.
func TestAwait(t *testing.T) {
	c, conn := dialTest(t, &Dialer{})
	_, err := conn.Write(textFrame("one"))
	check(t, err)
	one := await(t, c, Is(KindMessage))
	if again := await(t, c, Is(KindMessage)); again != one {
		t.Error("an earlier event was not found")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := c.AwaitAfter(ctx, one, Is(KindMessage)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a second message: %v", err)
	}
	failed := make(chan error)
	go func() {
		_, err := c.Await(t.Context(), Is(KindGap))
		failed <- err
	}()
	_, err = conn.Write([]byte{0x88, 2, 0x03, 0xf4})
	check(t, err)
	conn.Close()
	if err := <-failed; !errors.Is(err, ErrEnded) {
		t.Errorf("the connection ended: %v", err)
	}
	if e := await(t, c, Is(KindClose)); e.Code != 1012 {
		t.Errorf("close %+v", e)
	}
}

// TestStopReading: a client that has stopped reads nothing until it resumes,
// then everything.
func TestStopReading(t *testing.T) {
	c, conn := dialTest(t, &Dialer{ReceiveBuffer: 4 << 10})
	send := func(from, to int) {
		for i := from; i < to; i++ {
			_, err := conn.Write(textFrame(fmt.Sprint(i)))
			check(t, err)
		}
	}
	number := func(i int) func(Event) bool {
		return func(e Event) bool { return e.Kind == KindMessage && e.Data == fmt.Sprint(i) }
	}
	send(0, 10)
	await(t, c, number(9))
	c.StopReading()
	stopped := c.Last()
	send(10, 20)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if e, err := c.AwaitAfter(ctx, stopped, Is(KindMessage)); err == nil {
		t.Errorf("read while stopped: %v", e)
	}
	c.ResumeReading()
	await(t, c, number(19))
	c.StopReading()
	c.Drop() // must not wait for a reader that is stopped
}

// TestStoppedReaderFillsUp: with a small buffer a client that does not read
// soon blocks the relay's writes.
func TestStoppedReaderFillsUp(t *testing.T) {
	c, conn := dialTest(t, &Dialer{ReceiveBuffer: 4 << 10})
	c.StopReading()
	_ = conn.SetWriteBuffer(4 << 10)
	for written := 0; ; {
		_ = conn.SetWriteDeadline(time.Now().Add(200 * time.Millisecond))
		n, err := conn.Write(textFrame(strings.Repeat("x", 100)))
		if written += n; written > 256<<10 {
			t.Fatalf("the relay could write %d bytes", written)
		}
		if err != nil {
			return
		}
	}
}

// TestInvalidFrames: bytes that no relay may send end the client with an event
// that says why.
func TestInvalidFrames(t *testing.T) {
	tests := []struct {
		why  string
		sent []byte
	}{
		{"a masked frame", AppendFrame(nil, true, OpText, []byte("x"))},
		{"a message inside a fragmented message", append([]byte{0x01, 1, 'x'}, textFrame("x")...)},
		{"a continuation of nothing", []byte{0x80, 0}},
		{"a frame after the close frame", append([]byte{0x88, 0}, textFrame("x")...)},
		{"a close frame of one byte", []byte{0x88, 1, 3}},
		{"close code 1006", []byte{0x88, 2, 0x03, 0xee}},
		{"text that is not UTF-8", textFrame("\xff")},
	}
	for _, test := range tests {
		c, conn := dialTest(t, &Dialer{})
		_, err := conn.Write(test.sent)
		check(t, err)
		await(t, c, Is(KindEnd))
		if _, err := c.Await(t.Context(), Is(KindBroken)); err != nil {
			t.Errorf("%s: %s", test.why, kindsOf(c))
		}
	}
}

// TestFragments: a message in fragments is one message, and a ping between them
// is answered.
func TestFragments(t *testing.T) {
	c, conn := dialTest(t, &Dialer{})
	_, err := conn.Write([]byte{0x01, 1, 'a', 0x89, 2, 'h', 'i', 0x00, 0, 0x80, 1, 'b'})
	check(t, err)
	if e := await(t, c, Is(KindMessage)); e.Data != "ab" || e.Binary {
		t.Errorf("%+v", e)
	}
	if f, err := readFrame(newReader(conn), true, 100); err != nil || f.op != OpPong || string(f.payload) != "hi" {
		t.Errorf("pong %+v, %v", f, err)
	}
}
