package relaytest

import (
	"context"
	"errors"
	"fmt"
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

// kindsOf is a log in short.
func kindsOf(c *Client) string {
	var b strings.Builder
	for i, e := range c.Events() {
		if i > 0 {
			b.WriteString(" | ")
		}
		b.WriteString(e.Kind.String())
	}
	return b.String()
}

// TestClientV1: a session in words, with every event in its order.
func TestClientV1(t *testing.T) {
	f := newFake(t, mutation{})
	c := dial(t, &Dialer{URL: f.url})
	await(t, c, Is(KindWelcome))
	check(t, c.Subscribe(t.Context(), "a", "b"))
	for _, payload := range []string{"text", "", "\xff\x00"} {
		if n, err := c.Publish(t.Context(), "a", []byte(payload)); n != -1 || err != nil {
			t.Fatalf("publishing %q: %d, %v", payload, n, err)
		}
		e := await(t, c, func(e Event) bool { return e.Kind == KindMessage && e.Data == payload })
		if e.Channel != "a" || e.Binary != (payload == "\xff\x00") {
			t.Errorf("%q came as %+v", payload, e)
		}
	}
	var refused *CommandError
	if err := c.Subscribe(t.Context(), "forbidden"); !errors.As(err, &refused) || refused.Code != "forbidden" {
		t.Errorf("a refused channel: %v", err)
	}
	check(t, c.Unsubscribe(t.Context(), "a"))
	check(t, c.Barrier(t.Context()))
	check(t, c.Close(t.Context(), 1000, "bye"))
	const want = "opened | welcome | sent | sent | subscribed | subscribed | sent | message | ok | sent | message | ok | " +
		"sent | message | ok | sent | error | sent | unsubscribed | pong frame | closing | close | end"
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

// TestClientRaw: payloads come as they are, and what the client sends is published.
func TestClientRaw(t *testing.T) {
	f := newFake(t, mutation{})
	c := dial(t, &Dialer{URL: f.url, Protocol: Raw, Channels: []string{"a"}})
	check(t, c.SendText("hello"))
	if e := await(t, c, Is(KindMessage)); e.Data != "hello" || e.Binary || e.Channel != "" {
		t.Errorf("%+v", e)
	}
	_, err := f.publish(t.Context(), "a", []byte("\xff"))
	check(t, err)
	if e := await(t, c, func(e Event) bool { return e.Binary }); e.Data != "\xff" {
		t.Errorf("%+v", e)
	}
	c.Abort()
	if e := c.Last(); e.Kind != KindEnd || e.Code != 1006 || e.Text == "" {
		t.Errorf("end %+v", e)
	}
}

// TestDialRefused: an answer other than 101 is told whole, and nobody listening is an error.
func TestDialRefused(t *testing.T) {
	f := newFake(t, mutation{})
	_, err := (&Dialer{URL: strings.Replace(f.url, "/ws", "/nowhere", 1)}).Dial(t.Context())
	var refused *HandshakeError
	if !errors.As(err, &refused) || refused.Status != 404 || refused.Body != "clients connect to /ws\n" {
		t.Errorf("a refusal: %v", err)
	}
	for _, url := range []string{"ws://127.0.0.1:1/ws", "http://127.0.0.1:1/", "127.0.0.1:80"} {
		if _, err := (&Dialer{URL: url}).Dial(t.Context()); err == nil {
			t.Errorf("%s: connected", url)
		}
	}
}

// TestDialGivesUp: a relay that does not answer the handshake does not hold a test up.
func TestDialGivesUp(t *testing.T) {
	l := listen(t)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := (&Dialer{URL: "ws://" + l.Addr().String()}).Dial(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
}

// TestAwait: waits find the past and the future, and end when nothing can come.
func TestAwait(t *testing.T) {
	f := newFake(t, mutation{})
	c := dial(t, &Dialer{URL: f.url})
	welcome := await(t, c, Is(KindWelcome))
	if again := await(t, c, Is(KindWelcome)); again != welcome {
		t.Error("the past was not found")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := c.AwaitAfter(ctx, welcome, Is(KindWelcome)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a second welcome: %v", err)
	}
	failed := make(chan error)
	go func() {
		_, err := c.Await(t.Context(), Is(KindGap))
		failed <- err
	}()
	f.each(func(s *fakeSession) { s.close(1012) })
	if err := <-failed; !errors.Is(err, ErrEnded) {
		t.Errorf("waiting over the end: %v", err)
	}
	if e := await(t, c, Is(KindClose)); e.Code != 1012 {
		t.Errorf("close %+v", e)
	}
}

// TestStopReading: nothing is read while stopped, whatever comes, and everything afterwards.
func TestStopReading(t *testing.T) {
	f := newFake(t, mutation{})
	c := dial(t, &Dialer{URL: f.url, Protocol: Raw, Channels: []string{"a"}, ReceiveBuffer: 4 << 10})
	publish := func(from, to int) {
		for i := from; i < to; i++ {
			_, err := f.publish(t.Context(), "a", fmt.Appendf(nil, "%d", i))
			check(t, err)
		}
	}
	number := func(i int) func(Event) bool {
		return func(e Event) bool { return e.Kind == KindMessage && e.Data == fmt.Sprint(i) }
	}
	publish(0, 10)
	await(t, c, number(9))
	c.StopReading()
	stopped := c.Last()
	publish(10, 20)
	// The fake writes before publish returns: they are in the socket.
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if e, err := c.AwaitAfter(ctx, stopped, Is(KindMessage)); err == nil {
		t.Errorf("read while stopped: %v", e)
	}
	c.ReadSlowly(1, time.Microsecond)
	await(t, c, number(12))
	c.ResumeReading()
	await(t, c, number(19))
	c.StopReading()
	c.Drop() // must not wait for a reader that waits at the gate
}

// TestStoppedReaderFillsUp: with a small buffer a client that does not read blocks the relay soon.
func TestStoppedReaderFillsUp(t *testing.T) {
	l := listen(t)
	full := make(chan int)
	go func() {
		conn, err := accept(l)
		if err != nil {
			full <- 0
			return
		}
		defer conn.Close()
		_ = conn.SetWriteBuffer(4 << 10)
		written := 0
		for {
			_ = conn.SetWriteDeadline(time.Now().Add(200 * time.Millisecond))
			n, err := conn.Write(appendFrame(nil, frame{fin: true, op: OpText, payload: make([]byte, 100)}, nil))
			written += n
			if err != nil {
				full <- written
				return
			}
		}
	}()
	d := &Dialer{URL: "ws://" + l.Addr().String(), Protocol: Raw, ReceiveBuffer: 4 << 10}
	c := dial(t, d)
	c.StopReading()
	if n := <-full; n == 0 || n > 256<<10 {
		t.Errorf("the relay could write %d bytes", n)
	}
}

// TestClientNoticesABrokenRelay: whatever no relay may send ends the client with an event that says why.
func TestClientNoticesABrokenRelay(t *testing.T) {
	text := func(payload string) []byte {
		return appendFrame(nil, frame{fin: true, op: OpText, payload: []byte(payload)}, nil)
	}
	tests := []struct {
		why  string
		sent []byte
	}{
		{"a masked frame", AppendFrame(nil, true, OpText, []byte("x"))},
		{"a message inside a fragmented message", append([]byte{0x01, 1, 'x'}, text("x")...)},
		{"a continuation of nothing", []byte{0x80, 0}},
		{"a frame behind the close frame", append([]byte{0x88, 0}, text("x")...)},
		{"a close frame of one byte", []byte{0x88, 1, 3}},
		{"close code 1006", []byte{0x88, 2, 0x03, 0xee}},
		{"text that is not UTF-8", text("\xff")},
	}
	for _, test := range tests {
		l := listen(t)
		go func() {
			if conn, err := accept(l); err == nil {
				_, _ = conn.Write(test.sent)
				_, _ = conn.Read(make([]byte, 100)) // until the client hangs up
				conn.Close()
			}
		}()
		c := dial(t, &Dialer{URL: "ws://" + l.Addr().String(), Protocol: Raw})
		await(t, c, Is(KindEnd))
		if _, err := c.Await(t.Context(), Is(KindBroken)); err != nil {
			t.Errorf("%s: %s", test.why, kindsOf(c))
		}
	}
}

// TestClientJoinsFragments: a message in pieces is one message, and a ping between them is answered.
func TestClientJoinsFragments(t *testing.T) {
	l := listen(t)
	pong := make(chan frame, 1)
	go func() {
		conn, err := accept(l)
		if err != nil {
			close(pong)
			return
		}
		defer conn.Close()
		_, _ = conn.Write([]byte{0x01, 1, 'a', 0x89, 2, 'h', 'i', 0x00, 0, 0x80, 1, 'b'})
		f, _ := readFrame(newReader(conn), true, 100)
		pong <- f
	}()
	c := dial(t, &Dialer{URL: "ws://" + l.Addr().String(), Protocol: Raw})
	if e := await(t, c, Is(KindMessage)); e.Data != "ab" || e.Binary {
		t.Errorf("%+v", e)
	}
	if f := <-pong; f.op != OpPong || string(f.payload) != "hi" {
		t.Errorf("pong %+v", f)
	}
}

// TestFleet: thousands of clients in one process hear everything.
func TestFleet(t *testing.T) {
	n := 2000
	if testing.Short() {
		n = 100
	}
	f := newFake(t, mutation{})
	p := NewPublisher(f.publish, Payloads{Bytes: BytesHostile})
	fleet, err := (&Dialer{URL: f.url}).DialFleet(t.Context(), n)
	check(t, err)
	defer fleet.Drop()
	check(t, fleet.Await(t.Context(), Is(KindWelcome)))
	check(t, fleet.Subscribe(t.Context(), "a", "b"))
	check(t, fleet.AwaitN(t.Context(), 2, Is(KindSubscribed)))
	check(t, p.Run(t.Context(), []string{"a", "b"}, 5, 0))
	check(t, p.Finish(t.Context()))
	check(t, fleet.AwaitEnd(t.Context(), p))
	for _, s := range fleet.Sessions() {
		heard := 0
		for _, e := range s.Events {
			if e.Kind == KindMessage {
				heard++
			}
		}
		if heard != 12 {
			t.Fatalf("%s heard %d messages, want 12", s.Client, heard)
		}
	}
}
