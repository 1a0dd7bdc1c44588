package config

import (
	"fmt"
	"io"
	"strings"
)

// Widths in the help table, in columns.
const (
	helpIndent = 2
	helpColumn = 36 // position of the descriptions
	helpWidth  = 100
)

// HelpTable writes all settings and their defaults as plain text for a
// terminal, in lines of at most 100 columns.
func HelpTable(w io.Writer) error {
	var b strings.Builder
	heading := ""
	for _, s := range settings() {
		if s.heading != heading {
			if heading != "" {
				b.WriteByte('\n')
			}
			heading = s.heading
			b.WriteString(heading + "\n")
		}
		lines := Wrap(s.description(), helpWidth-helpColumn)
		if text := s.defaults(func(value string) string { return value }); text != "" {
			lines = append(lines, "default: "+text)
		}
		name := s.variable()
		for _, line := range lines {
			fmt.Fprintf(&b, "%*s%-*s%s\n", helpIndent, "", helpColumn-helpIndent, name, line)
			name = ""
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// Wrap breaks text between words, into lines of at most width columns.
func Wrap(text string, width int) []string {
	var lines []string
	line := ""
	for word := range strings.FieldsSeq(text) {
		switch {
		case line == "":
			line = word
		case len(line)+1+len(word) <= width:
			line += " " + word
		default:
			lines = append(lines, line)
			line = word
		}
	}
	return append(lines, line)
}
