package ws

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/lxzan/gws"
)

// These tests hold facts about the WebSocket library that this package is built around. Where one fails after an update,
// the library has changed, and what it names may no longer be needed, or no longer be enough.

var negativeLength = header64(0x81, 1<<63)

// One frame of 14 bytes panics in ReadLoop, past every option that the library has against it, and OnClose is not called:
// the guard and the recover of [conn.serve] are needed.
func TestGwsNegativeLengthPanics(t *testing.T) {
	if len(negativeLength) != 14 {
		t.Fatalf("the frame has %d bytes", len(negativeLength))
	}
	read := func(g *guard) (panicked any, closed bool) {
		w := &wire{chunks: [][]byte{negativeLength}, end: io.EOF, guard: g}
		tape := &tape{verdict: &verdict{}}
		o := options(1000)
		o.Recovery = gws.Recovery
		socket := upgrade(t, w, tape, o)
		defer func() { panicked, closed = recover(), tape.closed }()
		socket.ReadLoop()
		return nil, false
	}
	panicked, closed := read(nil)
	var fault runtime.Error
	if err, _ := panicked.(error); !errors.As(err, &fault) || closed {
		t.Errorf("the library ends with %v, OnClose called: %v; a panic without OnClose was expected", panicked, closed)
	}
	if panicked, closed := read(&guard{limit: 1000}); panicked != nil || !closed {
		t.Errorf("behind the guard it ends with %v, OnClose called: %v", panicked, closed)
	}
}

// A header allocates what it announces before a byte of it came: the bound on a message has to be small.
func TestGwsAllocatesWhatAHeaderAnnounces(t *testing.T) {
	const announced = 64 << 20
	w := &wire{chunks: [][]byte{header64(0x82, announced)}, end: io.EOF}
	socket := upgrade(t, w, gws.BuiltinEventHandler{}, options(announced))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	socket.ReadLoop()
	runtime.ReadMemStats(&after)
	if got := after.TotalAlloc - before.TotalAlloc; got < announced {
		t.Errorf("a header that announces %d bytes allocates %d", announced, got)
	}
}

// The default answer to a ping is empty, against RFC 6455 section 5.5.3: [events.OnPing] gives the payload back.
func TestGwsDefaultPongIsEmpty(t *testing.T) {
	w := &wire{chunks: [][]byte{frame(0x89, "payload")}, end: io.EOF}
	upgrade(t, w, gws.BuiltinEventHandler{}, options(1000)).ReadLoop()
	if got := w.out.Bytes(); !bytes.HasPrefix(got, []byte{0x8a, 0x00}) {
		t.Errorf("the answer to a ping is % x", got)
	}
}

// The close frame carries the text of Go's error, addresses and all: [conn.answerClose] writes its own.
func TestGwsCloseCarriesErrorText(t *testing.T) {
	end := &net.OpError{Op: "read", Net: "tcp", Addr: &net.TCPAddr{IP: net.IPv4(10, 1, 2, 3), Port: 8080}, Err: io.ErrUnexpectedEOF}
	w := &wire{end: end}
	upgrade(t, w, gws.BuiltinEventHandler{}, options(1000)).ReadLoop()
	if got := w.out.String(); !strings.Contains(got, end.Error()) {
		t.Errorf("the close frame is %q, without %q", got, end)
	}
}

// Text is not checked unless asked for: [New] asks.
func TestGwsDoesNotCheckTextByDefault(t *testing.T) {
	w := &wire{chunks: [][]byte{text("\xff")}, end: io.EOF}
	tape := &tape{verdict: &verdict{}}
	o := options(1000)
	o.CheckUtf8Enabled = false
	upgrade(t, w, tape, o).ReadLoop()
	if len(tape.messages) != 1 {
		t.Errorf("text that is not UTF-8 is refused: %q", w.out.String())
	}
}

