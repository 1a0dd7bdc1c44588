package protocol

import (
	"bytes"
	"unicode/utf8"
)

// validRef reports whether ref, which is valid JSON or empty, is absent, or is
// a number or string of at most maxRef bytes.
func validRef(ref []byte) bool {
	if len(ref) == 0 {
		return true
	}
	first := ref[0]
	return len(ref) <= maxRef && (first == '"' || first == '-' || first >= '0' && first <= '9')
}

func isObject(data []byte) bool {
	data = bytes.TrimLeft(data, " \t\r\n")
	return len(data) > 0 && data[0] == '{'
}

func textFrame(payload []byte) []byte {
	return append(NewFrame(OpText, len(payload)), payload...)
}

// appendField appends ,"name":"value".
func appendField[T string | []byte](b []byte, name string, value T) []byte {
	b = append(append(append(b, ',', '"'), name...), '"', ':')
	return appendQuoted(b, value)
}

// appendOptional is like appendField, but appends nothing if value is empty.
func appendOptional[T string | []byte](b []byte, name string, value T) []byte {
	if len(value) == 0 {
		return b
	}
	return appendField(b, name, value)
}

const hex = "0123456789abcdef"

// escapedSize is the size of each byte in a JSON string (RFC 8259 section 7).
// Nothing is escaped for HTML: the payload is sent unchanged, and pages must
// not write it into markup unescaped anyway.
var escapedSize = func() (sizes [256]uint8) {
	for c := range sizes {
		switch {
		case c == '"', c == '\\', c == '\n', c == '\r', c == '\t':
			sizes[c] = 2
		case c < ' ':
			sizes[c] = 6
		default:
			sizes[c] = 1
		}
	}
	return sizes
}()

// quotedSize returns the number of bytes that appendQuoted appends for s, which
// must be valid UTF-8.
func quotedSize[T string | []byte](s T) int {
	n := 2
	for i := range len(s) {
		n += int(escapedSize[s[i]])
	}
	return n
}

// appendQuoted appends s as a JSON string. Bytes that are not UTF-8 become
// U+FFFD.
func appendQuoted[T string | []byte](b []byte, s T) []byte {
	b = append(b, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c < utf8.RuneSelf {
			if escapedSize[c] == 1 {
				i++
				continue
			}
			b = appendEscape(append(b, s[start:i]...), c)
			i++
			start = i
			continue
		}
		r, n := utf8.DecodeRuneInString(string(s[i:min(i+utf8.UTFMax, len(s))]))
		if r == utf8.RuneError && n == 1 {
			b = append(append(b, s[start:i]...), "\ufffd"...)
			start = i + n
		}
		i += n
	}
	return append(append(b, s[start:]...), '"')
}

func appendEscape(b []byte, c byte) []byte {
	switch c {
	case '"', '\\':
		return append(b, '\\', c)
	case '\n':
		return append(b, '\\', 'n')
	case '\r':
		return append(b, '\\', 'r')
	case '\t':
		return append(b, '\\', 't')
	}
	return append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
}
