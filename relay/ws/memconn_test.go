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

// A memConn is a connection in memory, for tests of the library without a
// relay. Read returns the chunks one by one and then end; Write records.
type memConn struct {
	net.Conn
	chunks [][]byte
	end    error
	out    bytes.Buffer
}

func (w *memConn) Read(p []byte) (int, error) {
	for len(w.chunks) > 0 && len(w.chunks[0]) == 0 {
		w.chunks = w.chunks[1:]
	}
	if len(w.chunks) == 0 {
		return 0, w.end
	}
	n := copy(p, w.chunks[0])
	w.chunks[0] = w.chunks[0][n:]
	return n, nil
}

func (w *memConn) Write(b []byte) (int, error)      { return w.out.Write(b) }
func (w *memConn) Close() error                     { return nil }
func (w *memConn) SetDeadline(time.Time) error      { return nil }
func (w *memConn) SetReadDeadline(time.Time) error  { return nil }
func (w *memConn) SetWriteDeadline(time.Time) error { return nil }

// A result lists the messages, pings and close frame that a server receives
// from a client.
type result struct {
	messages []string // each begins with its opcode
	pings    []string
	code     uint16 // of the close frame in response; 0 if there is none
	peerCode uint16 // of the client's close frame
	panicked bool
}

// An eventLog records the events that the library reports.
type eventLog struct {
	gws.BuiltinEventHandler
	*result
	closed bool // by the client's close frame
}

func (l *eventLog) OnMessage(_ *gws.Conn, m *gws.Message) {
	l.messages = append(l.messages, string('0'+byte(m.Opcode))+m.Data.String())
	_ = m.Close()
}

func (l *eventLog) OnPing(_ *gws.Conn, p []byte) { l.pings = append(l.pings, string(p)) }
func (l *eventLog) OnClose(_ *gws.Conn, err error) {
	if closed, ok := err.(*gws.CloseError); ok {
		l.peerCode, l.closed = closed.Code, true
	}
}

// options returns options with which the library rejects what the decoder does.
func options(limit int) *gws.ServerOption {
	return &gws.ServerOption{
		ReadMaxPayloadSize: limit, CheckUtf8Enabled: true, NewSession: func() gws.SessionStorage { return noStorage{} },
	}
}

func handshakeRequest(t testing.TB) *http.Request {
	t.Helper()
	r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(handshakeText("/"))))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// upgrade upgrades w, as the handler does.
func upgrade(t testing.TB, w *memConn, events gws.Event, o *gws.ServerOption) *gws.Conn {
	t.Helper()
	socket, err := gws.NewUpgrader(events, o).UpgradeFromConn(w, bufio.NewReaderSize(w, 128), handshakeRequest(t))
	if err != nil {
		t.Fatal(err)
	}
	w.out.Reset()
	return socket
}

// runLibrary makes gws read w to its end.
func runLibrary(t testing.TB, w *memConn, limit int) result {
	t.Helper()
	log := &eventLog{result: &result{}}
	socket := upgrade(t, w, log, options(limit))
	func() {
		defer func() { log.panicked = recover() != nil }()
		socket.ReadLoop()
	}()
	if b := w.out.Bytes(); len(b) >= 4 && b[0] == 0x88 {
		log.code = binary.BigEndian.Uint16(b[2:])
	}
	switch { // the library's own conventions
	case log.code == 1000 && !log.closed:
		log.code = 0 // the bytes end without a close frame
	case log.code == 0 && log.closed, log.peerCode == 1014 && log.code == 1002:
		log.code = 1000
	}
	return *log.result
}

// rfcResult returns the result that RFC 6455 requires for bytes without invalid
// headers. Text that is not UTF-8, and invalid payloads of close frames, must
// still be rejected.
func rfcResult(b []byte) (v result) {
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
			v.code = expectedCloseCode(payload)
			if len(payload) >= 2 {
				v.peerCode = binary.BigEndian.Uint16(payload)
			}
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

// expectedCloseCode returns the code of the response to a client's close frame.
func expectedCloseCode(payload []byte) uint16 {
	switch len(payload) {
	case 0:
		return 1000
	case 1:
		return 1002
	}
	if !utf8.Valid(payload[2:]) {
		return 1007
	}
	switch code := binary.BigEndian.Uint16(payload); {
	case code < 1000, code >= 1016 && code < 3000, code >= 5000,
		code == 1004, code == 1005, code == 1006, code == 1015:
		return 1002
	case code < 3000:
		return 1000
	default:
		return code // the client's own
	}
}

// cutClientFrame returns the first frame of b, and the bytes after it.
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