// A key of any length is accepted: [Handler.judge] checks it.
func TestGwsAcceptsShortKey(t *testing.T) {
	for _, key := range []string{"x", "dGhlIHNhbXBsZSBub25jZQ", strings.Repeat("A", 100)} {
		r := handshakeRequest(t)
		r.Header.Set("Sec-WebSocket-Key", key)
		w := &wire{end: io.EOF}
		if _, err := gws.NewUpgrader(gws.BuiltinEventHandler{}, options(1000)).UpgradeFromConn(w, bufio.NewReader(w), r); err != nil {
			t.Errorf("the key %q is refused: %v", key, err)
		}
	}
}

// With subprotocols set, a client that offers none is refused: there is one upgrader for each subprotocol and one without.
func TestGwsSubProtocolsRefuseNoOffer(t *testing.T) {
	o := options(1000)
	o.SubProtocols = []string{"sidecast.v1"}
	w := &wire{end: io.EOF}
	_, err := gws.NewUpgrader(gws.BuiltinEventHandler{}, o).UpgradeFromConn(w, bufio.NewReader(w), handshakeRequest(t))
	if !errors.Is(err, gws.ErrSubprotocolNegotiation) {
		t.Errorf("a client that offers no subprotocol: %v", err)
	}
}

// What a client sends in one packet with its handshake is lost in Upgrade: [hijack] keeps it.
func TestGwsDropsEarlyBytes(t *testing.T) {
	w := &wire{end: io.EOF}
	tape := &tape{verdict: &verdict{}}
	early := bufio.NewReader(bytes.NewReader(text("early")))
	if _, err := early.Peek(1); err != nil {
		t.Fatal(err)
	}
	writer := hijackable{httptest.NewRecorder(), w, bufio.NewReadWriter(early, nil)}
	socket, err := gws.NewUpgrader(tape, options(1000)).Upgrade(writer, handshakeRequest(t))
	if err != nil {
		t.Fatal(err)
	}
	socket.ReadLoop()
	if len(tape.messages) != 0 {
		t.Errorf("Upgrade keeps what net/http has read ahead: %q", tape.messages)
	}
}

type hijackable struct {
	http.ResponseWriter
	conn     net.Conn
	buffered *bufio.ReadWriter
}

func (h hijackable) Hijack() (net.Conn, *bufio.ReadWriter, error) { return h.conn, h.buffered, nil }

// A write waits for the client, and a close waits for the write: nothing is sent to a client through the library.
func TestGwsCloseWaitsForAWrite(t *testing.T) {
	w := &stuckWire{wire: wire{end: io.EOF}, entered: make(chan struct{}), leave: make(chan struct{})}
	socket, err := gws.NewUpgrader(gws.BuiltinEventHandler{}, options(1000)).UpgradeFromConn(w, bufio.NewReader(w), handshakeRequest(t))
	if err != nil {
		t.Fatal(err)
	}
	w.stuck = true
	var writers sync.WaitGroup
	writers.Go(func() { _ = socket.WriteString("x") })
	<-w.entered
	writers.Go(func() { _ = socket.WriteClose(1000, nil) })
	await(t, "the close to wait for the lock that the write holds", func() bool {
		stacks := make([]byte, 1<<20)
		stacks = stacks[:runtime.Stack(stacks, true)]
		for stack := range bytes.SplitSeq(stacks, []byte("\n\n")) {
			if bytes.Contains(stack, []byte("(*Conn).WriteClose")) && bytes.Contains(stack, []byte("sync.(*Mutex).Lock")) {
				return true
			}
		}
		return false
	})
	close(w.leave)
	writers.Wait()
}

// A stuckWire is a client that does not take what is written to it.
type stuckWire struct {
	wire
	stuck          bool
	entered, leave chan struct{}
}

func (w *stuckWire) Write(b []byte) (int, error) {
	if w.stuck {
		select {
		case w.entered <- struct{}{}:
		case <-w.leave:
		}
		<-w.leave
	}
	return len(b), nil
}
