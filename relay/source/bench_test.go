package source

import (
	"fmt"
	"io"
	"math"
	"net"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"sidecast/relay/access"
)

// blast is a conn that plays a head once and then one block of messages for ever.
type blast struct {
	script
	block []byte
	at    int
	limit int // messages' bytes to come; then EOF
}

func (b *blast) Read(p []byte) (int, error) {
	if len(b.answers) > 0 || len(b.stream) > 0 {
		return b.script.Read(p)
	}
	if b.limit == 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(len(p), b.limit)], b.block[b.at:])
	b.at = (b.at + n) % len(b.block)
	b.limit -= n
	return n, nil
}

// nobody is a sink without subscribers.
type nobody struct{ messages int }

func (n *nobody) Publish(_, _ []byte) { n.messages++ }
func (n *nobody) Oversize([]byte)     {}
func (n *nobody) Flush()              {}
func (n *nobody) Marker([]byte)       {}
func (n *nobody) Offline()            {}
func (n *nobody) Online(uint32)       {}

func messages(protocol int) []byte {
	var b strings.Builder
	for i := range 1000 {
		b.WriteString(pubsub(protocol, "pmessage", "*", fmt.Sprintf("chat:%03d", i), strings.Repeat("x", 128)))
	}
	return []byte(b.String())
}

// BenchmarkIngest measures one message of 128 bytes through the tap to a sink without subscribers: the time and the
// allocations of everything between the read and the sink. The target is 150 ns and none.
func BenchmarkIngest(b *testing.B) {
	for _, protocol := range []int{2, 3} {
		b.Run(fmt.Sprintf("RESP%d", protocol), func(b *testing.B) { ingest(b, protocol, "*") })
	}
	b.Run("second-of-2-patterns", func(b *testing.B) { ingest(b, 2, "none:*", "*") })
}

func ingest(b *testing.B, protocol int, patterns ...string) {
	sink := new(nobody)
	list, _ := access.ParsePatterns(patterns)
	l := testLink(b, sink, func(c *Config) { c.Patterns = list })
	conn := &blast{block: messages(protocol)}
	conn.stream = []byte(pubsub(protocol, "subscribe", "sidecast:mark") + ":1\r\n")
	for _, p := range patterns {
		conn.stream = append(conn.stream, pubsub(protocol, "psubscribe", p)+":1\r\n"...)
	}
	perMessage := len(conn.block) / 1000
	t := newTap(conn, l)
	if _, err := t.Write([]byte("*2\r\n$9\r\nsubscribe\r\n")); err != nil {
		b.Fatal(err)
	}
	small := make([]byte, 4<<10)
	for range len(patterns) + 1 {
		if _, err := t.Read(small); err != nil {
			b.Fatal(err)
		}
	}
	conn.limit = 5 * len(conn.block) // lets the buffer grow
	_, err := t.Read(small)
	if err == nil || !t.subs.begun {
		b.Fatal("the epoch did not begin")
	}
	t.ended, t.live = nil, true
	conn.limit = b.N * perMessage
	sink.messages = 0
	b.ReportAllocs()
	b.SetBytes(int64(perMessage))
	b.ResetTimer()
	_, _ = t.Read(small)
	b.StopTimer()
	if sink.messages != b.N {
		b.Fatalf("%d of %d messages", sink.messages, b.N)
	}
}

// BenchmarkIngestGoRedis is the same with go-redis alone, for comparison.
func BenchmarkIngestGoRedis(b *testing.B) {
	conn := &blast{block: messages(2), limit: math.MaxInt}
	conn.stream = []byte(head(2))
	b.ReportAllocs()
	b.SetBytes(int64(len(conn.block) / 1000))
	n := 0
	var c net.Conn = conn
	play(b, c, 2, func(reply any, _ error) bool {
		if _, ok := reply.(*redis.Message); ok {
			if n++; n == 1 {
				b.ResetTimer()
			}
		}
		return n < b.N
	})
}
