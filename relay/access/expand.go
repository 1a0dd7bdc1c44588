package access

import (
	"fmt"
	"strings"
)

// ExpandPattern compiles a glob in which each placeholder stands for exactly
// the bytes of text. It rejects a placeholder in a class, as in [{user}]: a
// class matches one byte, so it would match each byte of the text, and not the
// text. A placeholder after a backslash is not replaced.
func ExpandPattern(source, placeholder, text string) (Pattern, error) {
	var b strings.Builder
	inClass := false
	for i := 0; i < len(source); {
		rest := source[i:]
		n := elementLength(rest, inClass)
		switch {
		case strings.HasPrefix(rest, placeholder) && !inClass:
			b.WriteString(EscapePattern(text))
			i += len(placeholder)
			continue
		case strings.HasPrefix(rest, placeholder), n == 3 && strings.HasPrefix(rest[2:], placeholder):
			return Pattern{}, fmt.Errorf("pattern has %s between [ and ]; write it outside of them", placeholder)
		case rest[0] == '[':
			inClass = true
		case rest[0] == ']':
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
