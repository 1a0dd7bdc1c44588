package cli

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"
)

func TestTailFilter(t *testing.T) {
	const order = `{"type": "order" , "user":{"id":42,"name":"Zoë"}, "paid":true,"note":null,"":"e","sum":1.50,"tags":["a"]}`
	for _, tt := range []struct {
		comment, filter, payload string
		want                     bool
	}{
		{"a text in the payload", "ord", order, true},
		{"a text that is missing", "Order", order, false},
		{"a text with =", "a=b", "x a=b y", true},
		{"a text in a payload that is not JSON", "lo", "hello", true},
		{"a text in a payload that is not UTF-8", "lo", "hel\xfflo", true},
		{"a field", ".type=order", order, true},
		{"another value", ".type=orde", order, false},
		{"a field in an object", ".user.id=42", order, true},
		{"a value with =", ".q=a=b", `{"q":"a=b"}`, true},
		{"an empty value", ".q=", `{"q":""}`, true},
		{"letters that JSON escapes", ".user.name=Zoë", `{"user":{"name":"Zo\u00eb"}}`, true},
		{"true", ".paid=true", order, true},
		{"null", ".note=null", order, true},
		{"a number as it is written", ".sum=1.50", order, true},
		{"not another form of the number", ".sum=1.5", order, false},
		{"a text that looks like a number", ".user.id=42", `{"user":{"id":"42"}}`, true},
		{"names are compared exactly", ".Type=order", order, false},
		{"a field that is missing", ".color=red", order, false},
		{"a field of a list", ".tags.0=a", order, false},
		{"a field of a text", ".type.x=order", order, false},
		{"not JSON", ".type=order", "type=order", false},
		{"half of JSON", ".type=order", order[:len(order)-1], false},
		{"an empty payload", ".type=order", "", false},
	} {
		f, err := parseTailFilter(tt.filter)
		if err != nil || f.matches([]byte(tt.payload)) != tt.want {
			t.Errorf("%s: %q on %q is not %v (%v)", tt.comment, tt.filter, tt.payload, tt.want, err)
		}
	}
	for _, bad := range []string{"", ".", ".type", ".=x", "..a=x", ".a.=x", ".a..b=x"} {
		if _, err := parseTailFilter(bad); err == nil || !strings.Contains(err.Error(), ".field=value") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// All filters have to match.
func TestTailFilters(t *testing.T) {
	var f tailFilters
	if !f.match([]byte("x")) {
		t.Error("no filter matches nothing")
	}
	for _, text := range []string{".a=1", "b"} {
		if err := f.add(text); err != nil {
			t.Fatal(err)
		}
	}
	if f.match([]byte(`{"a":1}`)) || f.match([]byte("b")) || !f.match([]byte(`{"a":1,"b":2}`)) {
		t.Error("one filter is enough, or two are not")
	}
}

func FuzzTailFilter(f *testing.F) {
	f.Add(".a.b=1", []byte(`{"a":{"b":1}}`))
	f.Add("a", []byte("\xff"))
	f.Fuzz(func(t *testing.T, text string, payload []byte) {
		filter, err := parseTailFilter(text)
		if err != nil {
			return
		}
		if filter.matches(payload) && filter.path != nil && !json.Valid(payload) {
			t.Errorf("%q matches %q", text, payload)
		}
	})
}

// testPrinter returns a printer whose time stands still.
func testPrinter(asJSON, color bool) (p *tailPrinter, out, notes *bytes.Buffer) {
	out, notes = new(bytes.Buffer), new(bytes.Buffer)
	return &tailPrinter{
		out: out, notes: notes, asJSON: asJSON, colorOut: color, colorNotes: color,
		now: func() time.Time { return time.Date(2026, 11, 27, 10, 42, 13, 5e6, time.UTC) },
	}, out, notes
}

// The fields of each line, in both forms.
func TestTailLines(t *testing.T) {
	text, no, empty := "hi <b> & \u202e\u009b31m\x7f", false, ""
	for _, tt := range []struct {
		comment    string
		line       tailLine
		json, text string
	}{
		{
			"a message", tailLine{Type: "message", Channel: "chat", Cursor: "c1", Data: &text},
			`{"type":"message","time":"2026-11-27T10:42:13.005Z","channel":"chat","cursor":"c1","data":"hi <b> & \u202e\u009b31m\u007f"}`,
			`10:42:13.005  chat  c1  hi <b> & \u202e\u009b31m\x7f`,
		},
		{
			"an empty message", tailLine{Type: "message", Channel: "chat", Cursor: "c1", Data: &empty},
			`{"type":"message","time":"2026-11-27T10:42:13.005Z","channel":"chat","cursor":"c1","data":""}`,
			`10:42:13.005  chat  c1  `,
		},
		{
			"a resume that failed", tailLine{Type: "subscribed", Channel: "chat", Cursor: "c2", Recovered: &no},
			`{"type":"subscribed","time":"2026-11-27T10:42:13.005Z","channel":"chat","cursor":"c2","recovered":false}`, "",
		},
		{
			"a gap of all live channels", tailLine{Type: "gap", Reason: "redis"},
			`{"type":"gap","time":"2026-11-27T10:42:13.005Z","reason":"redis"}`, "",
		},
		{
			"a lost connection", tailLine{Type: "disconnected", Code: 1012},
			`{"type":"disconnected","time":"2026-11-27T10:42:13.005Z","code":1012}`, "",
		},
	} {
		payload := []byte(nil)
		if tt.line.Data != nil {
			payload = []byte(*tt.line.Data)
		}
		for _, asJSON := range []bool{true, false} {
			p, out, _ := testPrinter(asJSON, false)
			p.print(tt.line, payload)
			want := tt.json
			if !asJSON {
				want = tt.text
			}
			if got := strings.TrimSuffix(out.String(), "\n"); got != want {
				t.Errorf("%s, JSON %v:\n%s, want\n%s", tt.comment, asJSON, got, want)
			}
		}
	}
}

// Whatever the relay sends, no byte of it controls the terminal: the colors are
// the printer's own.
func TestTailEscapes(t *testing.T) {
	name := strings.ToValidUTF8(hostile, "\uFFFD") // JSON has no other bytes
	for _, asJSON := range []bool{true, false} {
		p, out, notes := testPrinter(asJSON, true)
		tail := newTailer("", nil, []string{name}, p, nil)
		tail.dead = time.NewTimer(time.Hour)
		for _, f := range []map[string]any{
			{"type": "subscribed", "channel": name, "cursor": name, "ref": 1},
			{"type": "message", "channel": name, "cursor": name, "data": name},
			{"type": "message", "channel": name, "base64": base64.StdEncoding.EncodeToString([]byte(hostile))},
			{"type": "gap", "channel": name, "reason": name},
			{"type": "gap", "reason": name},
			{"type": "offline", "reason": name},
			{"type": name},
		} {
			frame, err := json.Marshal(f)
			if err != nil {
				t.Fatal(err)
			}
			tail.receive(frame)
		}
		text := strings.NewReplacer("\x1b[2m", "", "\x1b[33m", "", "\x1b[36m", "", "\x1b[0m", "").Replace(out.String() + notes.String())
		if strings.ContainsAny(text, "\x1b\a\r\x7f\u009b\u202e") {
			t.Errorf("JSON %v: %q", asJSON, text)
		}
		if !asJSON && !strings.Contains(text, escaped) || asJSON && !strings.Contains(text, `\u001b]0;pwned\u0007`) {
			t.Errorf("JSON %v: the message is missing: %q", asJSON, text)
		}
	}
}

// Nothing has a color if the output is a file or a pipe.
func TestTailColors(t *testing.T) {
	p, out, notes := testPrinter(false, true)
	data := "hi"
	p.print(tailLine{Type: "message", Channel: "chat", Cursor: "c", Data: &data}, []byte(data))
	p.warn("gap")
	if want := "\x1b[2m10:42:13.005\x1b[0m  \x1b[36mchat\x1b[0m  \x1b[2mc\x1b[0m  hi\n"; out.String() != want {
		t.Errorf("%q, want %q", out, want)
	}
	if want := "\x1b[33m# gap\x1b[0m\n"; notes.String() != want {
		t.Errorf("%q, want %q", notes, want)
	}
	if p := newTailPrinter(&Program{Stdout: io.Discard, Stderr: io.Discard}, false); p.colorOut || p.colorNotes || !p.asJSON {
		t.Errorf("not a terminal: %+v", p)
	}
}

// If nobody reads the output any more, tail ends.
func TestTailOutputFails(t *testing.T) {
	p, _, _ := testPrinter(true, false)
	p.out = failingWriter{}
	p.print(tailLine{Type: "gap"}, nil)
	if p.failed == nil || !strings.Contains(p.failed.Error(), "writing the output: disk full") {
		t.Errorf("%v", p.failed)
	}
}

type failingWriter struct{}

func (failingWriter) Write([]byte) (int, error) { return 0, errors.New("disk full") }

// Whatever the relay sends, the tailer keeps a bounded number of channels.
func TestTailIsBounded(t *testing.T) {
	p, _, _ := testPrinter(true, false)
	tail := newTailer("", nil, []string{"chat", "chat"}, p, nil)
	tail.dead = time.NewTimer(time.Hour)
	for i := range 2 * maxUnnamed {
		tail.receive(fmt.Appendf(nil, `{"type":"subscribed","channel":"c%d","cursor":"x"}`, i))
	}
	if n := len(tail.channels); n != 1+maxUnnamed {
		t.Errorf("%d channels", n)
	}
}
