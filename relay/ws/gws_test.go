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

// These tests check properties of the WebSocket library that this package
// depends on. If one fails after an update of the library, review the code that
// its comment names: it may be unnecessary or insufficient now.

var negativeLength = header64(0x81, 1<<63)

// A frame of 14 bytes makes ReadLoop panic, even with the library's option
// Recovery, and OnClose is not called: see [guard] and [conn.cleanUp].
func TestGwsNegativeLengthPanics(t *testing.T) {
	if len(negativeLength) != 14 {
		t.Fatalf("the frame has %d bytes", len(negativeLength))
	}
	read := func(g *guard) (panicked any, closed bool) {
		w := &memConn{chunks: [][]byte{negativeLength}, end: io.EOF, guard: g}
		log := &eventLog{result: &result{}}
		o := options(1000)
		o.Recovery = gws.Recovery
		socket := upgrade(t, w, log, o)
		defer func() { panicked, closed = recover(), log.closed }()
		socket.ReadLoop()
		return nil, false
	}
	panicked, closed := read(nil)
	var fault runtime.Error
	if err, _ := panicked.(error); !errors.As(err, &fault) || closed {
		t.Errorf("the library ends with %v, OnClose called: %v; want a panic without OnClose", panicked, closed)
	}
	if panicked, closed := read(&guard{limit: 1000}); panicked != nil || !closed {
		t.Errorf("with the guard the library ends with %v, OnClose called: %v; want OnClose without a panic", panicked, closed)
	}
}

// The library allocates the announced length before it has read any payload:
// the maximum size of a message must be small.
func TestGwsAllocatesWhatAHeaderAnnounces(t *testing.T) {
	const announced = 64 << 20
	w := &memConn{chunks: [][]byte{header64(0x82, announced)}, end: io.EOF}
	socket := upgrade(t, w, gws.BuiltinEventHandler{}, options(announced))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	socket.ReadLoop()
	runtime.ReadMemStats(&after)
	if got := after.TotalAlloc - before.TotalAlloc; got < announced {
		t.Errorf("a header that announces %d bytes allocates %d", announced, got)
	}
}

// The default answer to a ping is empty, which violates RFC 6455 section 5.5.3:
// see [events.OnPing].
func TestGwsDefaultPongIsEmpty(t *testing.T) {
	w := &memConn{chunks: [][]byte{frame(0x89, "payload")}, end: io.EOF}
	upgrade(t, w, gws.BuiltinEventHandler{}, options(1000)).ReadLoop()
	if got := w.out.Bytes(); !bytes.HasPrefix(got, []byte{0x8a, 0x00}) {
		t.Errorf("the answer to a ping is % x", got)
	}
}

// The close frame contains the text of a Go error, with addresses: see
// [conn.replaceClose].
func TestGwsCloseCarriesErrorText(t *testing.T) {
	end := &net.OpError{Op: "read", Net: "tcp", Addr: &net.TCPAddr{IP: net.IPv4(10, 1, 2, 3), Port: 8080}, Err: io.ErrUnexpectedEOF}
	w := &memConn{end: end}
	upgrade(t, w, gws.BuiltinEventHandler{}, options(1000)).ReadLoop()
	if got := w.out.String(); !strings.Contains(got, end.Error()) {
		t.Errorf("the close frame %q does not contain %q", got, end)
	}
}

// By default, the library does not check that text is UTF-8: [New] sets the
// option.
func TestGwsDoesNotCheckTextByDefault(t *testing.T) {
	w := &memConn{chunks: [][]byte{text("\xff")}, end: io.EOF}
	log := &eventLog{result: &result{}}
	o := options(1000)
	o.CheckUtf8Enabled = false
	upgrade(t, w, log, o).ReadLoop()
	if len(log.messages) != 1 {
		t.Errorf("text that is not UTF-8 is rejected: %q", w.out.String())
	}
}

// The library accepts a key of any length: see [handshake.validate].
func TestGwsAcceptsShortKey(t *testing.T) {
	for _, key := range []string{"x", "dGhlIHNhbXBsZSBub25jZQ", strings.Repeat("A", 100)} {
		r := handshakeRequest(t)
		r.Header.Set("Sec-WebSocket-Key", key)
		w := &memConn{end: io.EOF}
		if _, err := gws.NewUpgrader(gws.BuiltinEventHandler{}, options(1000)).UpgradeFromConn(w, bufio.NewReader(w), r); err != nil {
			t.Errorf("the key %q is rejected: %v", key, err)
		}
	}
}

// An upgrader with subprotocols rejects a client that offers no subprotocol:
// each [codec] has its own upgrader.
func TestGwsRejectsClientWithoutSubprotocol(t *testing.T) {
	o := options(1000)
	o.SubProtocols = []string{"sidecast.v1"}
	w := &memConn{end: io.EOF}
	_, err := gws.NewUpgrader(gws.BuiltinEventHandler{}, o).UpgradeFromConn(w, bufio.NewReader(w), handshakeRequest(t))
	if !errors.Is(err, gws.ErrSubprotocolNegotiation) {
		t.Errorf("a client that offers no subprotocol: %v", err)
	}
}

// Upgrade loses the bytes that a client sends in one packet with its handshake:
// see [hijack].
func TestGwsDropsEarlyBytes(t *testing.T) {
	w := &memConn{end: io.EOF}
	log := &eventLog{result: &result{}}
	early := bufio.NewReader(bytes.NewReader(text("early")))
	if _, err := early.Peek(1); err != nil {
		t.Fatal(err)
	}
	writer := hijackable{httptest.NewRecorder(), w, bufio.NewReadWriter(early, nil)}
	socket, err := gws.NewUpgrader(log, options(1000)).Upgrade(writer, handshakeRequest(t))
	if err != nil {
		t.Fatal(err)
	}
	socket.ReadLoop()
	if len(log.messages) != 0 {
		t.Errorf("Upgrade keeps the bytes that net/http has buffered: %q", log.messages)
	}
}

type hijackable struct {
	http.ResponseWriter
	conn     net.Conn
	buffered *bufio.ReadWriter
}

func (h hijackable) Hijack() (net.Conn, *bufio.ReadWriter, error) { return h.conn, h.buffered, nil }

// A write waits for the client, and a close waits for the write: see
// [conn.Write].
func TestGwsCloseWaitsForAWrite(t *testing.T) {
	w := &stuckConn{memConn: memConn{end: io.EOF}, writing: make(chan struct{}), release: make(chan struct{})}
	socket, err := gws.NewUpgrader(gws.BuiltinEventHandler{}, options(1000)).UpgradeFromConn(w, bufio.NewReader(w), handshakeRequest(t))
	if err != nil {
		t.Fatal(err)
	}
	w.stuck = true
	var writers sync.WaitGroup
	writers.Go(func() { _ = socket.WriteString("x") })
	<-w.writing
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
	close(w.release)
	writers.Wait()
}

// A stuckConn is a connection to a client that does not read.
type stuckConn struct {
	memConn
	stuck            bool
	writing, release chan struct{}
}

func (w *stuckConn) Write(b []byte) (int, error) {
	if w.stuck {
		select {
		case w.writing <- struct{}{}:
		case <-w.release:
		}
		<-w.release
	}
	return len(b), nil
}
