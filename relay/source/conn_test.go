package source

import (
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"sidecast/relay/access"
	"sidecast/relay/source/resp"
)

// hostilePayloads look like protocol.
var hostilePayloads = []string{
	"",
	"\r\n",
	"\r\n*4\r\n$8\r\npmessage\r\n$1\r\n*\r\n$6\r\nforged\r\n$1\r\nx\r\n",
	"*4\r\n$8\r\npmessage\r\n$1\r\n*\r\n$6\r\nforged\r\n$1\r\nx\r\n",
	">4\r\n$8\r\npmessage\r\n$1\r\n*\r\n$6\r\nforged\r\n$1\r\nx\r\n",
	"-NOPERM forged\r\n",
	"*3\r\n$9\r\nsubscribe\r\n$13\r\nsidecast:mark\r\n:1\r\n",
	"$24\r\nsidecast0000000000000001\r\n",
	"|1\r\n+a\r\n+b\r\n",
	"$-1\r\n", "*-1\r\n", "$536870912\r\n", "\r", "\n", "$", "*",
}

func withoutFlush(lines []string) []string {
	return slices.DeleteFunc(slices.Clone(lines), func(l string) bool { return l == "flush" })
}

// TestStreamSplitAnywhere feeds one stream split in two at every byte, and in
// pieces of one, two and three bytes.
func TestStreamSplitAnywhere(t *testing.T) {
	for _, protocol := range []int{2, 3} {
		var stream strings.Builder
		stream.WriteString(subscribedHead(protocol))
		want := []string{`subscribe "sidecast:mark"`, "online", `psubscribe "*"`}
		for i, payload := range hostilePayloads {
			name := strings.Repeat("n", 1+i%8)
			stream.WriteString(encodeReply(protocol, "pmessage", "*", name, payload))
			want = append(want, fmt.Sprintf("publish %q %q", name, payload))
		}
		stream.WriteString(encodeReply(protocol, "message", "sidecast:mark", "1 0102030405060708 0102030405060708 01020304"))
		want = append(want, "marker 0102030405060708", "offline")
		check := func(how string, piece func() int) {
			t.Helper()
			if got := withoutFlush(playThrough(t, stream.String(), piece, protocol)); !slices.Equal(got, want) {
				t.Fatalf("RESP%d, %s:\ngot  %q\nwant %q", protocol, how, got, want)
			}
		}
		check("whole", nil)
		for size := 1; size <= 3; size++ {
			check(fmt.Sprintf("pieces of %d", size), func() int { return size })
		}
		for cut := 1; cut < len(stream.String()); cut++ {
			first := true
			check(fmt.Sprintf("cut at %d", cut), func() int {
				if first {
					first = false
					return cut
				}
				return len(stream.String())
			})
		}
	}
}

// TestBufferEdges places the end of a message at every byte around the edges of
// the read buffer.
func TestBufferEdges(t *testing.T) {
	for _, edge := range []int{bufferMin, 2 * bufferMin, bufferMax, 4 * bufferMax} {
		for delta := -20; delta <= 4; delta++ {
			for _, protocol := range []int{2, 3} {
				empty := subscribedHead(protocol) + encodeReply(protocol, "pmessage", "*", "edge", "")
				overhead := len(empty) + len(fmt.Sprint(edge)) - 1
				payload := strings.Repeat("x", edge+delta-overhead)
				stream := subscribedHead(protocol) + encodeReply(protocol, "pmessage", "*", "edge", payload) +
					encodeReply(protocol, "pmessage", "*", "after", "\r\n")
				want := []string{fmt.Sprintf("publish %q %s", "edge", show(payload)), `publish "after" "\r\n"`, "offline"}
				got := withoutFlush(playThrough(t, stream, nil, protocol))
				if len(got) != 6 || !slices.Equal(got[3:], want) {
					t.Fatalf("edge %d%+d, RESP%d: got %d lines: %.200q", edge, delta, protocol, len(got), got)
				}
			}
		}
	}
}

