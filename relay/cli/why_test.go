package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sidecast/relay/why"
)

// cet is a time zone with summer time.
func cet(t *testing.T) *time.Location {
	zone, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Skip(err)
	}
	return zone
}

// A time is read as people write it, in the time zone of the command.
func TestParseAt(t *testing.T) {
	zone := cet(t)
	now := time.Date(2026, 3, 9, 10, 42, 20, 0, zone)
	for _, tt := range []struct{ comment, text, want string }{
		{"today", "10:42:13", "2026-03-09T10:42:13+01:00"},
		{"now", "10:42:20", "2026-03-09T10:42:20+01:00"},
		{"not that late yet: yesterday", "10:42:21", "2026-03-08T10:42:21+01:00"},
		{"midnight", "00:00:00", "2026-03-09T00:00:00+01:00"},
		{"with milliseconds, as in a log", "10:42:13.120", "2026-03-09T10:42:13.12+01:00"},
		{"RFC 3339", "2026-03-09T09:42:13Z", "2026-03-09T10:42:13+01:00"},
		{"RFC 3339 in another zone, with a fraction", "2026-03-09T04:42:13.5-05:00", "2026-03-09T10:42:13.5+01:00"},
		{"milliseconds since 1970", "1773049333000", "2026-03-09T10:42:13+01:00"},

		{"nothing", "", ""},
		{"minutes only", "10:42", ""},
		{"no such time", "25:00:00", ""},
		{"seconds since 1970", "1773049333", ""},
		{"microseconds since 1970", "1773049333000000", ""},
		{"a date", "2026-03-09", ""},
		{"no time zone", "2026-03-09T10:42:13", ""},
		{"a word", "now", ""},
		{"the future", "2026-03-09T10:42:21+01:00", ""},
	} {
		t.Run(tt.comment, func(t *testing.T) {
			at, err := parseAt(tt.text, now)
			var usage usageError
			switch {
			case tt.want == "" && !errors.As(err, &usage):
				t.Errorf("%q is %v, %v, want an error of usage", tt.text, at, err)
			case tt.want != "" && (err != nil || at.Format(time.RFC3339Nano) != tt.want):
				t.Errorf("%q is %v, %v, want %s", tt.text, at, err, tt.want)
			}
		})
	}
	first := time.Date(2026, 3, 30, 0, 30, 0, 0, zone) // after the clocks were put forward
	if at, err := parseAt("23:00:00", first); err != nil || at.Format(time.RFC3339) != "2026-03-29T23:00:00+02:00" {
		t.Errorf("the evening before is %v, %v", at, err)
	}
}

// runWhy runs the command, and returns its output and its exit code.
func runWhy(t *testing.T, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	var out, notes bytes.Buffer
	code = Main(t.Context(), Program{Stdin: strings.NewReader(""), Stdout: &out, Stderr: &notes}, append([]string{"why"}, args...))
	return out.String(), notes.String(), code
}

// Mistakes in the options exit with 2 and say how the command is used.
func TestWhyUsage(t *testing.T) {
	for want, args := range map[string]string{
		"--channel is missing":    "--at 10:42:13",
		"--at is missing":         "--channel chat",
		"too many arguments":      "--channel chat --at 10:42:13 chat",
		"exclude each other":      "--channel chat --at 10:42:13 --file box --relay 10.0.0.5:9190",
		"--for: write a duration": "--channel chat --at 10:42:13 --for 2h",
		"is not a time":           "--channel chat --at soon",
		"invalid value \"ten\"":   "--channel chat --at 10:42:13 --for ten",
		"write it like http://":   "--channel chat --at 10:42:13 --relay ftp://10.0.0.5",
		"the token is in":         "--channel chat --at 10:42:13 --relay http://user:pw@10.0.0.5:9190",
	} {
		if _, notes, code := runWhy(t, strings.Fields(args)...); code != 2 || !strings.Contains(notes, want) || strings.Contains(notes, "pw") {
			t.Errorf("%s: exit code %d, %s", args, code, notes)
		}
	}
}

