package source

import (
	"fmt"
	"io"
	"strings"
	"testing"

	"sidecast/relay/access"
)

// endlessConn is a connection that plays a stream once and then repeats one
// block of messages.
type endlessConn struct {
	scriptedConn
	messages  []byte
	at        int
	remaining int // bytes of messages to send before EOF
}

func (b *endlessConn) Read(p []byte) (int, error) {
	if len(b.answers) > 0 || len(b.stream) > 0 {
		return b.scriptedConn.Read(p)
	}
	if b.remaining == 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(len(p), b.remaining)], b.messages[b.at:])
	b.at = (b.at + n) % len(b.messages)
	b.remaining -= n
	return n, nil
}

// discardSink is a sink without subscribers.
type discardSink struct{ messages, lost int }

func (n *discardSink) Publish(_, _ []byte) { n.messages++ }
func (n *discardSink) Oversize([]byte)     {}
func (n *discardSink) Flush()              {}
func (n *discardSink) Marker([]byte)       {}
func (n *discardSink) Offline()            { n.lost++ }
func (n *discardSink) Online(uint32)       {}
func (n *discardSink) Gap(uint32)          {}

func messages(protocol int) []byte {
	var b strings.Builder
	for i := range 1000 {
		b.WriteString(encodeReply(protocol, "pmessage", "*", fmt.Sprintf("chat:%03d", i), strings.Repeat("x", 128)))
	}
	return []byte(b.String())
}

// BenchmarkIngest measures the time and the allocations of one message of 128
// bytes between the read and a sink without subscribers. The target is 150 ns
// and no allocation.
func BenchmarkIngest(b *testing.B) {
	for _, protocol := range []int{2, 3} {
		b.Run(fmt.Sprintf("RESP%d", protocol), func(b *testing.B) { ingest(b, protocol, "*") })
	}
	b.Run("second-of-2-patterns", func(b *testing.B) { ingest(b, 2, "none:*", "*") })
}

func ingest(b *testing.B, protocol int, patterns ...string) {
	sink := new(discardSink)
	list, _ := access.ParsePatterns(patterns)
	l := testLink(b, sink, func(c *Config) { c.Patterns = list })
	conn := &endlessConn{messages: messages(protocol)}
	conn.stream = []byte(encodeReply(protocol, "subscribe", "sidecast:mark") + ":1\r\n")
	for _, p := range patterns {
		conn.stream = append(conn.stream, encodeReply(protocol, "psubscribe", p)+":1\r\n"...)
	}
	perMessage := len(conn.messages) / 1000
	c := newPubsubConn(conn, l)
	if _, err := c.Write([]byte("*2\r\n$9\r\nsubscribe\r\n")); err != nil {
		b.Fatal(err)
	}
	small := make([]byte, 4<<10)
	for range len(patterns) + 1 {
		if _, err := c.Read(small); err != nil {
			b.Fatal(err)
		}
	}
	conn.remaining = 5 * len(conn.messages) // makes the buffer grow
	_, err := c.Read(small)
	if err == nil || !c.subs.anyConfirmed {
		b.Fatal("the epoch did not begin")
	}
	c.endErr, c.live = nil, true
	conn.remaining = b.N * perMessage
	sink.messages = 0
	b.ReportAllocs()
	b.SetBytes(int64(perMessage))
	b.ResetTimer()
	_, _ = c.Read(small)
	b.StopTimer()
	if sink.messages != b.N {
		b.Fatalf("%d of %d messages", sink.messages, b.N)
	}
}