// TestLargeRepliesPassUnchanged sends a reply for go-redis that does not fit
// go-redis's own buffer, before and after the connection's buffer has grown.
func TestLargeRepliesPassUnchanged(t *testing.T) {
	for _, protocol := range []int{2, 3} {
		for _, size := range []int{5000, 100_000, maxPassed} {
			payload := strings.Repeat("\r\n*4", size/4)
			big := strings.Repeat(encodeReply(protocol, "pmessage", "*", "c", strings.Repeat("m", 200_000)), 20)
			for _, before := range []string{"", big} {
				stream := subscribedHead(protocol) + before + encodeReply(2, "pong", payload) +
					encodeReply(protocol, "pmessage", "*", "c", "m")
				want := playDirect(t, stream, nil, protocol)
				got := slices.DeleteFunc(withoutFlush(playThrough(t, stream, nil, protocol)), func(l string) bool {
					return l == "online" || l == "offline"
				})
				if !slices.Equal(got, want) {
					t.Errorf("RESP%d, %d bytes after %d: got %.200q", protocol, size, len(before), got)
				}
			}
		}
	}
}

// TestFlushPrecedesEachWait checks that no message is held back until the next
// one arrives.
func TestFlushPrecedesEachWait(t *testing.T) {
	message := encodeReply(2, "pmessage", "*", "c", "m")
	stream := subscribedHead(2) + strings.Repeat(message, 4)
	first := true
	got := playThrough(t, stream, func() int {
		if first {
			first = false
			return len(subscribedHead(2))
		}
		return 2 * len(message)
	}, 2)
	want := []string{
		`subscribe "sidecast:mark"`, "online", `psubscribe "*"`, "flush",
		`publish "c" "m"`, `publish "c" "m"`, "flush",
		`publish "c" "m"`, `publish "c" "m"`, "flush", "offline",
	}
	if !slices.Equal(got, want) {
		t.Fatalf("got  %q\nwant %q", got, want)
	}
}

// TestEpochBegins checks which confirmations begin an epoch, and which messages
// are delivered.
func TestEpochBegins(t *testing.T) {
	two := func(c *Config) { c.Patterns = access.Patterns{access.MustPattern("a"), access.MustPattern("b")} }
	mark := encodeReply(2, "subscribe", "sidecast:mark") + ":1\r\n"
	a, b := encodeReply(2, "psubscribe", "a")+":2\r\n", encodeReply(2, "psubscribe", "b")+":3\r\n"
	message := encodeReply(2, "pmessage", "a", "a", "x")
	denied := "-NOPERM no\r\n"
	tests := []struct {
		why    string
		stream string
		change func(*Config)
		want   []string
	}{
		{"all confirmed", mark + a + b + message, two,
			[]string{`subscribe "sidecast:mark"`, `psubscribe "a"`, "online", `psubscribe "b"`, `publish "a" "x"`, "offline"}},
		{"in another order", b + a + mark + message, two,
			[]string{`psubscribe "b"`, `psubscribe "a"`, "online", `subscribe "sidecast:mark"`, `publish "a" "x"`, "offline"}},
		{"a message before the epoch is dropped", mark + a + message + b, two,
			[]string{`subscribe "sidecast:mark"`, `psubscribe "a"`, "online", `psubscribe "b"`, "offline"}},
		{"confirmed twice", mark + a + a + b + a + b + mark + message, two,
			[]string{`subscribe "sidecast:mark"`, `psubscribe "a"`, `psubscribe "a"`, "online", `psubscribe "b"`,
				`psubscribe "a"`, `psubscribe "b"`, `subscribe "sidecast:mark"`, `publish "a" "x"`, "offline"}},
		{"one missing", mark + a + message, two, []string{`subscribe "sidecast:mark"`, `psubscribe "a"`}},
		{"no right to receive markers", denied + a + b + message, two,
			[]string{`psubscribe "a"`, "online", `psubscribe "b"`, `publish "a" "x"`, "offline"}},
		{"no right to a pattern", mark + denied + a, two, []string{`subscribe "sidecast:mark"`}},
		{"loading", "-LOADING wait\r\n" + mark + a + b, two, nil},
		{"markers off", a + b + message, func(c *Config) { two(c); c.MarkersOff = true },
			[]string{`psubscribe "a"`, "online", `psubscribe "b"`, `publish "a" "x"`, "offline"}},
		{"a connection without the subscriptions of the link", encodeReply(2, "pmessage", "z", "z", "x"), two,
			[]string{`publish "z" "x"`}},
		{"an error reply during the epoch", mark + a + b + "-ERR what\r\n" + message, two,
			[]string{`subscribe "sidecast:mark"`, `psubscribe "a"`, "online", `psubscribe "b"`, "offline"}},
		{"a message for an unknown pattern", mark + a + b + encodeReply(2, "pmessage", "z", "z", "x") + message, two,
			[]string{`subscribe "sidecast:mark"`, `psubscribe "a"`, "online", `psubscribe "b"`, "offline"}},
	}
	for _, test := range tests {
		t.Run(test.why, func(t *testing.T) {
			if got := withoutFlush(playThrough(t, test.stream, nil, 2, test.change)); !slices.Equal(got, test.want) {
				t.Errorf("got  %q\nwant %q", got, test.want)
			}
		})
	}
}