// A file that is no black box is a failure that says which file is meant.
func TestWhyFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notes")
	if err := os.WriteFile(path, []byte("notes"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{path, path + ".missing"} {
		_, notes, code := runWhy(t, "--channel", "chat", "--at", "10:42:13", "--file", file)
		if code != 1 || !strings.Contains(notes, "SIDECAST_BLACKBOX_FILE") {
			t.Errorf("%s: exit code %d, %s", file, code, notes)
		}
	}
}

// answeringRelay is a server that answers every question with text.
func answeringRelay(t *testing.T, status int, kind, text string) (url string) {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", kind)
		w.Header().Set("Location", "http://127.0.0.1:1/")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, text)
	}))
	t.Cleanup(server.Close)
	return server.URL
}

const ndjson = "application/x-ndjson"

// The question reaches the relay with the token.
func TestWhyAsks(t *testing.T) {
	var got *http.Request
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r
		w.Header().Set("Content-Type", ndjson)
	}))
	defer server.Close()
	t.Setenv("SIDECAST_ADMIN_TOKEN", "correct horse battery")
	_, notes, code := runWhy(t, "--channel", "a&b \x01", "--at", "1773049333000", "--user", "4 2", "--session", "S", "--for", "10s",
		"--relay", server.URL)
	if code != 0 {
		t.Fatalf("exit code %d, %s", code, notes)
	}
	want := url.Values{"channel": {"a&b \x01"}, "user": {"4 2"}, "session": {"S"}, "from": {"1773049331000"}, "to": {"1773049343000"}}
	query := got.URL.Query()
	query.Del("zone")
	if query.Encode() != want.Encode() || got.URL.Path != "/why" || got.Header.Get("Authorization") != "Bearer correct horse battery" {
		t.Errorf("the request is %v %v", got.URL, got.Header)
	}
}

// A relay that does not answer is a failure that says why, and what to do.
func TestWhyNoAnswer(t *testing.T) {
	for _, tt := range []struct{ comment, relay, want string }{
		{"nobody listens", "http://127.0.0.1:1", "name the admin listener"},
		{"no token", answeringRelay(t, 401, "text/plain; charset=utf-8", "set SIDECAST_ADMIN_TOKEN\n"), "401 Unauthorized: set SIDECAST_ADMIN_TOKEN"},
		{"another server", answeringRelay(t, 404, "text/html", "<h1>"), "is this the admin listener"},
		{"another server that answers 200", answeringRelay(t, 200, "text/html", "<h1>"), "does not answer like a relay"},
		{"a redirect, which could get the token", answeringRelay(t, 302, "text/plain", "elsewhere"), "302 Found: elsewhere"},
		{"hostile text", answeringRelay(t, 503, "text/plain", "\x1b[2Jbusy"), `\x1b[2Jbusy`},
		{"half an answer", answeringRelay(t, 200, ndjson, `{"result":"sent"}`+"\n"+`{"resu`), "breaks off"},
	} {
		t.Run(tt.comment, func(t *testing.T) {
			out, notes, code := runWhy(t, "--channel", "chat", "--at", "10:42:13", "--relay", tt.relay)
			if code != 1 || out != "" || !strings.Contains(notes, tt.want) || !strings.Contains(notes, tt.relay) {
				t.Errorf("exit code %d, %q, %q", code, out, notes)
			}
		})
	}
}

// The address of the relay is not the advice against an answer of the relay.
func TestWhyRefused(t *testing.T) {
	for _, tt := range []struct {
		comment string
		status  int
		want    string // the end of the message
	}{
		{"no records", http.StatusConflict, ": the relay's reason\n"},
		{"no token", http.StatusUnauthorized, "; set SIDECAST_ADMIN_TOKEN for this command, too, to the value of the relay\n"},
		{"a redirect, which is not of a relay", http.StatusFound, "; " + relayHint + "\n"},
	} {
		t.Run(tt.comment, func(t *testing.T) {
			relay := answeringRelay(t, tt.status, "text/plain", "the relay's reason")
			_, notes, code := runWhy(t, "--channel", "chat", "--at", "10:42:13", "--relay", relay)
			if code != 1 || !strings.HasSuffix(notes, tt.want) {
				t.Errorf("exit code %d, %q", code, notes)
			}
		})
	}
}

