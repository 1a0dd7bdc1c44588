package protocol

import (
	"crypto/sha256"
	"encoding/binary"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files")

// A goldenCase is one frame or several, and their title in the golden file.
type goldenCase struct {
	why   string
	frame []byte
}

// checkGolden compares frames with testdata/name.golden, byte for byte.
func checkGolden(t *testing.T, name string, format func(*testing.T, []byte) string, cases []goldenCase) {
	t.Helper()
	var b strings.Builder
	for _, w := range cases {
		fmt.Fprintf(&b, "# %s\n%s\n", w.why, format(t, w.frame))
	}
	path := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	got, wanted := strings.Split(b.String(), "\n"), strings.Split(string(want), "\n")
	for i := range max(len(got), len(wanted)) {
		if i >= len(got) || i >= len(wanted) || got[i] != wanted[i] {
			t.Fatalf("%s, line %d: the wire format has changed; if that is intended, run go test -update\n got %s\nwant %s",
				path, i+1, lineAt(got, i), lineAt(wanted, i))
		}
	}
}

func lineAt(lines []string, i int) string {
	if i < len(lines) {
		return lines[i]
	}
	return "(nothing)"
}

// formatFrames returns one line for each frame: the header in hex, and the
// payload as text, or quoted if it is not printable. The code of a close frame
// is shown in decimal. A long payload is shown as its ends and its checksum.
func formatFrames(t *testing.T, frames []byte) string {
	t.Helper()
	if frames == nil {
		return "(nothing)\n"
	}
	var b strings.Builder
	for len(frames) > 0 {
		header, payload, rest := cutFrame(t, frames)
		fmt.Fprintf(&b, "% x |", header)
		if Opcode(header[0]&0x0f) == OpClose && len(payload) >= 2 {
			fmt.Fprintf(&b, " %d", binary.BigEndian.Uint16(payload))
			payload = payload[2:]
		}
		fmt.Fprintf(&b, " %s\n", formatPayload(payload))
		frames = rest
	}
	return b.String()
}

// formatBlocks returns the lines of the blocks of an event stream, and checks
// that the last block is complete.
func formatBlocks(t *testing.T, blocks []byte) string {
	t.Helper()
	if blocks == nil {
		return "(nothing)\n"
	}
	text, complete := strings.CutSuffix(string(blocks), "\n\n")
	if !complete {
		t.Fatalf("%.80q does not end with an empty line", blocks)
	}
	var b strings.Builder
	for line := range strings.SplitSeq(text, "\n") {
		fmt.Fprintf(&b, "| %s\n", formatPayload([]byte(line)))
	}
	return b.String()
}

func formatPayload(payload []byte) string {
	const long = 400
	switch s := string(payload); {
	case len(s) > long:
		return fmt.Sprintf("%s ... %s (%d bytes, sha256 %x)",
			formatPayload(payload[:60]), formatPayload(payload[len(s)-20:]), len(s), sha256.Sum256(payload))
	case strconv.CanBackquote(s) && !strings.ContainsFunc(s, func(r rune) bool { return !strconv.IsPrint(r) }):
		return "`" + s + "`"
	default:
		return strconv.Quote(s)
	}
}

// cutFrame returns the parts of the first of several frames, and checks that it
// is complete, final, unmasked, and has a length in its shortest form.
func cutFrame(t testing.TB, b []byte) (header, payload, rest []byte) {
	t.Helper()
	if len(b) < 2 || b[0]&0xf0 != 0x80 || b[1]&0x80 != 0 {
		t.Fatalf("% x does not begin a frame", b[:min(len(b), 4)])
	}
	size, n := 2, uint64(b[1])
	switch {
	case n == 126 && len(b) >= 4:
		size, n = 4, uint64(binary.BigEndian.Uint16(b[2:]))
		if n < 126 {
			t.Fatalf("length %d is not in its shortest form", n)
		}
	case n == 127 && len(b) >= 10:
		size, n = 10, binary.BigEndian.Uint64(b[2:])
		if n <= 0xffff {
			t.Fatalf("length %d is not in its shortest form", n)
		}
	}
	if uint64(len(b)-size) < n {
		t.Fatalf("the header announces %d bytes, but %d follow", n, len(b)-size)
	}
	return b[:size], b[size : size+int(n)], b[size+int(n):]
}

// v1Overhead is the number of bytes that v1 adds to a payload on a channel with
// a name of one byte.
const v1Overhead = len(`{"type":"message","channel":"c","data":""}`)

// testCursor is a cursor in its wire form.
const testCursor = "AWXZQwIBAgMEBQYHCCqqu8zd"

// messages are messages that every protocol must encode. messages are messages
// that every protocol must encode.
var messages = []struct{ why, channel, payload string }{
	{"a message", "chat", "hello"},
	{"the empty payload", "chat", ""},
	{"a JSON payload", "order:7", `{"total":9.50,"items":["a","b"]}`},
	{"other scripts, emoji, combining characters", "räume/✓ 1", "привет 日本 e\u0301 👍🏽"},
	{"a name with quotes and backslashes", `a"b\c`, "x"},
	{"controls: tab, line feed and carriage return have short escapes", "chat", "\x00\x01\b\t\n\v\f\r\x1b\x1f\x7f"},
	{"markup is not escaped", "chat", "<script>alert('&')</script>"},
	{"line separators are not escaped", "chat", "\u2028\u2029"},
	{"the replacement character itself", "chat", "\ufffd"},
	{"not UTF-8: an invalid byte", "chat", "\xff"},
	{"not UTF-8: truncated inside a character", "chat", "caf\xc3"},
	{"not UTF-8: a surrogate", "chat", "\xed\xa0\x80"},
	{"every byte", "chat", everyByte()},
	{"lines", "chat", "one\ntwo\n\n four"},
	{"line feeds only, which an event stream must not drop", "chat", "\n\n"},
	{"lines that look like fields of an event stream", "chat", "id: x\nevent: close\n\ndata: y\n: z"},
	{"a line that ends with a carriage return", "chat", "one\r\ntwo"},
	{"a byte order mark and blanks at both ends", "chat", "\ufeff  x  "},
	{"the longest frame with a header of 2 bytes in v1", "c", strings.Repeat("x", 125-v1Overhead)},
	{"one byte more", "c", strings.Repeat("x", 126-v1Overhead)},
	{"the longest frame with a header of 2 bytes in raw", "c", strings.Repeat("x", 125)},
	{"one byte more", "c", strings.Repeat("x", 126)},
	{"the longest frame with a header of 4 bytes in v1", "c", strings.Repeat("x", 65535-v1Overhead)},
	{"one byte more", "c", strings.Repeat("x", 65536-v1Overhead)},
	{"the longest frame with a header of 4 bytes in raw", "c", strings.Repeat("x", 65535)},
	{"one byte more", "c", strings.Repeat("x", 65536)},
	{"1 MiB", "c", strings.Repeat("0123456789abcdef", 1<<16)},
}

func everyByte() string {
	b := make([]byte, 256)
	for i := range b {
		b[i] = byte(i)
	}
	return string(b)
}

// events returns every event, with and without its optional fields.
// events returns every event, with and without its optional fields.
func events() (list []struct {
	why   string
	event Event
}) {
	add := func(why string, e Event) {
		list = append(list, struct {
			why   string
			event Event
		}{why, e})
	}
	number, text := []byte("7"), []byte(`"r-1\u0041"`)
	add("welcome", Event{Type: EventWelcome, Session: "ABCDEFGHIJKLMNOPQRST", Heartbeat: 25})
	add("welcome of a user while Redis is unavailable",
		Event{Type: EventWelcome, Session: "S", User: `4"2`, Heartbeat: 1, Offline: true})
	add("subscribed", Event{Type: EventSubscribed, Channel: "chat"})
	add("subscribed, nothing was missed", Event{Type: EventSubscribed, Channel: "chat", Recovered: true, Ref: number})
	add("subscribed, something was missed", Event{Type: EventSubscribed, Channel: "chat", Resumed: true, Cursor: []byte(testCursor)})
	add("subscribed, something was missed, without a cursor", Event{Type: EventSubscribed, Channel: "chat", Resumed: true})
	add("subscribed, nothing was missed, with a cursor",
		Event{Type: EventSubscribed, Channel: "chat", Resumed: true, Recovered: true, Cursor: []byte(testCursor)})
	add("subscribed, with a cursor", Event{Type: EventSubscribed, Channel: "chat", Cursor: []byte(testCursor), Ref: number})
	add("subscribed, to a durable channel",
		Event{Type: EventSubscribed, Channel: "order:7", Durable: true, Cursor: []byte(testCursor)})
	add("subscribed, with time to spread the load",
		Event{Type: EventSubscribed, Channel: "chat", Cursor: []byte(testCursor), Spread: 30_000, Ref: number})
	add("unsubscribed", Event{Type: EventUnsubscribed, Channel: "räume\\1"})
	add("unsubscribed, with a ref as the client wrote it", Event{Type: EventUnsubscribed, Channel: "chat", Ref: text})
	for _, reason := range []EndReason{EndExpired, EndRevoked, EndControl} {
		add("unsubscribed: "+reason.String(), Event{Type: EventUnsubscribed, Channel: "chat", Ended: reason})
	}
	for _, reason := range GapReasons() {
		add("gap on all channels: "+reason.String(), Event{Type: EventGap, Reason: reason})
		add("gap on a channel: "+reason.String(), Event{Type: EventGap, Channel: "chat", Reason: reason})
	}
	add("gap with a cursor", Event{Type: EventGap, Channel: "chat", Reason: GapTooLarge, Cursor: []byte(testCursor)})
	add("gap with time to spread the load", Event{Type: EventGap, Reason: GapRedis, Spread: 6})
	const members = `[{"user":"42","info":{"name":"Ann"}},{"user":"7"}]`
	add("subscribed with members", Event{Type: EventSubscribed, Channel: "chat", Members: []byte(members), Count: 2})
	add("subscribed with the number of members", Event{Type: EventSubscribed, Channel: "chat", Recovered: true, Count: 5000, Ref: number})
	add("a member joins", Event{Type: EventJoin, Channel: "chat", User: "42", Info: []byte(`{"name":"Ann"}`), Count: 3})
	add("a member without info joins", Event{Type: EventJoin, Channel: "chat", User: "a\"b", Count: 3})
	add("a member leaves", Event{Type: EventLeave, Channel: "chat", User: "42", Count: 2})
	add("all members", Event{Type: EventMembers, Channel: "chat", Members: []byte(members), Count: 2})
	add("no members", Event{Type: EventMembers, Channel: "chat", Members: []byte("[]")})
	add("many members", Event{Type: EventMembers, Channel: "chat", Count: 5000})
	add("signed in", Event{Type: EventSignedIn, UserData: `{"id":"42"}`})
	add("cache miss", Event{Type: EventCacheMiss, Channel: "cache-chat"})
	add("subscription count", Event{Type: EventSubscriptionCount, Channel: "chat", Count: 12})
	add("heartbeat", Event{Type: EventHeartbeat})
	add("heartbeat with a cursor", Event{Type: EventHeartbeat, Cursor: []byte(testCursor)})
	add("offline", Event{Type: EventOffline})
	add("pong", Event{Type: EventPong})
	add("pong with a ref", Event{Type: EventPong, Ref: []byte("-1.5e3")})
	add("ok", Event{Type: EventOK, Ref: number})
	for _, code := range Codes() {
		if code != CodeOK {
			add("error: "+code.String(), Event{Type: EventError, Code: code})
		}
	}
	add("error with a message of its own", Event{Type: EventError, Code: CodeBadRequest, Message: "data must be a string"})
	add("error with all fields",
		Event{Type: EventError, Code: CodeForbidden, Channel: "a\x00\u2028", Ref: text})
	return list
}

// TestGolden checks every byte of the frames that each protocol can send.
func TestGolden(t *testing.T) {
	for _, p := range All() {
		t.Run(p.ID().String(), func(t *testing.T) {
			var cases []goldenCase
			for _, m := range messages {
				cases = append(cases, goldenCase{m.why, p.Message(m.channel, nil, []byte(m.payload))})
			}
			cases = append(cases,
				goldenCase{"with a cursor", p.Message("chat", []byte(testCursor), []byte("hello"))},
				goldenCase{"not UTF-8, with a cursor", p.Message("chat", []byte(testCursor), []byte("\xff"))})
			for _, e := range events() {
				cases = append(cases, goldenCase{e.why, p.Event(e.event)})
			}
			cases = append(cases,
				goldenCase{"ping", p.Ping(nil)},
				goldenCase{"ping with a cursor", p.Ping([]byte(testCursor))})
			for _, code := range CloseSlots() {
				if code != 0 && code != CloseAbnormal {
					cases = append(cases, goldenCase{"close", p.Close(code)})
				}
			}
			for _, why := range CloseReasons() {
				cases = append(cases, goldenCase{"close with another reason", p.Close(ClosePolicy.Because(why))})
			}
			cases = append(cases, goldenCase{"close with a code of the client", p.Close(4999)})
			format := formatFrames
			if p.ID().IsEventStream() {
				format = formatBlocks
			}
			checkGolden(t, p.ID().String(), format, cases)
		})
	}
}

// TestGoldenHasEveryEvent checks that the golden files have every type of event.
func TestGoldenHasEveryEvent(t *testing.T) {
	seen := map[EventType]bool{}
	for _, e := range events() {
		seen[e.event.Type] = true
	}
	for kind := EventWelcome; kind <= EventSubscriptionCount; kind++ {
		if !seen[kind] {
			t.Errorf("event %d is missing in the golden files", kind)
		}
	}
	if frame := (V1{}).Event(Event{Type: EventSubscriptionCount + 1}); string(frame[2:]) != "}" {
		t.Errorf("there is an event after EventSubscriptionCount that is missing in the golden files: %q", frame)
	}
}

// TestSharedFramesHaveNoCapacity checks that frames that clients share have no
// spare capacity: an append for one client would change the bytes that another
// one is sent.
func TestSharedFramesHaveNoCapacity(t *testing.T) {
	for _, p := range All() {
		frames := map[string][]byte{"ping": p.Ping(nil), "ping with a cursor": p.Ping([]byte(testCursor))}
		for _, code := range CloseSlots() {
			frames[fmt.Sprintf("close %d", code)] = p.Close(code)
		}
		for what, frame := range frames {
			if len(frame) != cap(frame) {
				t.Errorf("%s: the frame for %s has %d bytes and the capacity %d", p.ID(), what, len(frame), cap(frame))
			}
		}
	}
}
