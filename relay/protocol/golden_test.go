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

var update = flag.Bool("update", false, "write the golden files anew")

// A wire is one thing that a protocol says, and why it stands in the golden file.
type wire struct {
	why   string
	frame []byte
}

// golden compares what a protocol says with testdata/name.golden, byte for byte.
func golden(t *testing.T, name string, wires []wire) {
	t.Helper()
	var b strings.Builder
	for _, w := range wires {
		fmt.Fprintf(&b, "# %s\n%s\n", w.why, readable(t, w.frame))
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
			t.Fatalf("%s, line %d: the wire format has changed; go test -update writes it anew\n got %s\nwant %s",
				path, i+1, line(got, i), line(wanted, i))
		}
	}
}

func line(lines []string, i int) string {
	if i < len(lines) {
		return lines[i]
	}
	return "(nothing)"
}

// readable writes frames one below the other: the header in hex, the payload as text or, where that is no text, quoted. A
// close frame's code is part of its payload and shown in decimal. Long payloads are shown by their ends and their sum.
func readable(t *testing.T, frames []byte) string {
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
		fmt.Fprintf(&b, " %s\n", quoted(payload))
		frames = rest
	}
	return b.String()
}

func quoted(payload []byte) string {
	const long = 400
	switch s := string(payload); {
	case len(s) > long:
		return fmt.Sprintf("%s ... %s (%d bytes, sha256 %x)",
			quoted(payload[:60]), quoted(payload[len(s)-20:]), len(s), sha256.Sum256(payload))
	case strconv.CanBackquote(s) && !strings.ContainsFunc(s, func(r rune) bool { return !strconv.IsPrint(r) }):
		return "`" + s + "`"
	default:
		return strconv.Quote(s)
	}
}

// cutFrame reads the first of several frames: whole, final, unmasked, and with its length in the shortest form.
func cutFrame(t testing.TB, b []byte) (header, payload, rest []byte) {
	t.Helper()
	if len(b) < 2 || b[0]&0xf0 != 0x80 || b[1]&0x80 != 0 {
		t.Fatalf("no frame begins with % x", b[:min(len(b), 4)])
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
		t.Fatalf("the header promises %d bytes and %d follow", n, len(b)-size)
	}
	return b[:size], b[size : size+int(n)], b[size+int(n):]
}

// v1Overhead is what v1 puts around a payload on a channel whose name is one letter.
const v1Overhead = len(`{"type":"message","channel":"c","data":""}`)

// cursor is one as it stands on the wire.
const cursor = "AWXZQwIBAgMEBQYHCCqqu8zd"

