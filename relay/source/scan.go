package source

import "bytes"

// What the scanners return instead of an index.
const (
	short = -1 // more bytes are needed
	bad   = -2 // not RESP
)

// more turns what a scanner returned into what frame returns.
func more(i int) (bool, error) {
	if i == bad {
		return false, errMalformed
	}
	return false, nil
}

// bulkLen reads "$<digits>\r\n" at b[i:] and returns the number and where the string begins, or short or bad.
func bulkLen(b []byte, i int) (size, at int) {
	if i >= len(b) {
		return 0, short
	}
	if b[i] != '$' {
		return 0, bad
	}
	first := i + 1
	for i = first; i < len(b); i++ {
		c := b[i] - '0'
		if c > 9 {
			break
		}
		if i-first >= maxDigits {
			return 0, bad
		}
		size = size*10 + int(c)
	}
	switch {
	case i == len(b):
		return 0, short
	case i == first, b[i] != '\r', size > maxBulk:
		return 0, bad
	case i+1 == len(b):
		return 0, short
	case b[i+1] != '\n':
		return 0, bad
	}
	return size, i + 2
}

// bulk reads a whole string at b[i:] and returns it and the index behind it, or short or bad. Longer than limit is bad.
func bulk(b []byte, i, limit int) ([]byte, int) {
	size, at := bulkLen(b, i)
	if at < 0 {
		return nil, at
	}
	if size > limit {
		return nil, bad
	}
	return text(b, size, at)
}

// text returns the string of size bytes at b[at:] and the index behind it, or short or bad.
func text(b []byte, size, at int) ([]byte, int) {
	end := at + size + 2
	if len(b) < end {
		return nil, short
	}
	if b[end-2] != '\r' || b[end-1] != '\n' {
		return nil, bad
	}
	return b[at : end-2], end
}

// subscribes reports whether a write begins with a SUBSCRIBE or PSUBSCRIBE as go-redis writes it.
func subscribes(p []byte) bool {
	if len(p) == 0 || p[0] != '*' {
		return false
	}
	_, command, _ := bytes.Cut(p, []byte("\r\n"))
	return bytes.HasPrefix(command, []byte("$9\r\nsubscribe\r\n")) ||
		bytes.HasPrefix(command, []byte("$10\r\npsubscribe\r\n"))
}