// Of several relays, one answer is enough: the others are named.
func TestWhySeveralRelays(t *testing.T) {
	good := answeringRelay(t, 200, ndjson, `{"channel":"chat","session":"S","result":"sent","text":"Sent at once."}`+"\n")
	args := []string{"--channel", "chat", "--at", "10:42:13", "--relay", good, "--relay", "http://127.0.0.1:1/"}
	out, _, code := runWhy(t, args...)
	if code != 0 || !strings.HasPrefix(out, "the relay at http://127.0.0.1:1 does not answer: ") ||
		!strings.Contains(out, "Relay "+good+":\n  sent        session S: Sent at once.\n") {
		t.Errorf("exit code %d, %s", code, out)
	}
	out, _, code = runWhy(t, append(args, "--json")...)
	lines := strings.Split(out, "\n")
	if code != 0 || len(lines) != 3 || !strings.HasPrefix(lines[0], `{"relay":"`+good+`","channel":"chat","session":"S","result":"sent"`) ||
		!strings.HasPrefix(lines[1], `{"relay":"http://127.0.0.1:1","channel":"","result":"no_answer","text":"the relay at `) {
		t.Errorf("exit code %d, %s", code, out)
	}
}

// The output is short if many sessions have the same result, shows each message
// once, and contains no control characters.
func TestWhyPrint(t *testing.T) {
	at := time.Date(2026, 3, 9, 10, 42, 13, 120e6, time.Local)
	line := func(session, user string, result why.Result, text, do string) why.Line {
		return why.Line{At: at, Channel: "order:7", Message: "512", Bytes: 34, Session: session, User: user, Result: result, Text: text, Do: do}
	}
	lines := []why.Line{
		{Channel: "order:7", Result: why.NoLink, Text: "There was no link.", Do: "Look at the log."},
		line("A", "42", why.Late, "Subscribed at 10:42:15.", "Load the data after it."),
		line("B", "\x1b[2J\u202e", why.Ended, "Ended.", ""),
		line("C", "", why.Ended, "Ended.", ""),
	}
	for i := range 12 {
		lines = append(lines, line(fmt.Sprint("L", i), "", why.Left, fmt.Sprintf("Left at 10:42:%02d.", i), ""))
	}
	for i := range 214 {
		lines = append(lines, line(fmt.Sprint("S", i), "", why.Sent, "Sent at once.", ""))
	}
	lines = append(lines, why.Line{At: at.Add(time.Second), Channel: "order:7\x07", Message: "513", Result: why.NoListener, Text: "Nobody\nwas subscribed."})
	var out strings.Builder
	if err := printWhy(&out, []whyAnswer{{lines: lines}}); err != nil {
		t.Fatal(err)
	}
	var want strings.Builder
	want.WriteString(`  no_link     There was no link.
              Look at the log.
Message 512 on "order:7" at 10:42:13.120, 34 bytes:
  late        session A of user "42": Subscribed at 10:42:15.
              Load the data after it.
  ended       session B of user "\x1b[2J\u202e", session C: Ended.
`)
	for i := range 10 {
		fmt.Fprintf(&want, "  left        session L%d: Left at 10:42:%02d.\n", i, i)
	}
	want.WriteString(`  left        and 2 more: --json lists them
  sent        214 sessions: Sent at once.
Message 513 on "order:7\a" at 10:42:14.120, 0 bytes:
  no_listener Nobody\nwas subscribed.
`)
	if out.String() != want.String() {
		t.Errorf("%s\nwant:\n%s", out.String(), want.String())
	}
}

// Of many messages, only some are listed.
func TestWhyManyMessages(t *testing.T) {
	var lines []why.Line
	for i := range 60 {
		lines = append(lines, why.Line{Message: fmt.Sprint(i), Result: why.Sent, Session: "S", Text: "Sent."})
	}
	var out strings.Builder
	if err := printWhy(&out, []whyAnswer{{lines: lines}}); err != nil {
		t.Fatal(err)
	}
	if text := out.String(); strings.Count(text, "Message ") != 50 || !strings.Contains(text, "\nAnd 10 more messages: ") {
		t.Error(text)
	}
}

// A relay that does not end its answer is given up when the command is stopped.
func TestWhyStops(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	defer server.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := (adminRelay{base: server.URL}).why(ctx, why.Question{Channel: "chat"}); !strings.Contains(fmt.Sprint(err), "context canceled") {
		t.Errorf("the error is %v", err)
	}
}
