package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"
)

// A refusal is a connection that the relay did not serve, and why, in words that are few in number.
type refusal string

func (r refusal) Error() string { return string(r) }

// handshakeTime bounds one connect with its handshake.
const handshakeTime = 20 * time.Second

// The key is the same for all: the relay's answer is known beforehand.
const (
	handshakeKey    = "c2lkZWNhc3QgbG9hZCBnbw=="
	handshakeAccept = "uuzEZyjMSqoCqFl7UlaV2NA+F7A="
)

var endOfHead = []byte("\r\n\r\n")

// A dialer connects clients.
type dialer struct {
	target  target
	sources sources
	before  string // the request up to the channel's name
	after   string // and behind it
}

func newDialer(t target, protocol string, headers []string) *dialer {
	d := &dialer{target: t, sources: t.sources()}
	var b strings.Builder
	fmt.Fprintf(&b, "HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"+
		"Sec-WebSocket-Key: %s\r\n", t.host, handshakeKey)
	for _, line := range headers {
		b.WriteString(line + "\r\n")
	}
	d.before = "GET " + t.path
	if protocol == protocolV1 {
		b.WriteString("Sec-WebSocket-Protocol: sidecast.v1\r\n")
	} else {
		mark := "?"
		if strings.Contains(t.path, "?") {
			mark = "&"
		}
		// Without gap=close a raw client would not be told that messages may be missing.
		d.before += mark + "gap=close&channel="
	}
	d.after = " " + b.String() + "\r\n"
	return d
}

// request returns the handshake of a client.
func (d *dialer) request(c *client) []byte {
	if c.course.protocol == protocolV1 {
		return []byte(d.before + d.after)
	}
	return []byte(d.before + url.QueryEscape(c.channel.name) + d.after)
}

// connect dials as the n-th connection of the run and returns when the client is served. What came behind the handshake
// was fed to it. An error is a refusal.
func (d *dialer) connect(ctx context.Context, c *client, n int64) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, handshakeTime)
	defer cancel()
	conn, err := d.dial(ctx, n)
	if err != nil {
		return nil, reasonOf(err)
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	err = handshake(conn, c, d.request(c))
	if err == nil && !stop() {
		err = os.ErrDeadlineExceeded
	}
	if err != nil {
		stop()
		_ = conn.Close()
		return nil, reasonOf(err)
	}
	return conn, nil
}

func (d *dialer) dial(ctx context.Context, n int64) (net.Conn, error) {
	network, address := net.Dialer{LocalAddr: d.sources.of(n)}, d.target.addr.String()
	conn, err := network.DialContext(ctx, "tcp", address)
	if errors.Is(err, syscall.EADDRNOTAVAIL) && network.LocalAddr != nil {
		network.LocalAddr = nil // a system whose loopback has one address
		conn, err = network.DialContext(ctx, "tcp", address)
	}
	return conn, err
}

var buffers = sync.Pool{New: func() any { return new([smallSize]byte) }}

// handshake upgrades, and asks for the channel where that is done on the connection.
func handshake(conn net.Conn, c *client, request []byte) error {
	if _, err := conn.Write(request); err != nil {
		return err
	}
	buf := buffers.Get().(*[smallSize]byte)
	defer buffers.Put(buf)
	rest, err := readResponse(conn, buf[:])
	if err != nil {
		return err
	}
	c.shard.mu.Lock()
	c.begin(connLink{conn})
	v1 := c.course.protocol == protocolV1
	if !v1 {
		c.confirm()
	}
	err = c.feed(rest, c.course.clock.now())
	c.shard.mu.Unlock()
	if err == nil && v1 {
		_, err = conn.Write(v1Subscribe(c.channel.name))
	}
	for err == nil {
		c.shard.mu.Lock()
		ready := c.ready
		c.shard.mu.Unlock()
		if ready {
			return nil
		}
		var n int
		if n, err = conn.Read(buf[:]); n > 0 {
			c.shard.mu.Lock()
			err = errors.Join(c.feed(buf[:n], c.course.clock.now()), err)
			c.shard.mu.Unlock()
		}
	}
	if errors.Is(err, errClosed) {
		c.shard.mu.Lock()
		defer c.shard.mu.Unlock()
		return refusal(fmt.Sprintf("closed with %d", c.code))
	}
	return err
}

// readResponse reads the answer to a handshake into buf and returns what came behind it.
func readResponse(conn net.Conn, buf []byte) (rest []byte, err error) {
	n := 0
	for {
		more, err := conn.Read(buf[n:])
		n += more
		if head, rest, found := bytes.Cut(buf[:n], endOfHead); found {
			return rest, judge(head)
		}
		if err != nil {
			return nil, err
		}
		if n == len(buf) {
			return nil, refusal("a head longer than 4 KiB")
		}
	}
}

// judge says what is wrong with the head of an answer.
func judge(head []byte) error {
	line, headers, _ := bytes.Cut(head, []byte("\r\n"))
	version, status, _ := bytes.Cut(line, []byte(" "))
	switch {
	case !bytes.HasPrefix(version, []byte("HTTP/1.1")) || len(status) < 3:
		return refusal("not HTTP")
	case string(status[:3]) != "101":
		return refusal("HTTP " + string(status[:3]))
	}
	for line := range bytes.SplitSeq(headers, []byte("\r\n")) {
		name, value, _ := bytes.Cut(line, []byte(":"))
		if bytes.EqualFold(name, []byte("Sec-WebSocket-Accept")) && string(bytes.TrimSpace(value)) == handshakeAccept {
			return nil
		}
	}
	return refusal("a wrong Sec-WebSocket-Accept")
}

// reasonOf sorts what went wrong with a connection.
func reasonOf(err error) refusal {
	var r refusal
	switch {
	case errors.As(err, &r):
		return r
	case errors.Is(err, errFrame):
		return "not WebSocket"
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded):
		return "timeout"
	case errors.Is(err, context.Canceled):
		return "stopped"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection refused"
	case errors.Is(err, syscall.EADDRNOTAVAIL), errors.Is(err, syscall.EADDRINUSE):
		return "no free port"
	case errors.Is(err, syscall.EMFILE):
		return "too many open files"
	}
	return "connection broken"
}