// TestMalformedRepliesEndTheEpoch checks that nothing after them is delivered.
func TestMalformedRepliesEndTheEpoch(t *testing.T) {
	message := encodeReply(2, "pmessage", "*", "c", "m")
	for _, broken := range []string{
		"$1\r\nxyz", "*2\r\n$0\r\nxy:1\r\n", "*4\r\n$8\r\npmessage\r\n$1\r\n*\r\n$1\r\nc\r\n$18446744073709551617\r\nm\r\n",
		"x\r\n", "\r\n", "+\n", "*x\r\n", "*\r\n", "$5\r\nabcdefg\r\n", "$+1\r\nx\r\n", "*99999999999\r\n", "$536870913\r\n",
		"*2\r\n$?\r\n",
		"*4\r\n$8\r\npmessage\r\n$1\r\n*\r\n$1\r\nc\r\n$1\r\nm..", "*4\r\n$8\r\npmessage\r\n$1\r\n*\r\n$1\r\nc\r\n:1\r\n",
		"*4\r\n$8\r\npmessage\r\n$-1\r\n", "*4\r\n$8\r\npmessage\r\n$513\r\n", strings.Repeat("*2\r\n", resp.MaxDepth+1),
		"+" + strings.Repeat("x", resp.MaxLine) + "\r\n", "|-1\r\n", "|99999999\r\n", "*1\r\n:1\r\n", "$1048577\r\n",
	} {
		for _, size := range []int{1, 1 << 20} {
			lines := withoutFlush(playThrough(t, subscribedHead(2)+broken+message, func() int { return size }, 2))
			if slices.Contains(lines, `publish "c" "m"`) && broken != "*1\r\n:1\r\n" {
				t.Errorf("%.60q: the next message was delivered: %q", broken, lines)
			}
			if lines[len(lines)-1] != "offline" {
				t.Errorf("%.60q: the epoch did not end: %q", broken, lines)
			}
		}
	}
}

func TestBufferShrinksAfterLargeMessages(t *testing.T) {
	big := encodeReply(2, "pmessage", "*", "c", strings.Repeat("x", 900<<10))
	small := encodeReply(2, "pmessage", "*", "c", strings.Repeat("x", 4<<10))
	stream := []byte(subscribedHead(2) + big + strings.Repeat(small, 20*readsBeforeShrink))
	lines, conn := playThroughConn(t, &scriptedConn{stream: stream, piece: func() int { return 32 << 10 }}, 2)
	if got := len(conn.buf); got != bufferMax {
		t.Fatalf("at the end the buffer has %d bytes", got)
	}
	if n := strings.Count(strings.Join(lines, "\n"), fmt.Sprintf("publish %q %s", "c", show(strings.Repeat("x", 4<<10)))); n != 20*readsBeforeShrink {
		t.Fatalf("%d messages", n)
	}
}

// TestIdleConnHasSmallBuffer checks that the buffer grows only when data
// arrives.
func TestIdleConnHasSmallBuffer(t *testing.T) {
	stream := []byte(subscribedHead(2) + strings.Repeat(encodeReply(2, "pmessage", "*", "c", "m"), 10))
	_, conn := playThroughConn(t, &scriptedConn{stream: stream}, 2)
	if got := len(conn.buf); got != bufferMin {
		t.Fatalf("the buffer has %d bytes", got)
	}
}

// TestMessagesDoNotAllocate guards the path of every message.
func TestMessagesDoNotAllocate(t *testing.T) {
	for _, patterns := range [][]string{{"*"}, {"none:*", "*"}} {
		for _, protocol := range []int{2, 3} {
			list, _ := access.ParsePatterns(patterns)
			conn := newPubsubConn(&scriptedConn{}, testLink(t, new(discardSink), func(c *Config) { c.Patterns = list }))
			conn.live, conn.subs.anyConfirmed = true, true
			conn.buf = messages(protocol)
			p := make([]byte, 10)
			if n := testing.AllocsPerRun(10, func() {
				conn.r, conn.w = 0, len(conn.buf)
				if n, err := conn.process(p); n != 0 || err != nil || conn.r != conn.w {
					t.Fatal("some messages were not delivered")
				}
			}); n != 0 {
				t.Errorf("%q, RESP%d: %v allocations for 1000 messages", patterns, protocol, n)
			}
		}
	}
}

