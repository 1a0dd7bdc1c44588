package cli

import (
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
)

// hostile sets the title of a terminal, clears it, hides a line, and reverses
// the direction of text.
const hostile = "a\x1b]0;pwned\a\x1b[2J\r\u009b31m\u202eb\x7f\nc\xff"

const escaped = `a\x1b]0;pwned\x07\x1b[2J\r\u009b31m\u202eb\x7f\nc\xff`

func TestPrintable(t *testing.T) {
	for text, want := range map[string]string{
		hostile: escaped,
		"größe 👋🏽👨‍👩‍👧 日本": "größe 👋🏽👨‍👩‍👧 日本",
		"a\tb":   "a\tb",
		`a\nb`:   `a\nb`,
		"\uFFFD": "\uFFFD",
		"":       "",
	} {
		if got := printable(text); got != want {
			t.Errorf("printable(%q) = %s, want %s", text, got, want)
		}
	}
	if got := printableLines("a\x1b\nb"); got != "a\\x1b\nb" {
		t.Errorf("printableLines = %q", got)
	}
}

// A server's answer that an error repeats cannot control the terminal either.
func TestErrorsAreEscaped(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	go func() {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		_, _ = conn.Read(make([]byte, 4<<10))
		_, _ = io.WriteString(conn, "HTTP/1.1 404 \x1b]0;pwned\a\r\nContent-Length: 0\r\n\r\n")
	}()
	code, _, errs := run(t, "tail", "--url", "ws://"+listener.Addr().String()+"/ws", "chat")
	if code != exitFailure || !strings.Contains(errs, `\x1b]0;pwned\x07`) {
		t.Errorf("exit %d, %q", code, errs)
	}
}

// The log repeats at most 200 bytes of a header, and on a terminal it escapes
// what slog does not.
func TestLogAttributes(t *testing.T) {
	long := strings.Repeat("x", 199) + "é" + strings.Repeat("x", 10_000)
	for _, tt := range []struct {
		attr   slog.Attr
		escape bool
		want   string
	}{
		{slog.String("origin", long), false, strings.Repeat("x", 199) + "..."},
		{slog.String("host", long), false, strings.Repeat("x", 199) + "..."},
		{slog.String("user_agent", long), true, strings.Repeat("x", 199) + "..."},
		{slog.String("origin", "https://app.example.com"), true, "https://app.example.com"},
		{slog.String("channel", long), false, long},
		{slog.String("channel", hostile), true, escaped},
		{slog.Any("err", errors.New(hostile)), true, escaped},
		{slog.String("channel", hostile), false, hostile},
	} {
		if got := logAttr(tt.attr, tt.escape).Value.String(); got != tt.want {
			t.Errorf("%s, escape %v: %.300q, want %.300q", tt.attr.Key, tt.escape, got, tt.want)
		}
	}
}
