package server_test

import (
	"bufio"
	"encoding/binary"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"sidecast/relay/stats"
)

// The types and flags of HTTP/2 frames that the tests send and read (RFC 9113
// section 6).
const (
	frameData     = 0x0
	frameHeaders  = 0x1
	frameReset    = 0x3
	frameSettings = 0x4
	frameGoAway   = 0x7
	frameWindow   = 0x8

	endStream, endHeaders = 0x1, 0x4
)

// A client2 is an HTTP/2 client that decides itself what it reads.
type client2 struct {
	t      *testing.T
	conn   net.Conn
	reader *bufio.Reader
	next   uint32 // stream
}

// connect2 begins an HTTP/2 connection whose windows never are the reason to
// wait.
func connect2(t *testing.T, conn net.Conn) *client2 {
	t.Helper()
	c := &client2{t: t, conn: conn, reader: bufio.NewReader(conn), next: 1}
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

// get sends a request, and returns its stream.
func (c *client2) get(target string) (stream uint32) {
	c.t.Helper()
	stream, c.next = c.next, c.next+2
	b := append([]byte{0x82, 0x86, 0x04, byte(len(target))}, target...) // GET, http
	c.write(frameHeaders, endStream|endHeaders, stream, append(b, 0x01, 5, 'r', 'e', 'l', 'a', 'y'))
	return stream
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

// body reads the body of a stream to its end, and says how it ended.
func (c *client2) body(stream uint32) (body string, err error) {
	var b strings.Builder
	for {
		kind, flags, id, payload, err := c.read()
		switch {
		case err != nil:
			return b.String(), err
		case id != stream:
			continue
		case kind == frameData:
			b.Write(payload)
		case kind == frameReset:
			return b.String(), io.ErrUnexpectedEOF
		}
		if flags&endStream != 0 && kind <= frameHeaders {
			return b.String(), nil
		}
	}
}

// await2 reads until a stream has sent text.
func (c *client2) await(stream uint32, text string) {
	c.t.Helper()
	var b strings.Builder
	for !strings.Contains(b.String(), text) {
		kind, _, id, payload, err := c.read()
		if err != nil {
			c.t.Fatalf("after %q: %v, want %q", b.String(), err, text)
		}
		if kind == frameData && id == stream {
			b.Write(payload)
		}
	}
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

// A connection that does not take any bytes does not keep the relay from
// stopping.
func TestStopWithStuckHTTP2(t *testing.T) {
	r := startRelay(t, func(o *relayOptions) { o.writeTimeout = time.Hour })
	r.hub.Online(1)
	conn := connectTo(t, r, false)
	_ = conn.(*net.TCPConn).SetReadBuffer(4 << 10)
	c := connect2(t, conn)
	c.await(c.get("/sse?channel=a"), "id: ")
	payload := []byte(strings.Repeat("x", 1<<20))
	await(t, "the connection to be stuck", func() bool {
		r.hub.Publish([]byte("a"), payload)
		r.hub.Flush()
		return r.evictions() > 0
	})
	stopped := make(chan struct{})
	go func() { r.stop(); close(stopped) }()
	select {
	case <-stopped:
	case <-time.After(patience / 2):
		t.Error("the relay does not stop")
	}
	_ = conn.Close()
}

// When the relay stops, each stream ends completely.
func TestStopEndsStreams(t *testing.T) {
	for range 20 {
		r := startRelay(t)
		r.hub.Online(1)
		c := connect2(t, connectTo(t, r, false))
		stream := c.get("/sse?channel=a")
		c.await(stream, "id: ")
		go r.stop()
		body, err := c.body(stream)
		if err != nil || !strings.Contains(body, "event: close") {
			t.Errorf("the stream ends with %q, %v", body, err)
		}
		_ = c.conn.Close()
	}
}

// grant lets a stream send more bytes.
func (c *client2) grant(stream uint32, n uint32) {
	c.write(frameWindow, 0, stream, binary.BigEndian.AppendUint32(nil, n))
}

// Streams whose client lets them send nothing are evicted. The other streams of
// the same connection receive everything meanwhile, and nothing is left.
func TestStreamsWithoutWindow(t *testing.T) {
	const stuck = 200
	r := startRelay(t, func(o *relayOptions) { o.each = 1 << 20 })
	r.hub.Online(1)
	c := connect2(t, connectTo(t, r, false))
	c.write(frameSettings, 0, 0, []byte{0, 4, 0, 0, 0, 0}) // no window for new streams
	for range stuck {
		c.get("/sse?channel=a&channel=b")
	}
	await(t, "the streams to begin", func() bool { return r.hub.Sessions() == stuck })
	reading := c.get("/sse?channel=a")
	c.grant(reading, 1<<30)
	c.await(reading, "id: ")
	payload := strings.Repeat("x", 100<<10)
	for range 20 {
		r.hub.Publish([]byte("a"), []byte(payload))
		r.hub.Flush()
		c.await(reading, payload)
	}
	await(t, "the other streams to end", func() bool { return r.hub.Sessions() == 1 && r.slots.Used() == 1 })
	if n := r.evictions(); n != stuck {
		t.Errorf("%d clients were evicted, want %d", n, stuck)
	}
	r.hub.Publish([]byte("a"), []byte("end"))
	r.hub.Flush()
	c.await(reading, "data: end")
	await(t, "the memory to be free", func() bool { return r.budget.Used() == 0 })
}

// A client that lets no stream send anything does not keep the relay from
// stopping, neither with its streams nor with the answers to refused requests.
func TestStopWithoutWindow(t *testing.T) {
	r := startRelay(t)
	r.hub.Online(1)
	c := connect2(t, connectTo(t, r, false))
	c.write(frameSettings, 0, 0, []byte{0, 4, 0, 0, 0, 0})
	for range 100 {
		c.get("/sse?channel=a")
		c.get("/sse?channel=sidecast:x")
	}
	await(t, "the streams to begin", func() bool { return r.hub.Sessions() == 100 })
	began := time.Now()
	r.stop()
	if took := time.Since(began); took > patience/2 {
		t.Errorf("the relay stops after %v", took)
	}
	t.Log(time.Since(began))
}
