package ws

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"sidecast/relay/protocol"
)

// A peer is a WebSocket client that can send any bytes, valid or not. It reads
// only when the test does.
type peer struct {
	t    testing.TB
	conn net.Conn
	in   *bufio.Reader
}

const (
	sampleKey = "dGhlIHNhbXBsZSBub25jZQ==" // of RFC 6455
	v1Header  = "Sec-WebSocket-Protocol: sidecast.v1"
)

// handshakeText returns a handshake with additional headers.
func handshakeText(target string, headers ...string) string {
	var head strings.Builder
	head.WriteString("GET " + target + " HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + sampleKey + "\r\n")
	for _, h := range headers {
		head.WriteString(h + "\r\n")
	}
	return head.String() + "\r\n"
}

// connect connects without a handshake.
func (r *testRelay) connect() *peer {
	r.t.Helper()
	conn, err := net.Dial("tcp", r.addr)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	return &peer{t: r.t, conn: conn, in: bufio.NewReader(conn)}
}

// dial connects and completes a handshake with additional headers.
func (r *testRelay) dial(target string, headers ...string) *peer {
	r.t.Helper()
	p := r.connect()
	p.shakeHands(target, headers...)
	return p
}

// dialV1 connects with sidecast.v1 and reads the welcome.
func (r *testRelay) dialV1() *peer {
	r.t.Helper()
	p := r.dial("/", v1Header)
	p.wantText(`{"type":"welcome"`)
	return p
}

// dialStuck connects with a small receive buffer, so that the outbox fills soon
// if the test does not read.
func (r *testRelay) dialStuck(target string) *peer {
	r.t.Helper()
	p := r.connect()
	_ = p.conn.(*net.TCPConn).SetReadBuffer(64 << 10)
	p.shakeHands(target)
	return p
}

func (p *peer) shakeHands(target string, headers ...string) {
	p.t.Helper()
	p.write([]byte(handshakeText(target, headers...)))
	if response := p.response(); response.StatusCode != http.StatusSwitchingProtocols {
		p.t.Fatalf("handshake: %s", response.Status)
	}
}

// write sends b. An error is only logged: if the relay has already closed the
// connection, reading fails too.
func (p *peer) write(b []byte) {
	p.t.Helper()
	if _, err := p.conn.Write(b); err != nil && !errors.Is(err, net.ErrClosed) {
		p.t.Logf("writing: %v", err)
	}
}

// response reads the response to a handshake.
func (p *peer) response() *http.Response {
	p.t.Helper()
	response, err := http.ReadResponse(p.in, nil)
	if err != nil {
		p.t.Fatalf("reading the response to the handshake: %v", err)
	}
	return response
}

// read returns the next frame.
func (p *peer) read() (op byte, payload string, err error) {
	var head [2]byte
	if _, err := io.ReadFull(p.in, head[:]); err != nil {
		return 0, "", err
	}
	if head[0]&0xf0 != 0x80 || head[1]&0x80 != 0 {
		return 0, "", fmt.Errorf("a frame begins with % x", head)
	}
	n := uint64(head[1])
	if n == 126 || n == 127 {
		long := make([]byte, map[uint64]int{126: 2, 127: 8}[n])
		if _, err := io.ReadFull(p.in, long); err != nil {
			return 0, "", err
		}
		n = 0
		for _, c := range long {
			n = n<<8 | uint64(c)
		}
	}
	body := make([]byte, n)
	_, err = io.ReadFull(p.in, body)
	return head[0] & 0x0f, string(body), err
}

// want reads a frame and checks all of it.
func (p *peer) want(op byte, payload string) {
	p.t.Helper()
	gotOp, got, err := p.read()
	if err != nil {
		p.t.Fatalf("waiting for %x %.80q: %v", op, payload, err)
	}
	if gotOp != op || got != payload {
		p.t.Fatalf("got %x %.200q, want %x %.200q", gotOp, got, op, payload)
	}
}

// wantAnyOrder reads text frames with these payloads, in any order.
func (p *peer) wantAnyOrder(payloads []string) {
	p.t.Helper()
	var got []string
	for range payloads {
		got = append(got, p.wantText(""))
	}
	if !slices.Equal(slices.Sorted(slices.Values(got)), slices.Sorted(slices.Values(payloads))) {
		p.t.Fatalf("got %.200q, want %.200q in any order", got, payloads)
	}
}

// wantText reads a text frame that contains part, and returns it.
func (p *peer) wantText(part string) string {
	p.t.Helper()
	op, got, err := p.read()
	if err != nil {
		p.t.Fatalf("waiting for %.80q: %v", part, err)
	}
	if op != 1 || !strings.Contains(got, part) {
		p.t.Fatalf("got %x %.200q, want a text that contains %q", op, got, part)
	}
	return got
}

// wantClose skips messages until a close frame. It checks the close frame, and
// that the connection ends after it. If code has its usual reason, the close
// frame may have any fixed reason.
func (p *peer) wantClose(code protocol.CloseCode) {
	p.t.Helper()
	for {
		op, got, err := p.read()
		if err != nil {
			p.t.Fatalf("waiting for close %d: %v", code, err)
		}
		if op != 8 {
			continue
		}
		allowed := []string{closePayload(code)}
		if code == code.Plain() {
			for _, why := range protocol.CloseReasons() {
				allowed = append(allowed, closePayload(code.Because(why)))
			}
		}
		if !slices.Contains(allowed, got) {
			p.t.Fatalf("close frame %q, want %q", got, allowed[0])
		}
		if rest, err := io.ReadAll(p.in); err != nil || len(rest) > 0 {
			p.t.Fatalf("after the close frame: %d bytes, %v", len(rest), err)
		}
		return
	}
}

func closePayload(code protocol.CloseCode) string {
	return string(binary.BigEndian.AppendUint16(nil, code.Number())) + code.Reason()
}

// frame returns a client's frame. Its masking key is zero, so that tests can
// read it.
func frame(first byte, payload string) []byte {
	b := []byte{first}
	switch n := len(payload); {
	case n < 126:
		b = append(b, 0x80|byte(n))
	case n <= 0xffff:
		b = binary.BigEndian.AppendUint16(append(b, 0x80|126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 0x80|127), uint64(n))
	}
	return append(append(b, 0, 0, 0, 0), payload...)
}

func text(payload string) []byte { return frame(0x81, payload) }

// header64 returns a frame header with a 64-bit length.
func header64(first byte, length uint64) []byte {
	return append(binary.BigEndian.AppendUint64([]byte{first, 0x80 | 127}, length), 0, 0, 0, 0)
}

// header16 returns a frame header with a 16-bit length.
func header16(first byte, length uint16) []byte {
	return append(binary.BigEndian.AppendUint16([]byte{first, 0x80 | 126}, length), 0, 0, 0, 0)
}
