package source

import (
	"bytes"
	"errors"
)

// Bounds on what the walker takes from a server. Redis itself stays far below all of them.
const (
	maxDepth  = 32        // aggregates inside each other
	maxBulk   = 512 << 20 // bytes of one string: Redis's own proto-max-bulk-len
	maxPassed = 1 << 20   // the same of a reply that go-redis will hold in memory
	maxCount  = 1 << 16   // values of one aggregate
	maxLine   = 64 << 10  // bytes of one line, its CRLF included
)

// errMalformed says that the stream is not RESP, or exceeds a bound; nothing behind it can be trusted.
var errMalformed = errors.New("malformed reply")

// A walker steps over RESP values without reading them, however the stream is cut: it consumes what it is sure of and
// goes on where it stopped. It knows every type of RESP2 and RESP3 but the streamed ones, which Redis never sends and
// go-redis cannot read. Bytes of a string are only ever counted, so nothing in a payload is read as protocol.
type walker struct {
	left  [maxDepth]int // values to come in each open aggregate
	depth int           // open aggregates; 0 when there is nothing to walk
	bulk  int           // bytes to come of the string that is open, its CRLF included
	limit int           // bytes that a string may have
}

// start makes the walker step over the next n values, whose strings may have limit bytes each.
func (w *walker) start(n, limit int) {
	w.depth, w.bulk, w.limit = 1, 0, limit
	w.left[0] = n
	w.settle()
}

// open reports whether there is something left to step over.
func (w *walker) open() bool { return w.depth > 0 || w.bulk > 0 }

// settle closes the aggregates that are complete.
func (w *walker) settle() {
	for w.depth > 0 && w.left[w.depth-1] == 0 {
		w.depth--
	}
}

// walk returns how many bytes of b it stepped over. Fewer than all while still open means that a line is not complete
// yet: call again with the rest and more.
func (w *walker) walk(b []byte) (n int, err error) {
	for w.open() && n < len(b) {
		var took int
		if w.bulk > 0 {
			took, err = w.walkBulk(b[n:])
		} else {
			took, err = w.walkLine(b[n:])
		}
		n += took
		if err != nil || took == 0 {
			return n, err
		}
	}
	return n, nil
}

func (w *walker) walkBulk(b []byte) (int, error) {
	n := min(w.bulk, len(b))
	for i := max(0, w.bulk-2); i < n; i++ { // the CRLF behind the bytes
		if b[i] != "\n\r"[w.bulk-i-1] {
			return 0, errMalformed
		}
	}
	w.bulk -= n
	if w.bulk == 0 {
		w.settle()
	}
	return n, nil
}

func (w *walker) walkLine(b []byte) (int, error) {
	end, err := lineEnd(b)
	if end == 0 || err != nil {
		return 0, err
	}
	attribute := false
	values := 0
	switch b[0] {
	case '+', '-', ':', '_', ',', '#', '(':
	case '$', '=', '!':
		n, err := length(b[1:end-2], w.limit)
		if err != nil {
			return 0, err
		}
		if n >= 0 {
			w.bulk = n + 2
		}
	case '*', '~', '>':
		values, err = length(b[1:end-2], maxCount)
	case '%':
		values, err = length(b[1:end-2], maxCount)
		values *= 2
	case '|': // stands before the value that it describes, and is none itself
		attribute = true
		values, err = length(b[1:end-2], maxCount)
		values *= 2
	default:
		err = errMalformed
	}
	if err != nil {
		return 0, err
	}
	return end, w.enter(values, attribute)
}

// enter counts the value whose line was read, and opens it if it is an aggregate.
func (w *walker) enter(values int, attribute bool) error {
	if !attribute {
		w.left[w.depth-1]--
	}
	if values > 0 {
		if w.depth == maxDepth {
			return errMalformed
		}
		w.left[w.depth] = values
		w.depth++
	}
	if w.bulk == 0 {
		w.settle()
	}
	return nil
}

// lineEnd returns the length of the line that b begins with, CRLF included, or 0 if its end has not come.
func lineEnd(b []byte) (int, error) {
	i := bytes.IndexByte(b[:min(len(b), maxLine)], '\n')
	switch {
	case i < 0 && len(b) >= maxLine, i >= 0 && i < 2, i >= 2 && b[i-1] != '\r':
		return 0, errMalformed
	}
	return i + 1, nil
}

// length reads the digits of a length or a count; -1, which stands for null, is the only negative one.
func length(digits []byte, limit int) (int, error) {
	if len(digits) == 2 && digits[0] == '-' && digits[1] == '1' {
		return -1, nil
	}
	if len(digits) == 0 || len(digits) > maxDigits {
		return 0, errMalformed
	}
	n := 0
	for _, c := range digits {
		if c < '0' || c > '9' {
			return 0, errMalformed
		}
		n = n*10 + int(c-'0')
	}
	if n > limit {
		return 0, errMalformed
	}
	return n, nil
}

// maxDigits keeps every length within 32 bits before it is compared with a bound.
const maxDigits = 9
