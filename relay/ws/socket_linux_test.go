package ws

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"net"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"sidecast/relay/relaytest/readers"
	"sidecast/relay/stats"
)

// A slowLine is a client's end of a TCP connection that delivers 200 kbit/s if
// it is slow, and nothing if it is stuck.
type slowLine struct {
	net.Conn
	slow, stuck atomic.Bool
}

func (l *slowLine) Read(p []byte) (int, error) {
	for l.stuck.Load() {
		time.Sleep(10 * time.Millisecond)
	}
	if l.slow.Load() {
		time.Sleep(20 * time.Millisecond)
		p = p[:min(len(p), 500)]
	}
	return l.Conn.Read(p)
}

// dialSlowLine connects with a receive buffer of a few kilobytes, so that the
// client's kernel acknowledges little more than the client reads.
func dialSlowLine(t *testing.T, addr string) *slowLine {
	t.Helper()
	dialer := net.Dialer{Control: func(_, _ string, c syscall.RawConn) error {
		return c.Control(func(fd uintptr) { _ = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 4096) })
	}}
	c, err := dialer.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return &slowLine{Conn: c}
}

// TestPongTimeoutOnSlowLine checks that the time to answer a ping does not
// begin before the bytes before the ping have arrived: on a slow line, that
// takes longer than the timeout, even if all of them are in the kernel. When
// the line stops, the client is disconnected.
func TestPongTimeoutOnSlowLine(t *testing.T) {
	t.Parallel()
	r := newTestRelay(t, func(c *relayConfig) {
		c.hub.PingInterval, c.hub.PongTimeout = 2500*time.Millisecond, 2*time.Second
	})
	line := dialSlowLine(t, r.addr)
	p := &peer{t: t, conn: line, in: bufio.NewReader(line)}
	p.shakeHands("/?channel=a")
	line.slow.Store(true)
	message := strings.Repeat("x", 150_000) // arrives after 6 s
	r.publish("a", message)
	p.want(1, message)
	for range 2 {
		p.want(9, "")
		p.write(frame(0x8a, ""))
	}
	r.publish("a", message)
	line.stuck.Store(true)
	go func() { _, _, _ = p.read() }()
	await(t, "the client to be disconnected", func() bool { return r.hub.Sessions() == 0 })
	line.stuck.Store(false)
}

// TestSlowLineReceivesLargeMessage checks that a client on a slow line stays
// connected while a large message arrives, although its kernel needs longer
// than the write timeout to accept more bytes. (200 kbit/s and 2 s are ten and
// five times faster than a line of 20 kbit/s and the default timeout.) When
// the line stops, the client is evicted.
func TestSlowLineReceivesLargeMessage(t *testing.T) {
	const timeout = 2 * time.Second
	for _, secured := range []bool{false, true} {
		t.Run(map[bool]string{false: "TCP", true: "TLS"}[secured], func(t *testing.T) {
			t.Parallel()
			r := buildRelay(t, []relayOption{func(c *relayConfig) {
				c.age = timeout
				c.hub.PingInterval, c.hub.PongTimeout = 0, 400*time.Millisecond // sweeps every 100 ms
				c.ws.Reader = readers.Start(t)
			}})
			server := httptest.NewUnstartedServer(r.handler)
			if secured {
				server.StartTLS()
			} else {
				server.Start()
			}
			r.run(func() { server.Close(); r.reader.Close() })
			line := dialSlowLine(t, server.Listener.Addr().String())
			p := &peer{t: t, conn: line}
			if secured {
				p.conn = tls.Client(line, &tls.Config{InsecureSkipVerify: true})
			}
			p.in = bufio.NewReader(p.conn)
			p.shakeHands("/?channel=a")

			line.slow.Store(true)
			r.publish("a", strings.Repeat("x", 1_000_000))
			go func() { _, _, _ = p.read() }()
			for began := time.Now(); time.Since(began) < 2*timeout; sleep(10 * time.Millisecond) {
				if n := r.stats.Evictions[stats.EvictAge].Load(); n != 0 {
					t.Fatalf("the client is evicted after %v, while it is reading", time.Since(began))
				}
			}
			line.stuck.Store(true)
			await(t, "the eviction", func() bool { return r.stats.Evictions[stats.EvictAge].Load() == 1 })
			line.stuck.Store(false)
			_ = line.Close()
		})
	}
}

// What follows a byte of urgent data is read, although the kernel ends a read at
// that byte. The byte itself is no part of the stream.
func TestUrgentData(t *testing.T) {
	r := newTestRelay(t)
	p := r.dial("/")
	raw, err := p.conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	for i := range 10 { // the relay often reads the first part before the rest arrives
		first, second := fmt.Sprint("first ", i), fmt.Sprint("second ", i)
		if err := raw.Control(func(fd uintptr) {
			for _, part := range []struct {
				bytes []byte
				flags int
			}{{frame(0x89, first), syscall.MSG_MORE}, {[]byte("!"), syscall.MSG_OOB | syscall.MSG_MORE}, {frame(0x89, second), 0}} {
				if err := syscall.Sendto(int(fd), part.bytes, part.flags, nil); err != nil {
					t.Error(err)
				}
			}
		}); err != nil {
			t.Fatal(err)
		}
		p.want(10, first)
		p.want(10, second)
		sleep(120 * time.Millisecond) // no more than 20 pings in each second
	}
}
