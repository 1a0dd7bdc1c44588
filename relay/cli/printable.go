package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"
)

// printable returns text in which everything is escaped that could control a
// terminal or change how the text around it is shown: control characters except
// tabs, bytes that are not UTF-8, and characters that change the direction of
// text.
func printable(text string) string {
	if !strings.ContainsFunc(text, isUnsafe) {
		return text
	}
	var b strings.Builder
	for i, r := range text {
		switch {
		case r == utf8.RuneError && !strings.HasPrefix(text[i:], "\uFFFD"):
			fmt.Fprintf(&b, `\x%02x`, text[i])
		case r == utf8.RuneError || !isUnsafe(r):
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\r':
			b.WriteString(`\r`)
		case r < 0x80:
			fmt.Fprintf(&b, `\x%02x`, r)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}

// isUnsafe reports whether printable looks at a character. Bytes that are not
// UTF-8 are read as [utf8.RuneError].
func isUnsafe(r rune) bool {
	return unicode.IsControl(r) && r != '\t' || unicode.Is(unicode.Bidi_Control, r) ||
		r == '\u2028' || r == '\u2029' || r == '\ufeff' || r == utf8.RuneError
}

// printableLines is printable for a text of several lines.
func printableLines(text string) string {
	lines := strings.Split(text, "\n")
	for i := range lines {
		lines[i] = printable(lines[i])
	}
	return strings.Join(lines, "\n")
}

// cut returns at most the first limit bytes of text, without a part of a
// character at the end, and marks that it is cut.
func cut(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	for limit > 0 && !utf8.RuneStart(text[limit]) {
		limit--
	}
	return text[:limit] + "..."
}

// printJSON writes a value as JSON on one line, in which nothing can control a
// terminal.
func printJSON(out io.Writer, value any) error {
	text, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("encoding the output: %w", err)
	}
	var b strings.Builder
	for _, r := range string(text) {
		if isUnsafe(r) && r != utf8.RuneError || r == 0x7f {
			fmt.Fprintf(&b, `\u%04x`, r) // it can only be in a string
		} else {
			b.WriteRune(r)
		}
	}
	b.WriteByte('\n')
	_, err = io.WriteString(out, b.String())
	return err
}
