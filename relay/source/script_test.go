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

// script is a conn that answers go-redis's handshake like a server without HELLO, and plays a stream once go-redis
// subscribes, in pieces of any size. It ends with EOF.
type script struct {
	stream  []byte
	piece   func() int // size of the next piece, at least 1; nil means as much as fits
	answers []byte
	playing bool
}

func (s *script) Read(p []byte) (int, error) {
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

func (s *script) Write(p []byte) (int, error) {
	if subscribes(p) {
		s.playing = true
	} else {
		s.answers = append(s.answers, "-ERR unknown command\r\n"...)
	}
	return len(p), nil
}

func (s *script) Close() error                     { return nil }
func (s *script) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (s *script) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (s *script) SetDeadline(time.Time) error      { return nil }
func (s *script) SetReadDeadline(time.Time) error  { return nil }
func (s *script) SetWriteDeadline(time.Time) error { return nil }

// play runs go-redis on a conn and calls got with what Receive returns, until it returns false or the conn is given up.
// An error is a reply of Redis's.
func play(t testing.TB, conn net.Conn, protocol int, got func(reply any, err error) bool) {
	t.Helper()
	dialled := false
	options := Server{Address: "script", Protocol: protocol}.options()
	options.ReadBufferSize = 4 << 10
	options.Dialer = func(context.Context, string, string) (net.Conn, error) {
		if dialled {
			return nil, errGated
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

// show quotes a payload, or says what a large one is.
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

// lineSink writes what it is told as lines.
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

// testLink returns a link for tests that drive a tap themselves, and never Run it.
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

// tapped plays a stream through a tap into go-redis, and returns what the sink and go-redis got, in order. It stops where
// the link would, because something went past the tap.
func tapped(t testing.TB, stream string, piece func() int, protocol int, changes ...func(*Config)) []string {
	t.Helper()
	lines, _ := tappedBy(t, &script{stream: []byte(stream), piece: piece}, protocol, changes...)
	return lines
}

func tappedBy(t testing.TB, conn net.Conn, protocol int, changes ...func(*Config)) (lines []string, tap *tap) {
	t.Helper()
	tap = newTap(conn, testLink(t, lineSink{&lines}, changes...))
	play(t, tap, protocol, func(reply any, err error) bool {
		message, ok := reply.(*redis.Message)
		switch {
		case err != nil, ok && tap.subs.begun && (message.Pattern != "" || message.Channel == "sidecast:mark"):
			lines = append(lines, "untapped")
			return false
		default:
			lines = append(lines, describe(reply))
		}
		return true
	})
	return lines, tap
}

// untapped plays it into go-redis alone.
func untapped(t testing.TB, stream string, piece func() int, protocol int) (lines []string) {
	t.Helper()
	play(t, &script{stream: []byte(stream), piece: piece}, protocol, func(reply any, _ error) bool {
		lines = append(lines, describe(reply))
		return true
	})
	return lines
}

// head begins an epoch for a link with the pattern `*`, in either protocol's form.
func head(protocol int) string {
	return pubsub(protocol, "subscribe", "sidecast:mark") + ":1\r\n" + pubsub(protocol, "psubscribe", "*") + ":2\r\n"
}

// pubsub begins a reply of one string more than fields with the fields; a confirmation's count is to follow.
func pubsub(protocol int, fields ...string) string {
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
