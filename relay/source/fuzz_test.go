package source

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"sidecast/relay/access"
)

const fuzzLimit = 64 // payload bytes

func fuzzConfig(c *Config) { c.MaxPayload = fuzzLimit }

// model computes the expected lines from the replies that go-redis reads from
// the stream without a pubsubConn.
type model struct {
	names    access.Names
	lines    []string
	marker   bool // the marker channel is confirmed
	denied   bool // the marker channel was refused
	patterns bool // the pattern is confirmed
	live     bool
	over     bool // the pubsubConn ended the connection
}

func (m *model) add(format string, args ...any) {
	m.lines = append(m.lines, fmt.Sprintf(format, args...))
}

func (m *model) settle() {
	if m.patterns && (m.marker || m.denied) && !m.live {
		m.live = true
		m.add("online")
	}
}

func (m *model) reply(reply any) {
	switch r := reply.(type) {
	case *redis.Subscription:
		m.marker = m.marker || r.Kind == "subscribe" && r.Channel == "sidecast:mark" && !m.denied
		m.patterns = m.patterns || r.Kind == "psubscribe" && r.Channel == "*"
		m.settle()
		m.add("%s", describe(r))
	case *redis.Message:
		m.message(r)
	default:
		m.add("%s", describe(r))
	}
}

func (m *model) message(r *redis.Message) {
	exact := r.Pattern == ""
	switch {
	case !m.marker && !m.patterns, exact && r.Channel != "sidecast:mark":
		m.add("%s", describe(r))
	case !m.live:
	case exact:
		if mark, ok := parseMarker([]byte(r.Payload)); ok && len(r.Payload) <= maxMarker {
			m.add("marker %x", mark.id)
		}
	case r.Pattern != "*":
		m.over = true
	case !access.ValidChannel(r.Channel), m.names.Reserved(r.Channel):
	case len(r.Payload) > fuzzLimit:
		m.add("oversize %q", r.Channel)
	default:
		m.add("%s", describe(r))
	}
}

func (m *model) error(text string) {
	if m.live || m.marker || m.denied || !isDenied(text) {
		m.over = true
		return
	}
	m.denied = true
	m.settle()
}

// expect runs go-redis on the stream without a pubsubConn, and returns the
// lines that the model computes from its replies. clean is false if go-redis
// stopped before the end.
func expect(t testing.TB, stream string, protocol int) (lines []string, clean bool) {
	t.Helper()
	m := model{names: access.NewNames("", "")}
	conn := &scriptedConn{stream: []byte(stream)}
	play(t, conn, protocol, func(reply any, err error) bool {
		if refusal, ok := errors.AsType[redis.Error](err); ok {
			m.error(refusal.Error())
		} else {
			m.reply(reply)
		}
		return !m.over
	})
	if m.live {
		m.add("offline")
	}
	return m.lines, m.over || len(conn.stream) == 0
}

// pieces returns a function that returns piece sizes, which depend on the seed.
func pieces(seed uint64) func() int {
	r := rand.New(rand.NewPCG(seed, 1))
	return func() int { return 1 + r.IntN(1+r.IntN(200)) }
}

// FuzzWellFormed builds streams of replies that Redis could send, in every
// order, and checks that the pubsubConn and go-redis together read exactly what
// go-redis alone reads.
func FuzzWellFormed(f *testing.F) {
	f.Add([]byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}, uint64(1), false)
	f.Add([]byte{0, 1, 200, 2, 100, 2, 30, 4, 5, 2, 7, 2}, uint64(2), true)
	for seed := range uint64(20) {
		ops := make([]byte, 60)
		r := rand.New(rand.NewPCG(seed, 2))
		for i := range ops {
			ops[i] = byte(r.Uint32())
		}
		f.Add(append([]byte{0, 1}, ops...), seed, seed%2 == 0)
	}
	f.Fuzz(func(t *testing.T, ops []byte, seed uint64, resp3 bool) {
		protocol := protocolOf(resp3)
		stream := build(ops, seed, protocol)
		want, clean := expect(t, stream, protocol)
		if !clean {
			t.Fatalf("go-redis cannot read %q", stream)
		}
		got := withoutFlush(playThrough(t, stream, pieces(seed), protocol, fuzzConfig))
		if !slices.Equal(got, want) {
			t.Fatalf("stream %q\ngot  %q\nwant %q", stream, got, want)
		}
	})
}

func protocolOf(resp3 bool) int {
	if resp3 {
		return 3
	}
	return 2
}

