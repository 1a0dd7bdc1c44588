package access

import (
	"errors"
	"strings"
)

var errPatternRange = errors.New("pattern has a placeholder at the end of a range")

// ExpandPattern compiles a glob in which each placeholder stands for exactly
// the bytes of text. It rejects a placeholder at the end of a range, as in
// [a-{user}], because a range cannot end in an escaped character. A placeholder
// after a backslash is not replaced.
func ExpandPattern(source, placeholder, text string) (Pattern, error) {
	var b strings.Builder
	inClass := false
	for i := 0; i < len(source); {
		rest := source[i:]
		if strings.HasPrefix(rest, placeholder) {
			writeLiteral(&b, text, inClass)
			i += len(placeholder)
			continue
		}
		n := elementLength(rest, inClass)
		if n == 3 && strings.HasPrefix(rest[2:], placeholder) {
			return Pattern{}, errPatternRange
		}
		switch rest[0] {
		case '[':
			inClass = true
		case ']':
			inClass = false
		}
		b.WriteString(rest[:n])
		i += n
	}
	return ParsePattern(b.String())
}

// elementLength returns how many bytes at the start of s belong together: an
// escaped character, a range, the start of a class, or one byte.
func elementLength(s string, inClass bool) int {
	switch {
	case len(s) > 1 && s[0] == '\\', !inClass && strings.HasPrefix(s, "[^"):
		return 2
	case inClass && len(s) > 2 && s[0] != ']' && s[1] == '-':
		return 3
	}
	return 1
}

// writeLiteral writes a pattern that matches only text, or in a class one that
// matches each byte of text. In a class every byte is escaped, because a hyphen
// would otherwise make a range of its neighbors.
func writeLiteral(b *strings.Builder, text string, inClass bool) {
	if !inClass {
		b.WriteString(EscapePattern(text))
		return
	}
	for _, c := range []byte(text) {
		b.Write([]byte{'\\', c})
	}
}
