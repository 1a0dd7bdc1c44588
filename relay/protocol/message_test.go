package protocol

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"
)

// checkMessage checks the frame of a message.
func checkMessage(t *testing.T, p Protocol, channel string, payload, frame []byte) {
	t.Helper()
	if len(frame) != cap(frame) {
		t.Errorf("%s: a frame of %d bytes has the capacity %d", p.ID(), len(frame), cap(frame))
	}
	if p.ID().IsEventStream() {
		checkSSE(t, p, channel, payload, frame)
		return
	}
	header, body, rest := cutFrame(t, frame)
	if len(rest) > 0 {
		t.Fatalf("%s: %d bytes after the frame: %.40q", p.ID(), len(rest), rest)
	}
	op, text := Opcode(header[0]&0x0f), utf8.Valid(payload)
	if p.ID() == RawID {
		if !bytes.Equal(body, payload) || (op == OpText) != text || (op == OpBinary) == text {
			t.Fatalf("raw: %.80q became a frame of type %x with %.80q", payload, op, body)
		}
		return
	}
	if op != OpText || !utf8.Valid(body) {
		t.Fatalf("v1: a frame of type %x, valid UTF-8: %v", op, utf8.Valid(body))
	}
	if p.ID() == PusherID {
		checkPusher(t, channel, payload, body, text)
		return
	}
	checkV1(t, channel, payload, body, text)
}

// checkPusher checks the event of a payload, with a JSON decoder in place of
// [ParseEnvelope].
func checkPusher(t *testing.T, channel string, payload, body []byte, text bool) {
	t.Helper()
	var got struct {
		Event, Channel, Data string
		User                 string `json:"user_id"`
	}
	if err := json.Unmarshal(body, &got); err != nil {
		t.Fatalf("pusher: %.200q is not JSON: %v", body, err)
	}
	event, data := "message", string(payload)
	if !text {
		data = `{"base64":"` + base64.StdEncoding.EncodeToString(payload) + `"}`
	}
	var fields map[string]json.RawMessage
	if name := ""; text && json.Unmarshal(payload, &fields) == nil && isString(fields["event"]) && json.Unmarshal(fields["event"], &name) == nil {
		event, data = name, "null"
		if raw := fields["data"]; raw != nil {
			if data = string(raw); isString(raw) {
				_ = json.Unmarshal(raw, &data)
			}
		}
	}
	if got.Event != event || got.Channel != toValidUTF8(channel) || got.Data != data {
		t.Errorf("pusher: %.200q of %.200q on %q; want the event %q with %.200q", body, payload, channel, event, data)
	}
}

func isString(raw json.RawMessage) bool { return len(raw) > 0 && raw[0] == '"' }

func checkV1(t *testing.T, channel string, payload, body []byte, text bool) {
	t.Helper()
	var fields map[string]string
	if err := json.Unmarshal(body, &fields); err != nil {
		t.Fatalf("v1: %.200q is not JSON: %v", body, err)
	}
	want := map[string]string{"type": "message", "channel": toValidUTF8(channel)}
	if text {
		want["data"] = string(payload)
	} else {
		want["base64"] = base64.StdEncoding.EncodeToString(payload)
	}
	if len(fields) != len(want) {
		t.Errorf("v1: %d fields in %.200q, want %d", len(fields), body, len(want))
	}
	for name, value := range want {
		if got, found := fields[name]; got != value || !found {
			t.Errorf("v1: %s is %.200q, want %.200q", name, got, value)
		}
	}
}

// toValidUTF8 returns s as JSON can represent it: each byte that is not UTF-8
// becomes U+FFFD.
func toValidUTF8(s string) string { return string([]rune(s)) }

// FuzzMessage checks that every payload, on every channel name, valid or not,
// is delivered unchanged.
func FuzzMessage(f *testing.F) {
	for _, m := range messages {
		if len(m.payload) < 1000 {
			f.Add(m.channel, []byte(m.payload))
		}
	}
	f.Add("", []byte("an invalid name"))
	f.Add("a\xffb\xc3", []byte("a name that is not UTF-8"))
	f.Add("\xed\xa0\x80", []byte("a surrogate as a name"))
	f.Add("chat", []byte("\xf4\x90\x80\x80")) // above the highest code point
	f.Fuzz(func(t *testing.T, channel string, payload []byte) {
		before := bytes.Clone(payload)
		for _, p := range All() {
			checkMessage(t, p, channel, payload, p.Message(channel, nil, payload))
		}
		if !bytes.Equal(before, payload) {
			t.Error("Message changed the payload")
		}
	})
}

// sizes returns all small sizes, those at which the header becomes longer, and
// every step-th one up to 70,000.
func sizes(step int) (list []int) {
	for n := 0; n <= 70_000; {
		list = append(list, n)
		if n < 300 || n > 65_535-v1Overhead-20 && n < 65_535+20 || n >= 65_535/6-20 && n < 65_535/6+20 {
			n++
		} else {
			n += step
		}
	}
	return list
}

// fillings are the contents of payloads: plain, six bytes for one, two bytes
// for one, and not UTF-8.
var fillings = map[string]string{"ASCII": "x", "controls": "\x01", "characters of two bytes": "é", "not UTF-8": "\xff", "lines": "\n"}

// TestMessageOfEverySize checks that frames of all sizes are complete and have
// no spare capacity.
func TestMessageOfEverySize(t *testing.T) {
	for what, filling := range fillings {
		t.Run(what, func(t *testing.T) {
			buffer := bytes.Repeat([]byte(filling), 70_000/len(filling)+1)
			for _, n := range sizes(997) {
				for _, p := range All() {
					checkMessage(t, p, "chat", buffer[:n], p.Message("chat", nil, buffer[:n]))
				}
			}
		})
	}
}

// TestMessageAllocatesOnce checks that encoding a message needs one allocation,
// whatever its size and content. All clients share the frame.
func TestMessageAllocatesOnce(t *testing.T) {
	var sink []byte
	for what, filling := range fillings {
		buffer := bytes.Repeat([]byte(filling), 70_000/len(filling)+1)
		for _, n := range sizes(4999) {
			for _, p := range All() {
				if got := testing.AllocsPerRun(20, func() { sink = p.Message("räume:42", cursorBytes, buffer[:n]) }); got != 1 {
					t.Fatalf("%s: %d bytes of %s need %v allocations, want 1", p.ID(), n, what, got)
				}
			}
		}
	}
	_ = sink
}

// TestQuotedSize checks that quotedSize agrees with appendQuoted for every
// byte: the header is written before the payload.
func TestQuotedSize(t *testing.T) {
	for c := range 256 {
		s := "a" + string([]byte{byte(c)}) + "z"
		if !utf8.ValidString(s) {
			continue
		}
		if got, want := quotedSize(s), len(appendQuoted(nil, s)); got != want {
			t.Errorf("byte %#x: quotedSize = %d, but %d bytes are written", c, got, want)
		}
	}
	long := strings.Repeat("é\u2028👍\n\"", 1000)
	if got, want := quotedSize([]byte(long)), len(appendQuoted(nil, []byte(long))); got != want {
		t.Errorf("quotedSize = %d, but %d bytes are written", got, want)
	}
}

var cursorBytes = []byte(testCursor)

func BenchmarkMessage(b *testing.B) {
	payload := bytes.Repeat([]byte("x"), 128)
	for _, p := range All() {
		b.Run(p.ID().String(), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_ = p.Message("chat:42", cursorBytes, payload)
			}
		})
	}
}