// build returns a stream with one reply for each op.
func build(ops []byte, seed uint64, protocol int) string {
	r := rand.New(rand.NewPCG(seed, 3))
	name := func() string {
		return []string{"a", "chat:42", "ä", "\x01", "sidecast:x", "__k", "", strings.Repeat("n", 201)}[r.IntN(8)]
	}
	payload := func() string {
		if r.IntN(3) == 0 {
			return hostilePayloads[r.IntN(len(hostilePayloads))]
		}
		return strings.Repeat("p", r.IntN(2*fuzzLimit))
	}
	var b strings.Builder
	for _, op := range ops {
		switch op % 13 {
		case 0:
			b.WriteString(encodeReply(protocol, "subscribe", "sidecast:mark") + ":1\r\n")
		case 1:
			b.WriteString(encodeReply(protocol, "psubscribe", "*") + ":2\r\n")
		case 2, 3, 4:
			b.WriteString(encodeReply(protocol, "pmessage", "*", name(), payload()))
		case 5:
			mark := fmt.Sprintf("1 %016x %016x %08x", r.Uint64(), r.Uint64(), r.Uint32())
			b.WriteString(encodeReply(protocol, "message", "sidecast:mark", mark))
		case 6:
			b.WriteString(encodeReply(protocol, "message", "sidecast:mark", strings.Repeat(payload(), 6)))
		case 7:
			b.WriteString(encodeReply(protocol, "message", "elsewhere", payload()))
		case 8:
			b.WriteString(encodeReply(protocol, "psubscribe", name()) + ":2\r\n")
		case 9:
			b.WriteString(encodeReply(2, "pong", payload()))
		case 10:
			fmt.Fprintf(&b, "$%d\r\n%s\r\n", 3, "abc") // RESP3's pong
		case 11:
			if r.IntN(8) == 0 {
				b.WriteString("-NOPERM no\r\n")
			}
		case 12:
			if protocol == 3 {
				b.WriteString("|1\r\n+key\r\n*2\r\n:1\r\n$1\r\nx\r\n" + encodeReply(3, "pmessage", "*", name(), payload()))
			}
		}
	}
	return b.String()
}

var longNumber = regexp.MustCompile(`\d{6}`) // go-redis would allocate that many bytes

// FuzzAnyBytes sends arbitrary bytes after the beginning of an epoch. The
// pubsubConn may be stricter than go-redis, so it may end the connection
// earlier, but everything that it delivers must be what go-redis alone reads in
// the same place.
func FuzzAnyBytes(f *testing.F) {
	f.Add("", uint64(1), false)
	for i, h := range hostilePayloads {
		f.Add(h, uint64(i), i%2 == 0)
		f.Add(encodeReply(2, "pmessage", "*", "a", h)+h, uint64(i), i%2 == 0)
	}
	f.Add("|1\r\n+a\r\n+b\r\n>4\r\n$8\r\npmessage\r\n$1\r\n*\r\n$1\r\na\r\n$1\r\nb\r\n", uint64(1), true)
	f.Add("*4\r\n$8\r\npmessage\r\n$1\r\n*\r\n$1\r\n0\r\n$100\r\n", uint64(1), false) // too large, and cut off
	f.Add("*4\r\n+pmessage\r\n+*\r\n+a\r\n+b\r\n", uint64(1), false)
	f.Add("%1\r\n+a\r\n+b\r\n~1\r\n(12\r\n=7\r\ntxt:abc\r\n", uint64(1), true)
	f.Fuzz(func(t *testing.T, tail string, seed uint64, resp3 bool) {
		if longNumber.MatchString(tail) {
			t.Skip("would make go-redis allocate")
		}
		protocol := protocolOf(resp3)
		stream := subscribedHead(protocol) + tail
		want, clean := expect(t, stream, protocol)
		got := withoutFlush(playThrough(t, stream, pieces(seed), protocol, fuzzConfig))
		got, want = trim(got), trim(want)
		if len(got) == len(want)+1 && strings.HasPrefix(got[len(want)], "oversize ") {
			got = got[:len(want)] // the pubsubConn does not wait for the end of a message that it drops
		}
		n := min(len(got), len(want))
		if !slices.Equal(got[:n], want[:n]) || len(got) > len(want) && clean {
			t.Fatalf("stream %q\ngot  %q\nwant %q", stream, got, want)
		}
	})
}

// trim removes the end of the epoch, and everything from the first message on
// that bypassed the pubsubConn, because the link ends there.
func trim(lines []string) []string {
	if i := slices.Index(lines, "bypassed"); i >= 0 {
		lines = lines[:i]
	}
	return slices.DeleteFunc(lines, func(l string) bool { return l == "offline" })
}
