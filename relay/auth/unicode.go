package auth

import (
	"bytes"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

var (
	errEncoding  = &problem{text: "bytes that are not UTF-8", do: "encode it as UTF-8"}
	errSurrogate = &problem{
		text: `half of a surrogate pair, such as \ud83d alone`, do: "do not cut texts within a character",
	}
)

// checkUnicode returns an error if a JSON text cannot be converted to UTF-8
// without loss. encoding/json replaces such parts by U+FFFD, so
// that different users would have the same id.
func checkUnicode(text []byte) error {
	if !utf8.Valid(text) {
		return errEncoding
	}
	for {
		i := bytes.IndexByte(text, '\\')
		if i < 0 || i+1 == len(text) {
			return nil
		}
		unit, ok := escapedUnit(text[i:])
		switch {
		case !ok:
			text = text[i+2:]
		case !utf16.IsSurrogate(unit):
			text = text[i+6:]
		default:
			second, _ := escapedUnit(text[i+6:])
			if utf16.DecodeRune(unit, second) == utf8.RuneError {
				return errSurrogate
			}
			text = text[i+12:]
		}
	}
}

// escapedUnit returns the UTF-16 code unit that an escape sequence at the start
// of text stands for. It returns false if there is none.
func escapedUnit(text []byte) (rune, bool) {
	if len(text) < 6 || text[0] != '\\' || text[1] != 'u' {
		return 0, false
	}
	unit, err := strconv.ParseUint(string(text[2:6]), 16, 16)
	return rune(unit), err == nil
}