// messages that every protocol has to carry.
var messages = []struct{ why, channel, payload string }{
	{"a message", "chat", "hello"},
	{"the empty payload", "chat", ""},
	{"JSON is a payload like any other", "order:7", `{"total":9.50,"items":["a","b"]}`},
	{"other scripts, emoji, combining letters", "räume/✓ 1", "привет 日本 e\u0301 👍🏽"},
	{"a name with quotes and backslashes", `a"b\c`, "x"},
	{"controls: tab, line feed and carriage return have escapes of their own", "chat", "\x00\x01\b\t\n\v\f\r\x1b\x1f\x7f"},
	{"markup is left alone", "chat", "<script>alert('&')</script>"},
	{"line separators are left alone", "chat", "\u2028\u2029"},
	{"the replacement character itself", "chat", "\ufffd"},
	{"not UTF-8: a byte that begins nothing", "chat", "\xff"},
	{"not UTF-8: cut inside a letter", "chat", "caf\xc3"},
	{"not UTF-8: a surrogate", "chat", "\xed\xa0\x80"},
	{"every byte there is", "chat", everyByte()},
	{"the most that a header of 2 bytes tells in v1", "c", strings.Repeat("x", 125-v1Overhead)},
	{"one byte more", "c", strings.Repeat("x", 126-v1Overhead)},
	{"the most that a header of 2 bytes tells in raw", "c", strings.Repeat("x", 125)},
	{"one byte more", "c", strings.Repeat("x", 126)},
	{"the most that a header of 4 bytes tells in v1", "c", strings.Repeat("x", 65535-v1Overhead)},
	{"one byte more", "c", strings.Repeat("x", 65536-v1Overhead)},
	{"the most that a header of 4 bytes tells in raw", "c", strings.Repeat("x", 65535)},
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

// events are all that the relay has to say beside messages, each with and without what is optional.
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
	add("welcome of a user while Redis is away",
		Event{Type: EventWelcome, Session: "S", User: `4"2`, Heartbeat: 1, Offline: true})
	add("subscribed", Event{Type: EventSubscribed, Channel: "chat"})
	add("subscribed, nothing was missed", Event{Type: EventSubscribed, Channel: "chat", Recovered: true, Ref: number})
	add("subscribed, with a cursor", Event{Type: EventSubscribed, Channel: "chat", Cursor: []byte(cursor), Ref: number})
	add("unsubscribed", Event{Type: EventUnsubscribed, Channel: "räume\\1"})
	add("unsubscribed, a ref comes back as it was written", Event{Type: EventUnsubscribed, Channel: "chat", Ref: text})
	for _, reason := range GapReasons() {
		add("gap everywhere: "+reason.String(), Event{Type: EventGap, Reason: reason})
		add("gap on a channel: "+reason.String(), Event{Type: EventGap, Channel: "chat", Reason: reason})
	}
	add("gap with a cursor", Event{Type: EventGap, Channel: "chat", Reason: GapTooLarge, Cursor: []byte(cursor)})
	add("heartbeat", Event{Type: EventHeartbeat})
	add("heartbeat with a place to come back to", Event{Type: EventHeartbeat, Cursor: []byte(cursor)})
	add("offline", Event{Type: EventOffline})
	add("pong", Event{Type: EventPong})
	add("pong with a ref", Event{Type: EventPong, Ref: []byte("-1.5e3")})
	add("ok", Event{Type: EventOK, Ref: number})
	for _, code := range Codes() {
		if code != CodeOK {
			add("error: "+code.String(), Event{Type: EventError, Code: code})
		}
	}
	add("error with all it can have",
		Event{Type: EventError, Code: CodeForbidden, Channel: "a\x00\u2028", Ref: text})
	return list
}

// Everything that each protocol can say has these bytes.
func TestGolden(t *testing.T) {
	for _, p := range All() {
		t.Run(p.ID().String(), func(t *testing.T) {
			var wires []wire
			for _, m := range messages {
				wires = append(wires, wire{m.why, p.Message(m.channel, nil, []byte(m.payload))})
			}
			wires = append(wires,
				wire{"with a cursor", p.Message("chat", []byte(cursor), []byte("hello"))},
				wire{"not UTF-8, with a cursor", p.Message("chat", []byte(cursor), []byte("\xff"))})
			for _, e := range events() {
				wires = append(wires, wire{e.why, p.Event(e.event)})
			}
			wires = append(wires,
				wire{"what keeps the connection alive", p.Ping(nil)},
				wire{"the same, with a place to come back to", p.Ping([]byte(cursor))})
			for _, code := range CloseSlots() {
				if code != 0 && code != CloseAbnormal {
					wires = append(wires, wire{"close", p.Close(code)})
				}
			}
			wires = append(wires, wire{"close with a client's own code", p.Close(4999)})
			golden(t, p.ID().String(), wires)
		})
	}
}

// No event is missing from the golden files.
func TestGoldenHasEveryEvent(t *testing.T) {
	seen := map[EventType]bool{}
	for _, e := range events() {
		seen[e.event.Type] = true
	}
	for kind := EventWelcome; kind <= EventHeartbeat; kind++ {
		if !seen[kind] {
			t.Errorf("event %d is not in the golden files", kind)
		}
	}
	if frame := (V1{}).Event(Event{Type: EventHeartbeat + 1}); string(frame[2:]) != "}" {
		t.Errorf("there is an event after EventHeartbeat, which the golden files do not have: %q", frame)
	}
}

// Frames that all clients share must not grow: an append by one client would write into what another is sent.
func TestSharedFramesHaveNoRoom(t *testing.T) {
	for _, p := range All() {
		frames := map[string][]byte{"ping": p.Ping(nil), "ping with a place": p.Ping([]byte(cursor))}
		for _, code := range CloseSlots() {
			frames[fmt.Sprintf("close %d", code)] = p.Close(code)
		}
		for what, frame := range frames {
			if len(frame) != cap(frame) {
				t.Errorf("%s: the frame for %s has %d bytes and room for %d", p.ID(), what, len(frame), cap(frame))
			}
		}
	}
}
