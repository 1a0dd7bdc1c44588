package source

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"sidecast/relay/access"
	"sidecast/relay/stats"
)

// hostile are payloads that look like protocol.
var hostile = []string{
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

// TestEverySplitOfTheStream feeds one stream cut in two at every place, and in pieces of one, two and three bytes.
func TestEverySplitOfTheStream(t *testing.T) {
	for _, protocol := range []int{2, 3} {
		var stream strings.Builder
		stream.WriteString(head(protocol))
		want := []string{`subscribe "sidecast:mark"`, "online", `psubscribe "*"`}
		for i, payload := range hostile {
			name := strings.Repeat("n", 1+i%8)
			stream.WriteString(pubsub(protocol, "pmessage", "*", name, payload))
			want = append(want, fmt.Sprintf("publish %q %q", name, payload))
		}
		stream.WriteString(pubsub(protocol, "message", "sidecast:mark", "1 0102030405060708 0102030405060708 01020304"))
		want = append(want, "marker 0102030405060708", "offline")
		check := func(how string, piece func() int) {
			t.Helper()
			if got := withoutFlush(tapped(t, stream.String(), piece, protocol)); !slices.Equal(got, want) {
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

// TestBufferEdges puts the end of a message at every place around the edges of the read buffer.
func TestBufferEdges(t *testing.T) {
	for _, edge := range []int{bufferMin, 2 * bufferMin, bufferMax, 4 * bufferMax} {
		for delta := -20; delta <= 4; delta++ {
			for _, protocol := range []int{2, 3} {
				overhead := len(head(protocol)) + len(pubsub(protocol, "pmessage", "*", "edge", "")) + len(fmt.Sprint(edge)) - 1
				payload := strings.Repeat("x", edge+delta-overhead)
				stream := head(protocol) + pubsub(protocol, "pmessage", "*", "edge", payload) +
					pubsub(protocol, "pmessage", "*", "after", "\r\n")
				want := []string{fmt.Sprintf("publish %q %s", "edge", show(payload)), `publish "after" "\r\n"`, "offline"}
				got := withoutFlush(tapped(t, stream, nil, protocol))
				if len(got) != 6 || !slices.Equal(got[3:], want) {
					t.Fatalf("edge %d%+d, RESP%d: got %d lines: %.200q", edge, delta, protocol, len(got), got)
				}
			}
		}
	}
}

// TestLargeRepliesPassWhole sends go-redis a reply that does not fit its own buffer, also when the tap's has grown.
func TestLargeRepliesPassWhole(t *testing.T) {
	for _, protocol := range []int{2, 3} {
		for _, size := range []int{5000, 100_000, maxPassed} {
			payload := strings.Repeat("\r\n*4", size/4)
			big := strings.Repeat(pubsub(protocol, "pmessage", "*", "c", strings.Repeat("m", 200_000)), 20)
			for _, before := range []string{"", big} {
				stream := head(protocol) + before + pubsub(2, "pong", payload) + pubsub(protocol, "pmessage", "*", "c", "m")
				want := untapped(t, stream, nil, protocol)
				got := slices.DeleteFunc(withoutFlush(tapped(t, stream, nil, protocol)), func(l string) bool {
					return l == "online" || l == "offline"
				})
				if !slices.Equal(got, want) {
					t.Errorf("RESP%d, %d bytes behind %d: got %.200q", protocol, size, len(before), got)
				}
			}
		}
	}
}

// TestFlushComesBeforeEachWait checks that no message waits for the next one.
func TestFlushComesBeforeEachWait(t *testing.T) {
	message := pubsub(2, "pmessage", "*", "c", "m")
	stream := head(2) + strings.Repeat(message, 4)
	first := true
	got := tapped(t, stream, func() int {
		if first {
			first = false
			return len(head(2))
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

func TestFilter(t *testing.T) {
	tests := []struct {
		why                    string
		pattern, name, payload string
		want                   string
		reason                 stats.DropReason
		drops                  uint64
	}{
		{"the first pattern owns the channel", "app:a*", "app:ab", "x", `publish "ab" "x"`, 0, 0},
		{"the copy of a later pattern", "app:*b", "app:ab", "x", "", stats.DropOverlap, 1},
		{"a later pattern, where the first does not match", "app:*b", "app:bb", "x", `publish "bb" "x"`, 0, 0},
		{"reserved with the prefix", "app:*b", "app:sidecast:b", "x", "", stats.DropReserved, 1},
		{"Redis's own", "app:*b", "app:__b", "x", "", stats.DropReserved, 0},
		{"a control character", "app:a*", "app:a\n", "x", "", stats.DropName, 1},
		{"nothing behind the prefix", "app:*b", "app:", "x", "", stats.DropName, 1},
		{"without the prefix", "app:*b", "b", "x", "", stats.DropName, 1},
		{"201 bytes", "app:a*", "app:" + strings.Repeat("a", 201), "x", "", stats.DropName, 1},
		{"200 bytes", "app:a*", "app:" + strings.Repeat("a", 200), "",
			fmt.Sprintf("publish %q %q", strings.Repeat("a", 200), ""), 0, 0},
		{"a name of a megabyte", "app:a*", "app:" + strings.Repeat("a", 1<<20), "x", "", stats.DropName, 1},
		{"as long as may be", "app:a*", "app:a", strings.Repeat("p", 64),
			fmt.Sprintf("publish %q %q", "a", strings.Repeat("p", 64)), 0, 0},
		{"one byte longer", "app:a*", "app:a", strings.Repeat("p", 65), `oversize "a"`, stats.DropOversize, 1},
		{"longer than the buffer", "app:a*", "app:a", strings.Repeat("\r\n*4", bufferMax), `oversize "a"`, stats.DropOversize, 1},
		{"too long a copy is a copy", "app:*b", "app:ab", strings.Repeat("p", 65), "", stats.DropOverlap, 1},
	}
	for _, test := range tests {
		t.Run(test.why, func(t *testing.T) {
			counters := new(stats.Stats)
			stream := pubsub(2, "subscribe", "sidecast:mark") + ":1\r\n" + pubsub(2, "psubscribe", "app:*b") + ":2\r\n" +
				pubsub(2, "psubscribe", "app:a*") + ":3\r\n" + pubsub(2, "pmessage", test.pattern, test.name, test.payload) +
				pubsub(2, "pmessage", "app:a*", "app:a:end", "")
			got := withoutFlush(tapped(t, stream, nil, 2, func(c *Config) {
				c.Names = access.NewNames("app:", "")
				c.Patterns = access.Patterns{access.MustPattern("a*"), access.MustPattern("*b")}
				c.MaxPayload = 64
				c.Stats = counters
			}))
			want := slices.DeleteFunc([]string{test.want, `publish "a:end" ""`, "offline"}, func(l string) bool { return l == "" })
			if !slices.Equal(got[4:], want) {
				t.Errorf("got %.200q, want %.200q", got[4:], want)
			}
			if test.drops == 0 {
				return
			}
			for reason := range counters.Dropped {
				drops := uint64(0)
				if stats.DropReason(reason) == test.reason {
					drops = test.drops
				}
				if got := counters.Dropped[reason].Load(); got != drops {
					t.Errorf("%d dropped as %s, want %d", got, stats.DropReasons[reason], drops)
				}
			}
		})
	}
}

// TestCopiesOfMarkersAreNotCounted checks that a wide pattern does not make every marker a dropped message.
func TestCopiesOfMarkersAreNotCounted(t *testing.T) {
	counters := new(stats.Stats)
	stream := head(2) + pubsub(2, "pmessage", "*", "sidecast:mark", "1 0102030405060708 0102030405060708 01020304") +
		pubsub(2, "pmessage", "*", "sidecast:other", "x")
	got := withoutFlush(tapped(t, stream, nil, 2, func(c *Config) { c.Stats = counters }))
	if len(got) != 4 {
		t.Errorf("got %q", got)
	}
	if n := counters.Dropped[stats.DropReserved].Load(); n != 1 {
		t.Errorf("%d dropped as reserved, want the one that is no marker", n)
	}
}

// TestEpochBegins checks what makes a conn the link, and when it is live.
func TestEpochBegins(t *testing.T) {
	two := func(c *Config) { c.Patterns = access.Patterns{access.MustPattern("a"), access.MustPattern("b")} }
	mark := pubsub(2, "subscribe", "sidecast:mark") + ":1\r\n"
	a, b := pubsub(2, "psubscribe", "a")+":2\r\n", pubsub(2, "psubscribe", "b")+":3\r\n"
	message := pubsub(2, "pmessage", "a", "a", "x")
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
		{"a message before the epoch is nobody's", mark + a + message + b, two,
			[]string{`subscribe "sidecast:mark"`, `psubscribe "a"`, "online", `psubscribe "b"`, "offline"}},
		{"confirmed twice", mark + a + a + b + a + b + mark + message, two,
			[]string{`subscribe "sidecast:mark"`, `psubscribe "a"`, `psubscribe "a"`, "online", `psubscribe "b"`,
				`psubscribe "a"`, `psubscribe "b"`, `subscribe "sidecast:mark"`, `publish "a" "x"`, "offline"}},
		{"one missing", mark + a + message, two, []string{`subscribe "sidecast:mark"`, `psubscribe "a"`}},
		{"no right to hear markers", denied + a + b + message, two,
			[]string{`psubscribe "a"`, "online", `psubscribe "b"`, `publish "a" "x"`, "offline"}},
		{"no right to a pattern", mark + denied + a, two, []string{`subscribe "sidecast:mark"`}},
		{"loading", "-LOADING wait\r\n" + mark + a + b, two, nil},
		{"markers off", a + b + message, func(c *Config) { two(c); c.MarkersOff = true },
			[]string{`psubscribe "a"`, "online", `psubscribe "b"`, `publish "a" "x"`, "offline"}},
		{"a conn that subscribes to nothing of ours", pubsub(2, "pmessage", "z", "z", "x"), two, []string{`publish "z" "x"`}},
		{"an error in the middle of the epoch", mark + a + b + "-ERR what\r\n" + message, two,
			[]string{`subscribe "sidecast:mark"`, `psubscribe "a"`, "online", `psubscribe "b"`, "offline"}},
		{"a message for a pattern that nobody asked for", mark + a + b + pubsub(2, "pmessage", "z", "z", "x") + message, two,
			[]string{`subscribe "sidecast:mark"`, `psubscribe "a"`, "online", `psubscribe "b"`, "offline"}},
	}
	for _, test := range tests {
		t.Run(test.why, func(t *testing.T) {
			if got := withoutFlush(tapped(t, test.stream, nil, 2, test.change)); !slices.Equal(got, test.want) {
				t.Errorf("got  %q\nwant %q", got, test.want)
			}
		})
	}
}

// TestMalformedRepliesEndTheEpoch checks that nothing behind them is believed.
func TestMalformedRepliesEndTheEpoch(t *testing.T) {
	message := pubsub(2, "pmessage", "*", "c", "m")
	for _, broken := range []string{
		"$1\r\nxyz", "*2\r\n$0\r\nxy:1\r\n", "*4\r\n$8\r\npmessage\r\n$1\r\n*\r\n$1\r\nc\r\n$18446744073709551617\r\nm\r\n",
		"x\r\n", "\r\n", "+\n", "*x\r\n", "*\r\n", "$5\r\nabcdefg\r\n", "$+1\r\nx\r\n", "*99999999999\r\n", "$536870913\r\n",
		"*2\r\n$?\r\n",
		"*4\r\n$8\r\npmessage\r\n$1\r\n*\r\n$1\r\nc\r\n$1\r\nm..", "*4\r\n$8\r\npmessage\r\n$1\r\n*\r\n$1\r\nc\r\n:1\r\n",
		"*4\r\n$8\r\npmessage\r\n$-1\r\n", "*4\r\n$8\r\npmessage\r\n$513\r\n", strings.Repeat("*2\r\n", maxDepth+1),
		"+" + strings.Repeat("x", maxLine) + "\r\n", "|-1\r\n", "|99999999\r\n", "*1\r\n:1\r\n", "$1048577\r\n",
	} {
		for _, size := range []int{1, 1 << 20} {
			lines := withoutFlush(tapped(t, head(2)+broken+message, func() int { return size }, 2))
			if slices.Contains(lines, `publish "c" "m"`) && broken != "*1\r\n:1\r\n" {
				t.Errorf("%.60q: what followed was believed: %q", broken, lines)
			}
			if lines[len(lines)-1] != "offline" {
				t.Errorf("%.60q: the epoch did not end: %q", broken, lines)
			}
		}
	}
}

// TestBigMessagesLeaveNoBigBuffer checks that the buffer shrinks again.
func TestBigMessagesLeaveNoBigBuffer(t *testing.T) {
	big := pubsub(2, "pmessage", "*", "c", strings.Repeat("x", 900<<10))
	small := pubsub(2, "pmessage", "*", "c", strings.Repeat("x", 4<<10))
	stream := []byte(head(2) + big + strings.Repeat(small, 20*roomyReads))
	lines, tap := tappedBy(t, &script{stream: stream, piece: func() int { return 32 << 10 }}, 2)
	if got := len(tap.buf); got != bufferMax {
		t.Fatalf("the buffer has %d bytes at the end", got)
	}
	if n := count(lines, fmt.Sprintf("publish %q %s", "c", show(strings.Repeat("x", 4<<10)))); n != 20*roomyReads {
		t.Fatalf("%d messages", n)
	}
}

// TestIdleLinksHaveSmallBuffers checks that the buffer grows with what comes.
func TestIdleLinksHaveSmallBuffers(t *testing.T) {
	stream := []byte(head(2) + strings.Repeat(pubsub(2, "pmessage", "*", "c", "m"), 10))
	_, tap := tappedBy(t, &script{stream: stream}, 2)
	if got := len(tap.buf); got != bufferMin {
		t.Fatalf("the buffer has %d bytes", got)
	}
}

func count(lines []string, line string) (n int) {
	for _, l := range lines {
		if l == line {
			n++
		}
	}
	return n
}

// TestMessagesCostNoAllocation holds the hot path to it.
func TestMessagesCostNoAllocation(t *testing.T) {
	for _, patterns := range [][]string{{"*"}, {"none:*", "*"}} {
		for _, protocol := range []int{2, 3} {
			list, _ := access.ParsePatterns(patterns)
			tap := newTap(&script{}, testLink(t, new(nobody), func(c *Config) { c.Patterns = list }))
			tap.live, tap.subs.begun = true, true
			tap.buf = messages(protocol)
			p := make([]byte, 10)
			if n := testing.AllocsPerRun(10, func() {
				tap.r, tap.w = 0, len(tap.buf)
				if n, err := tap.step(p); n != 0 || err != nil || tap.r != tap.w {
					t.Fatal("not all messages were taken")
				}
			}); n != 0 {
				t.Errorf("%q, RESP%d: %v allocations for 1000 messages", patterns, protocol, n)
			}
		}
	}
}

func TestJudgeRole(t *testing.T) {
	for role, want := range map[string]error{
		"master": nil, "slave": errReplica, "sentinel": errRole, "": errUnknownRole, "x": errUnknownRole,
	} {
		if got := judgeRole(role); got != want {
			t.Errorf("%q: %v", role, got)
		}
	}
}

func TestSubscribes(t *testing.T) {
	for command, want := range map[string]bool{
		"*2\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n":                    true,
		"*12\r\n$10\r\npsubscribe\r\n$1\r\nc":                     true,
		"*3\r\n$5\r\nhello\r\n$1\r\n2\r\n$9\r\nsubscribe\r\n":     false,
		"*3\r\n$7\r\npublish\r\n$9\r\nsubscribe\r\n$3\r\nabc\r\n": false,
		"*2\r\n$11\r\nunsubscribe\r\n":                            false,
		"":                                                        false, "*": false,
	} {
		if got := subscribes([]byte(command)); got != want {
			t.Errorf("%q: %v", command, got)
		}
	}
}

func TestWalkerStepsOverOneReply(t *testing.T) {
	tests := []string{
		"+OK\r\n", "-ERR no\r\n", ":-12\r\n", "_\r\n", ",inf\r\n", "#t\r\n", "(12345678901234567890\r\n",
		"$0\r\n\r\n", "$3\r\n\r\n\r\r\n", "$-1\r\n", "*-1\r\n", "*0\r\n", "!5\r\nERR x\r\n", "=7\r\ntxt:abc\r\n",
		"*2\r\n*1\r\n:1\r\n$1\r\nx\r\n", "%2\r\n+a\r\n:1\r\n+b\r\n*2\r\n#f\r\n_\r\n", "~2\r\n:1\r\n:2\r\n", ">2\r\n+a\r\n+b\r\n",
		"*2\r\n|1\r\n+ttl\r\n:3\r\n:1\r\n:2\r\n", "|1\r\n+a\r\n%1\r\n+x\r\n+y\r\n+OK\r\n", "%0\r\n", "*1\r\n*1\r\n*1\r\n*0\r\n",
	}
	for _, reply := range tests {
		for size := 1; size <= len(reply); size++ {
			var w walker
			w.start(1, maxBulk)
			rest, pending := []byte(reply+"+next\r\n"), []byte(nil)
			for w.open() {
				n := min(size, len(rest))
				pending, rest = append(pending, rest[:n]...), rest[n:]
				took, err := w.walk(pending)
				if err != nil || n == 0 {
					t.Fatalf("%q in pieces of %d: %v", reply, size, err)
				}
				pending = pending[took:]
			}
			if left := append(bytes.Clone(pending), rest...); string(left) != "+next\r\n" {
				t.Errorf("%q in pieces of %d: left %q", reply, size, left)
			}
		}
	}
}
