package ws

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/lxzan/gws"
)

// A wire is a connection in memory, for the library alone: reading gives the chunks one by one and then ends, writing is
// recorded. With a guard, the library gets only what it lets through.
type wire struct {
	net.Conn
	chunks [][]byte
	end    error
	guard  *guard
	passed int
	out    bytes.Buffer
}

func (w *wire) Read(p []byte) (int, error) {
	for len(w.chunks) > 0 && len(w.chunks[0]) == 0 {
		w.chunks = w.chunks[1:]
	}
	if len(w.chunks) == 0 {
		return 0, w.end
	}
	n := copy(p, w.chunks[0])
	w.chunks[0] = w.chunks[0][n:]
	if w.guard != nil {
		if allowed := w.guard.walk(p[:n], time.Unix(1, 0)); allowed < n {
			n, w.chunks = allowed, nil
		}
	}
	w.passed += n
	if n == 0 {
		return 0, w.end
	}
	return n, nil
}

func (w *wire) Write(b []byte) (int, error)      { return w.out.Write(b) }
func (w *wire) Close() error                     { return nil }
func (w *wire) SetDeadline(time.Time) error      { return nil }
func (w *wire) SetReadDeadline(time.Time) error  { return nil }
func (w *wire) SetWriteDeadline(time.Time) error { return nil }

// A verdict is what somebody makes of what a client sends.
type verdict struct {
	messages []string // each with its opcode in front
	pings    []string
	code     uint16 // of the close frame: 1000 where the bytes just end, 0 for one without a code
	panicked bool
}

// tape records what the library calls.
type tape struct {
	gws.BuiltinEventHandler
	*verdict
	closed bool
}

func (t *tape) OnMessage(_ *gws.Conn, m *gws.Message) {
	t.messages = append(t.messages, string('0'+byte(m.Opcode))+m.Data.String())
	_ = m.Close()
}

func (t *tape) OnPing(_ *gws.Conn, p []byte)   { t.pings = append(t.pings, string(p)) }
func (t *tape) OnClose(_ *gws.Conn, err error) { t.closed = true }

// options are those that the handler gives the library.
func options(limit int) *gws.ServerOption {
	return &gws.ServerOption{
		ReadMaxPayloadSize: limit, CheckUtf8Enabled: true, NewSession: func() gws.SessionStorage { return storage{} },
	}
}

func handshakeRequest(t testing.TB) *http.Request {
	t.Helper()
	r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(new(rig).handshake("/"))))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// upgrade makes a connection of w, as the handler does.
func upgrade(t testing.TB, w *wire, events gws.Event, o *gws.ServerOption) *gws.Conn {
	t.Helper()
	socket, err := gws.NewUpgrader(events, o).UpgradeFromConn(w, bufio.NewReaderSize(w, readBuffer), handshakeRequest(t))
	if err != nil {
		t.Fatal(err)
	}
	w.out.Reset()
	return socket
}

// library lets gws read w to its end.
func library(t testing.TB, w *wire, limit int) verdict {
	t.Helper()
	tape := &tape{verdict: &verdict{}}
	socket := upgrade(t, w, tape, options(limit))
	func() {
		defer func() { tape.panicked = recover() != nil }()
		socket.ReadLoop()
	}()
	if b := w.out.Bytes(); len(b) >= 4 && b[0] == 0x88 {
		tape.code = binary.BigEndian.Uint16(b[2:])
	}
	return *tape.verdict
}

// rfc is the verdict of RFC 6455 on bytes whose frames the guard let through. It lists what is left for the library to
// refuse: text that is not UTF-8, and what stands in a close frame.
func rfc(b []byte) (v verdict) {
	v.code = 1000
	var message []byte
	var kind byte
	for {
		first, payload, rest, whole := cutClientFrame(b)
		if !whole {
			return v
		}
		b = rest
		switch op := first & 0x0f; op {
		case 8:
			v.code = closeAnswer(payload)
			return v
		case 9:
			v.pings = append(v.pings, string(payload))
		case 0, 1, 2:
			if op != 0 {
				kind, message = op, nil
			}
			message = append(message, payload...)
			if first&0x80 == 0 {
				continue
			}
			if kind == 1 && !utf8.Valid(message) {
				v.code = 1007
				return v
			}
			v.messages = append(v.messages, string('0'+kind)+string(message))
		}
	}
}

// closeAnswer is the code that answers a client's close frame.
func closeAnswer(payload []byte) uint16 {
	switch len(payload) {
	case 0:
		return 0
	case 1:
		return 1002
	}
	if !utf8.Valid(payload[2:]) {
		return 1007
	}
	switch code := binary.BigEndian.Uint16(payload); {
	case code < 1000, code >= 1016 && code < 3000, code >= 5000,
		code == 1004, code == 1005, code == 1006, code == 1014, code == 1015:
		return 1002
	case code < 3000:
		return 1000
	default:
		return code // the client's own
	}
}

func cutClientFrame(b []byte) (first byte, payload, rest []byte, whole bool) {
	if len(b) < 6 {
		return 0, nil, nil, false
	}
	at, n := 2, uint64(b[1]&0x7f)
	switch {
	case n == 126:
		at, n = 4, uint64(binary.BigEndian.Uint16(b[2:]))
	case n == 127 && len(b) >= 14:
		at, n = 10, binary.BigEndian.Uint64(b[2:])
	case n == 127:
		return 0, nil, nil, false
	}
	if len(b) < at+4 || uint64(len(b)-at-4) < n {
		return 0, nil, nil, false
	}
	mask, end := b[at:at+4], at+4+int(n)
	payload = bytes.Clone(b[at+4 : end])
	for i := range payload {
		payload[i] ^= mask[i&3]
	}
	return b[0], payload, b[end:], true
}
