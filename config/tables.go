package config

import (
	"cmp"
	"fmt"
	"io"
	"reflect"
	"regexp"
	"strings"
)

// Columns of the help table.
const (
	helpIndent = 2
	helpColumn = 36 // where the descriptions begin
	helpWidth  = 100
)

// HelpTable writes all settings with their defaults as plain text for a terminal, in lines of at most 100 columns.
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
		lines := wrap(s.description(), helpWidth-helpColumn)
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

// MarkdownTable writes all settings as one Markdown table, for the README.
func MarkdownTable(w io.Writer) error {
	var b strings.Builder
	b.WriteString("| variable | default | meaning |\n|---|---|---|\n")
	heading := ""
	for _, s := range settings() {
		if s.heading != heading {
			heading = s.heading
			fmt.Fprintf(&b, "| **%s** | | |\n", heading)
		}
		defaults := cmp.Or(s.defaults(code), "none")
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", s.variable(), defaults, markdown(s.description()))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// description returns what the tags and the type say about the setting.
func (s setting) description() string {
	text := s.field.Tag.Get("desc")
	values := s.oneOf
	if s.field.Type == reflect.TypeFor[Switch]() {
		values = []string{"true", "false"}
	}
	if len(values) > 0 {
		text += " ('" + strings.Join(values, "', '") + "')"
	}
	if s.secret {
		text += "; or in the file that " + s.variable() + fileSuffix + " names"
	}
	return text
}

// defaults returns the setting's defaults, each written by literal, or "" for none.
func (s setting) defaults(literal func(string) string) string {
	usual, embedded := s.defaultValue(false), s.defaultValue(true)
	switch {
	case usual == embedded && usual == "":
		return ""
	case usual == embedded:
		return literal(usual)
	case usual == "":
		return "none, embedded " + literal(embedded)
	}
	return literal(usual) + ", embedded " + literal(embedded)
}

// literals finds what a description wants typed: in single quotes, or the name of a variable.
var literals = regexp.MustCompile(`'([^' ]+)'|\b(` + Prefix + `[A-Z_]+)\b`)

// markdown escapes a description and marks what is to be typed as code.
func markdown(text string) string {
	return literals.ReplaceAllStringFunc(text, func(found string) string { return code(strings.Trim(found, "'")) })
}

// code writes text as code inside a cell of a table, where a bar has to be escaped even there.
func code(text string) string { return "`" + strings.ReplaceAll(text, "|", `\|`) + "`" }

// wrap breaks text between words into lines of at most width columns.
func wrap(text string, width int) []string {
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
