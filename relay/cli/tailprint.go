package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime"
	"time"
)

// A tailLine is one line of tail's standard output. As JSON it has only the
// fields that apply.
type tailLine struct {
	Type      string  `json:"type"` // message, subscribed, unsubscribed, gap, offline or disconnected
	Time      string  `json:"time"` // when tail received it, in UTC
	Channel   string  `json:"channel,omitempty"`
	Cursor    string  `json:"cursor,omitempty"`
	Durable   bool    `json:"durable,omitempty"`
	Recovered *bool   `json:"recovered,omitempty"` // of subscribed, if tail has resumed
	Reason    string  `json:"reason,omitempty"`
	Code      int     `json:"code,omitempty"` // of disconnected: the close code
	Data      *string `json:"data,omitempty"`
	Base64    string  `json:"base64,omitempty"` // instead of data, if the payload is not UTF-8
}

// A tailPrinter writes messages and other events to out, as text for people or as
// lines of JSON, and notes for people to notes.
type tailPrinter struct {
	out, notes           io.Writer
	asJSON               bool
	colorOut, colorNotes bool
	now                  func() time.Time
	failed               error // the first error of out
}

func newTailPrinter(p *Program, asJSON bool) *tailPrinter {
	return &tailPrinter{
		out: p.Stdout, notes: p.Stderr, now: time.Now,
		asJSON:   asJSON || !isTerminal(p.Stdout),
		colorOut: mayColor(p.Stdout), colorNotes: mayColor(p.Stderr),
	}
}

// mayColor reports whether the output may have colors
// (https://no-color.org). Old consoles of Windows would show the codes.
func mayColor(w io.Writer) bool {
	shows := runtime.GOOS != "windows" || os.Getenv("WT_SESSION") != ""
	return shows && isTerminal(w) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
}

// The colors, as parameters of the code that selects them.
const (
	colorFaint  = "2"
	colorName   = "36"
	colorNotice = "33"
)

// paint returns text, which has to be printable, in a color.
func paint(on bool, color, text string) string {
	if !on {
		return text
	}
	return "\x1b[" + color + "m" + text + "\x1b[0m"
}

// note writes one line about the connection or a subscription.
func (p *tailPrinter) note(format string, args ...any) { p.writeNote(colorFaint, format, args) }

// warn is note in another color, for the reader to notice.
func (p *tailPrinter) warn(format string, args ...any) { p.writeNote(colorNotice, format, args) }

func (p *tailPrinter) writeNote(color, format string, args []any) {
	fmt.Fprintln(p.notes, paint(p.colorNotes, color, "# "+printable(fmt.Sprintf(format, args...))))
}

// print writes a line. For people, only messages are lines: notes report the
// rest.
func (p *tailPrinter) print(line tailLine, payload []byte) {
	now := p.now()
	var err error
	switch {
	case p.asJSON:
		line.Time = now.UTC().Format("2006-01-02T15:04:05.000Z")
		err = p.printJSON(line)
	case line.Type == "message":
		_, err = fmt.Fprintf(p.out, "%s  %s  %s  %s\n",
			paint(p.colorOut, colorFaint, now.Format("15:04:05.000")), paint(p.colorOut, colorName, printable(line.Channel)),
			paint(p.colorOut, colorFaint, printable(line.Cursor)), printable(string(payload)))
	}
	if err != nil && p.failed == nil {
		p.failed = fmt.Errorf("writing the output: %w", err)
	}
}

// printJSON writes one JSON object. Characters that could control a terminal are
// escaped, because readers look at such lines with cat and less.
func (p *tailPrinter) printJSON(line tailLine) error {
	text, err := marshal(line)
	if err == nil {
		_, err = p.out.Write(append(escapeJSON(text), '\n'))
	}
	return err
}

// marshal is [json.Marshal] without the escapes for HTML.
func marshal(value any) ([]byte, error) {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(value)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}

// escapeJSON is [printable] in the form of JSON.
func escapeJSON(line []byte) []byte {
	if !bytes.ContainsFunc(line, isUnsafe) {
		return line
	}
	var b bytes.Buffer
	for _, r := range string(line) {
		if isUnsafe(r) && r != '\uFFFD' {
			fmt.Fprintf(&b, `\u%04x`, r)
		} else {
			b.WriteRune(r)
		}
	}
	return b.Bytes()
}
