package embedded

import (
	"errors"
	"fmt"
)

// Limits of one request. Redis allows 1 Mi arguments of 512 MiB each.
const (
	maxArguments    = 64 << 10
	maxRequestBytes = 64 << 20
	maxHeader       = len("$67108864\r\n")
)

var (
	errRequest = errors.New("invalid request: want an array of bulk strings")
	errTooBig  = fmt.Errorf("request too large: the limits are %d arguments and %d bytes", maxArguments, maxRequestBytes)
)

// A requestFilter checks a stream of requests such as
// `*2\r\n$4\r\nPING\r\n$2\r\nhi\r\n`. The stream may be split at any byte. The
// zero value expects the first request.
type requestFilter struct {
	argumentsLeft int // arguments of this request that have not started
	bytesLeft     int // bytes that the remaining arguments of this request may have
	skip          int // bytes of the current argument that have not arrived, with CR LF
	header        [maxHeader]byte
	headerLen     int // bytes in header
}

// accept returns the number of leading bytes of p that may be passed to
// miniredis, and an error if p contains an invalid byte. After an error, the
// rest of the stream must not be passed on.
func (f *requestFilter) accept(p []byte) (int, error) {
	for i := 0; i < len(p); {
		if f.skip > 0 {
			n := min(f.skip, len(p)-i)
			f.skip -= n
			i += n
			continue
		}
		if f.headerLen == len(f.header) {
			return i, errRequest
		}
		f.header[f.headerLen] = p[i]
		f.headerLen++
		i++
		if p[i-1] == '\n' {
			if err := f.readHeader(f.header[:f.headerLen]); err != nil {
				return i - 1, err // miniredis does not process a line without its line feed
			}
			f.headerLen = 0
		}
	}
	return len(p), nil
}

// readHeader processes one complete header, `*2\r\n` or `$4\r\n`.
func (f *requestFilter) readHeader(line []byte) error {
	kind := byte('$')
	if f.argumentsLeft == 0 {
		kind = '*'
	}
	n, ok := parseHeader(line, kind)
	switch {
	case !ok:
		return errRequest
	case kind == '*' && n == 0:
		return errRequest // Redis ignores an empty request, miniredis crashes; no client library sends it
	case kind == '*' && n > maxArguments:
		return errTooBig
	case kind == '*':
		f.argumentsLeft, f.bytesLeft = n, maxRequestBytes
		return nil
	case n > f.bytesLeft:
		return errTooBig
	}
	f.argumentsLeft--
	f.bytesLeft -= n
	f.skip = n + len("\r\n")
	return nil
}

// parseHeader returns the number in a header, which consists of its kind, at
// least one digit and CR LF. The number cannot overflow, because headers are
// short.
func parseHeader(line []byte, kind byte) (n int, ok bool) {
	digits := len(line) - len("\r\n")
	if digits < 2 || line[0] != kind || line[digits] != '\r' {
		return 0, false
	}
	for _, c := range line[1:digits] {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = 10*n + int(c-'0')
	}
	return n, true
}
