// Package resp skips and scans replies in RESP2 and RESP3, Redis's wire
// protocol, without allocating and without copying.
//
// A [Skipper] steps over replies that the caller does not need, however the
// stream is split into reads. The functions read the few replies that the
// caller needs from a buffer.
//
// Everything that arrives is untrusted: each length is bounded before it is
// used, and a stream that violates the protocol or a bound ends with
// [ErrMalformed].
package resp

import (
	"bytes"
	"errors"
)

// Bounds on what a server may send. Redis itself stays far below all of them.
const (
	MaxDepth = 32        // nested aggregates
	MaxBulk  = 512 << 20 // bytes of one string: Redis's own proto-max-bulk-len
	MaxCount = 1 << 16   // values of one aggregate
	MaxLine  = 64 << 10  // bytes of one line, including its CRLF
)

// maxDigits keeps every length within 32 bits before it is compared with a
// bound.
const maxDigits = 9

// ErrMalformed reports that the stream is not RESP or exceeds a bound. The rest
// of the stream cannot be trusted.
var ErrMalformed = errors.New("malformed reply")

// LineEnd returns the length of the first line of b, including its CRLF, or 0
// if the line is incomplete.
func LineEnd(b []byte) (int, error) {
	i := bytes.IndexByte(b[:min(len(b), MaxLine)], '\n')
	switch {
	case i < 0 && len(b) >= MaxLine, i >= 0 && i < 2, i >= 2 && b[i-1] != '\r':
		return 0, ErrMalformed
	}
	return i + 1, nil
}

// Length parses the digits of a length or a count, which may be limit at most.
// The only negative number that it accepts is -1, which means null.
func Length(digits []byte, limit int) (int, error) {
	if len(digits) == 2 && digits[0] == '-' && digits[1] == '1' {
		return -1, nil
	}
	if len(digits) == 0 || len(digits) > maxDigits {
		return 0, ErrMalformed
	}
	n := 0
	for _, c := range digits {
		if c < '0' || c > '9' {
			return 0, ErrMalformed
		}
		n = n*10 + int(c-'0')
	}
	if n > limit {
		return 0, ErrMalformed
	}
	return n, nil
}
