package source

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"sidecast/relay/access"
)

// scriptedConn is a connection that answers go-redis's handshake like a server
// without HELLO. When go-redis subscribes, it plays a stream in pieces of any
// size, and then EOF.
type scriptedConn struct {
	stream  []byte
	piece   func() int // size of the next piece, at least 1; nil means as much as fits
	answers []byte
	playing bool
}

func (s *scriptedConn) Read(p []byte) (int, error) {
	switch {
	case len(s.answers) > 0:
		n := copy(p, s.answers)
		s.answers = s.answers[n:]
		return n, nil
	case !s.playing || len(s.stream) == 0:
		return 0, io.EOF
	}
	limit := len(p)
	if s.piece != nil {
		limit = min(limit, s.piece())
	}
	n := copy(p[:limit], s.stream)
	s.stream = s.stream[n:]
	return n, nil
}

func (s *scriptedConn) Write(p []byte) (int, error) {
	if isSubscribe(p) {
		s.playing = true
	} else {
		s.answers = append(s.answers, "-ERR unknown command\r\n"...)
	}
	return len(p), nil
}

func (s *scriptedConn) Close() error                     { return nil }
func (s *scriptedConn) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (s *scriptedConn) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (s *scriptedConn) SetDeadline(time.Time) error      { return nil }
func (s *scriptedConn) SetReadDeadline(time.Time) error  { return nil }
func (s *scriptedConn) SetWriteDeadline(time.Time) error { return nil }

// play runs go-redis on a connection and calls got with each result of Receive,
// until got returns false or the connection ends. An error is always an error
// reply.
func play(t testing.TB, conn net.Conn, protocol int, got func(reply any, err error) bool) {
	t.Helper()
	dialled := false
	options := Server{Address: "script", Protocol: protocol}.options()
	options.ReadBufferSize = 4 << 10
	options.Dialer = func(context.Context, string, string) (net.Conn, error) {
		if dialled {
			return nil, errBackoff
		}
		dialled = true
		return conn, nil
	}
	client := redis.NewUniversalClient(options)
	defer client.Close()
	sub := client.Subscribe(context.Background())
	defer sub.Close()
	_ = sub.Subscribe(context.Background(), "sidecast:mark")
	for {
		reply, err := receive(context.Background(), sub)
		if err != nil {
			if _, ok := errors.AsType[redis.Error](err); !ok {
				return
			}
		}
		if !got(reply, err) {
			return
		}
	}
}

// show quotes a payload, or returns the size and the checksum of a large one.
func show[T string | []byte](payload T) string {
	if len(payload) > 4<<10 {
		return fmt.Sprintf("<%d bytes, %08x>", len(payload), crc32.ChecksumIEEE([]byte(payload)))
	}
	return fmt.Sprintf("%q", payload)
}

func describe(reply any) string {
	switch m := reply.(type) {
	case *redis.Message:
		if m.Pattern == "" {
			return fmt.Sprintf("message %q %q", m.Channel, m.Payload)
		}
		return fmt.Sprintf("publish %q %s", m.Channel, show(m.Payload))
	case *redis.Subscription:
		return fmt.Sprintf("%s %q", m.Kind, m.Channel)
	case *redis.Pong:
		return "pong " + show(m.Payload)
	}
	return fmt.Sprintf("%T", reply)
}

// lineSink records each call as a line.
type lineSink struct{ lines *[]string }

func (s lineSink) add(format string, args ...any) {
	*s.lines = append(*s.lines, fmt.Sprintf(format, args...))
}

func (s lineSink) Publish(channel, payload []byte) { s.add("publish %q %s", channel, show(payload)) }
func (s lineSink) Oversize(channel []byte)         { s.add("oversize %q", channel) }
func (s lineSink) Flush()                          { s.add("flush") }
func (s lineSink) Marker(id []byte)                { s.add("marker %x", id) }
func (s lineSink) Offline()                        { s.add("offline") }
func (s lineSink) Online(uint32)                   { s.add("online") }
func (s lineSink) Gap(uint32)                      {}

// testLink returns a link for tests that use a pubsubConn directly and do not
// call Run.
func testLink(t testing.TB, sink Sink, changes ...func(*Config)) *Link {
	t.Helper()
	cfg := Config{
		Server:   Server{Address: "script"},
		Names:    access.NewNames("", ""),
		Patterns: access.Patterns{access.MustPattern("*")},
		Logger:   slog.New(slog.DiscardHandler),
	}
	for _, change := range changes {
		change(&cfg)
	}
	l, err := New(cfg, sink)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// playThrough plays a stream through a pubsubConn to go-redis. It returns what
// the sink and go-redis received, in order. It stops where the link would end
// because go-redis received something that the pubsubConn should have handled.
func playThrough(t testing.TB, stream string, piece func() int, protocol int, changes ...func(*Config)) []string {
	t.Helper()
	lines, _ := playThroughConn(t, &scriptedConn{stream: []byte(stream), piece: piece}, protocol, changes...)
	return lines
}

func playThroughConn(
	t testing.TB, raw net.Conn, protocol int, changes ...func(*Config),
) (lines []string, conn *pubsubConn) {
	t.Helper()
	conn = newPubsubConn(raw, testLink(t, lineSink{&lines}, changes...))
	play(t, conn, protocol, func(reply any, err error) bool {
		message, ok := reply.(*redis.Message)
		switch {
		case err != nil, ok && conn.subs.anyConfirmed && (message.Pattern != "" || message.Channel == "sidecast:mark"):
			lines = append(lines, "bypassed")
			return false
		default:
			lines = append(lines, describe(reply))
		}
		return true
	})
	return lines, conn
}

// playDirect plays a stream to go-redis without a pubsubConn.
func playDirect(t testing.TB, stream string, piece func() int, protocol int) (lines []string) {
	t.Helper()
	play(t, &scriptedConn{stream: []byte(stream), piece: piece}, protocol, func(reply any, _ error) bool {
		lines = append(lines, describe(reply))
		return true
	})
	return lines
}

// subscribedHead returns the replies that begin an epoch for a link with the
// pattern `*`.
func subscribedHead(protocol int) string {
	return encodeReply(protocol, "subscribe", "sidecast:mark") + ":1\r\n" +
		encodeReply(protocol, "psubscribe", "*") + ":2\r\n"
}

// encodeReply encodes a reply of strings. After a confirmation, the caller must
// add the number of subscriptions.
func encodeReply(protocol int, fields ...string) string {
	kind, n := ">", len(fields)
	if protocol == 2 {
		kind = "*"
	}
	if strings.HasSuffix(fields[0], "subscribe") {
		n++
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s%d\r\n", kind, n)
	for _, f := range fields {
		fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(f), f)
	}
	return b.String()
}