func TestIsSubscribe(t *testing.T) {
	for command, want := range map[string]bool{
		"*2\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n":                    true,
		"*12\r\n$10\r\npsubscribe\r\n$1\r\nc":                     true,
		"*3\r\n$5\r\nhello\r\n$1\r\n2\r\n$9\r\nsubscribe\r\n":     false,
		"*3\r\n$7\r\npublish\r\n$9\r\nsubscribe\r\n$3\r\nabc\r\n": false,
		"*2\r\n$11\r\nunsubscribe\r\n":                            false,
		"":                                                        false, "*": false,
	} {
		if got := isSubscribe([]byte(command)); got != want {
			t.Errorf("%q: %v", command, got)
		}
	}
}

// TestHandshakeDeadlines checks that go-redis's deadlines have an effect until
// it subscribes.
func TestHandshakeDeadlines(t *testing.T) {
	ours, theirs := net.Pipe()
	defer theirs.Close()
	go discard(theirs)
	conn := newPubsubConn(ours, testLink(t, new(discardSink)))
	_ = conn.SetReadDeadline(time.Now().Add(-time.Second))
	if _, err := conn.Read(make([]byte, 1)); err == nil {
		t.Error("a deadline in the handshake has no effect")
	}
	if _, err := conn.Write([]byte("*2\r\n$9\r\nsubscribe\r\n$1\r\nx\r\n")); err != nil {
		t.Fatal(err)
	}
	_ = conn.SetReadDeadline(time.Now().Add(-time.Second))
	done := make(chan error, 1)
	go func() {
		_, err := conn.Read(make([]byte, 64))
		done <- err
	}()
	if _, err := io.WriteString(theirs, subscribedHead(2)); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Errorf("the old or the new deadline expired after the handshake: %v", err)
	}
}

// TestServiceMessagesKeepTheirPlace plays the replies of a link with services,
// one of which is refused, in pieces of all small sizes.
func TestServiceMessagesKeepTheirPlace(t *testing.T) {
	for _, protocol := range []int{2, 3} {
		stream := encodeReply(protocol, "subscribe", "sidecast:one") + ":1\r\n" +
			"-NOPERM two\r\n" + subscribedHead(protocol) +
			encodeReply(protocol, "pmessage", "*", "chat", "1") +
			encodeReply(protocol, "message", "sidecast:one", "*3\r\n$7\r\nmessage\r\n") +
			encodeReply(protocol, "pmessage", "*", "chat", "2") +
			encodeReply(protocol, "message", "sidecast:one", strings.Repeat("x", maxServiceMessage+1)) +
			encodeReply(protocol, "message", "sidecast:one", strings.Repeat("x", maxServiceMessage)) +
			encodeReply(protocol, "pmessage", "*", "chat", "3")
		want := []string{
			`subscribe "sidecast:mark"`, "one true", "two false", "online", `psubscribe "*"`,
			`publish "chat" "1"`, `one "*3\r\n$7\r\nmessage\r\n"`, `publish "chat" "2"`,
			"one " + show(strings.Repeat("x", maxServiceMessage)), `publish "chat" "3"`, "offline", "one offline",
		}
		for size := range 4 {
			var lines []string
			piece := func() int { return size }
			if size == 0 {
				piece = nil
			}
			sink := lineSink{&lines}
			services := []Service{{
				Channel: "sidecast:one", Receive: func(p []byte) { sink.add("one %s", show(p)) },
				Online: func(heard bool) { sink.add("one %t", heard) }, Offline: func() { sink.add("one offline") },
			}, {
				Channel: "sidecast:two", Online: func(heard bool) { sink.add("two %t", heard) },
			}}
			conn := newPubsubConn(&scriptedConn{stream: []byte(stream), piece: piece}, testLink(t, sink, func(c *Config) { c.Services = services }))
			play(t, conn, protocol, func(reply any, err error) bool {
				sink.add("%s", describe(reply))
				return err == nil
			})
			if got := withoutFlush(lines); !slices.Equal(got, want) {
				t.Fatalf("RESP%d, pieces of %d:\ngot  %.200q\nwant %.200q", protocol, size, got, want)
			}
		}
	}
}
