package embedded

import (
	"errors"
	"fmt"
)

// Bounds of one request. Redis has 1 Mi arguments and 512 MiB for each.
const (
	maxArguments    = 64 << 10
	maxRequestBytes = 64 << 20
	maxHeader       = len("$67108864\r\n")
)

var (
	errRequest = errors.New("not a request: an array of bulk strings")
	errTooBig  = fmt.Errorf("a request of more than %d arguments or %d bytes", maxArguments, maxRequestBytes)
)

// requests follows the frames of a stream of requests, `*2\r\n$4\r\nPING\r\n$2\r\nhi\r\n`, however the bytes are cut. The
// zero value stands before the first request.
type requests struct {
	arguments int // of this request, still to come
	room      int // bytes that this request may still take
	skip      int // bytes of this argument still to come
	header    [maxHeader]byte
	filled    int // bytes of header
}

// take returns how many bytes of p may be passed on, and an error if that is not all of them. Nothing can be passed on
// after an error.
func (r *requests) take(p []byte) (int, error) {
	for i := 0; i < len(p); {
		if r.skip > 0 {
			n := min(r.skip, len(p)-i)
			r.skip -= n
			i += n
			continue
		}
		if r.filled == len(r.header) {
			return i, errRequest
		}
		r.header[r.filled] = p[i]
		r.filled++
		i++
		if p[i-1] == '\n' {
			if err := r.line(r.header[:r.filled]); err != nil {
				return i - 1, err // without its end, no line begins anything
			}
			r.filled = 0
		}
	}
	return len(p), nil
}

// line takes in one header, `*2\r\n` or `$4\r\n`.
func (r *requests) line(line []byte) error {
	kind := byte('$')
	if r.arguments == 0 {
		kind = '*'
	}
	n, ok := number(line, kind)
	switch {
	case !ok:
		return errRequest
	case kind == '*' && n == 0:
		return errRequest // Redis ignores it; nobody sends it
	case kind == '*' && n > maxArguments:
		return errTooBig
	case kind == '*':
		r.arguments, r.room = n, maxRequestBytes
		return nil
	case n > r.room:
		return errTooBig
	}
	r.arguments--
	r.room -= n
	r.skip = n + len("\r\n")
	return nil
}

// number reads a header: its kind, at least one digit and CR LF. It cannot overflow, because headers are short.
func number(line []byte, kind byte) (n int, ok bool) {
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
