package server_test

import (
	"bufio"
	"encoding/binary"
	"io"
	"net"
	"testing"

	"sidecast/relay/stats"
)

// The types of HTTP/2 frames that the tests send and read (RFC 9113
// section 6).
const (
	frameSettings = 0x4
	frameWindow   = 0x8
)

// A client2 is an HTTP/2 client that decides itself what it reads.
type client2 struct {
	t      *testing.T
	conn   net.Conn
	reader *bufio.Reader
}

// connect2 begins an HTTP/2 connection whose windows never are the reason to
// wait.
func connect2(t *testing.T, conn net.Conn) *client2 {
	t.Helper()
	c := &client2{t: t, conn: conn, reader: bufio.NewReader(conn)}
	if _, err := io.WriteString(conn, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	c.write(frameSettings, 0, 0, []byte{0, 4, 0x7f, 0xff, 0xff, 0xff}) // INITIAL_WINDOW_SIZE
	c.write(frameWindow, 0, 0, []byte{0x7f, 0xff, 0, 0})
	return c
}

func (c *client2) write(kind, flags byte, stream uint32, payload []byte) {
	c.t.Helper()
	n := len(payload)
	b := binary.BigEndian.AppendUint32([]byte{byte(n >> 16), byte(n >> 8), byte(n), kind, flags}, stream)
	if _, err := c.conn.Write(append(b, payload...)); err != nil {
		c.t.Fatal(err)
	}
}

// read returns the next frame of a stream, or io.EOF.
func (c *client2) read() (kind, flags byte, stream uint32, payload []byte, err error) {
	var head [9]byte
	if _, err = io.ReadFull(c.reader, head[:]); err != nil {
		return 0, 0, 0, nil, err
	}
	payload = make([]byte, int(head[0])<<16|int(head[1])<<8|int(head[2]))
	_, err = io.ReadFull(c.reader, payload)
	return head[3], head[4], binary.BigEndian.Uint32(head[5:]), payload, err
}

// A browser connects before it has a request. Such a connection is not
// malformed.
func TestHTTP2WithoutRequest(t *testing.T) {
	r := startRelay(t)
	c := connect2(t, connectTo(t, r, false))
	for kind := byte(0xff); kind != frameSettings; {
		kind, _, _, _, _ = c.read()
	}
	await(t, "the connection to be counted", func() bool { return r.slots.Used() == 1 })
	_ = c.conn.Close()
	await(t, "the connection to end", func() bool { return r.slots.Used() == 0 })
	if n := r.stats.Rejected[stats.RejectMalformed].Load(); n != 0 {
		t.Errorf("%d connections are counted as malformed", n)
	}
}
