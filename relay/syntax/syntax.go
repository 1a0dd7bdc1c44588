// Package syntax defines the error that every parser of a setting's text
// returns, and the small checks that these parsers share. It imports only the
// standard library.
package syntax

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// An Error reports a text that cannot be parsed. Neither field may contain a
// secret or a line break.
type Error struct {
	Problem string // continues a sentence that begins with the setting's name, such as "has no scheme"
	Hint    string // what to do about it; begins with a verb
}

// New returns an Error.
func New(problem, hint string) *Error { return &Error{Problem: problem, Hint: hint} }

// Error returns the problem and the hint on one line.
func (e *Error) Error() string { return e.Problem + "; " + e.Hint }

// maxQuote bounds how many bytes of a text an error message repeats.
const maxQuote = 60

// Quote puts a text between quotation marks, for an error message, and cuts a
// long one. The text must not be a secret.
func Quote(text string) string {
	if len(text) <= maxQuote {
		return `"` + text + `"`
	}
	end := maxQuote
	for end > 0 && !utf8.RuneStart(text[end]) {
		end--
	}
	return `"` + text[:end] + `..."`
}

// Alphanumeric reports whether text has only ASCII letters, ASCII digits and
// the given marks.
func Alphanumeric(text, marks string) bool {
	return !strings.ContainsFunc(text, func(r rune) bool {
		letter := r >= '0' && r <= '9' || r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z'
		return !letter && !strings.ContainsRune(marks, r)
	})
}

// ValidPort reports whether text is a TCP port from 1 to 65535.
func ValidPort(text string) bool {
	n, err := strconv.ParseUint(text, 10, 16)
	return err == nil && n > 0
}

// HasBOM reports whether text begins with a byte order mark, which some editors
// write at the begin of a file: that of UTF-8, or that of UTF-16.
func HasBOM(text string) bool {
	return strings.HasPrefix(text, "\ufeff") || strings.HasPrefix(text, "\xff\xfe") || strings.HasPrefix(text, "\xfe\xff")
}
