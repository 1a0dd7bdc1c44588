package resp

// A Skipper steps over RESP values without interpreting them, however the
// stream is split: it consumes the bytes that it is sure of and continues where
// it stopped. It knows every type of RESP2 and RESP3 except the streamed ones,
// which Redis never sends and go-redis cannot read. It only counts the bytes of
// a string, so it never mistakes a part of a payload for protocol.
//
// The zero Skipper has nothing to skip.
type Skipper struct {
	left  [MaxDepth]int // values still expected in each open aggregate
	depth int           // open aggregates; 0 when there is nothing to skip
	bulk  int           // bytes still expected of the open string, including its CRLF
	limit int           // maximum bytes of one string
}

// Start makes the skipper step over the next n values. Each of their strings
// may have limit bytes.
func (s *Skipper) Start(n, limit int) {
	s.depth, s.bulk, s.limit = 1, 0, limit
	s.left[0] = n
	s.closeComplete()
}

// Active reports whether there is something left to skip.
func (s *Skipper) Active() bool { return s.depth > 0 || s.bulk > 0 }

// closeComplete closes the aggregates that are complete.
func (s *Skipper) closeComplete() {
	for s.depth > 0 && s.left[s.depth-1] == 0 {
		s.depth--
	}
}

// Skip returns how many bytes of b it stepped over. If these are fewer than all
// while the skipper is still active, a line is incomplete: call Skip again with
// the rest and more.
func (s *Skipper) Skip(b []byte) (n int, err error) {
	for s.Active() && n < len(b) {
		var skipped int
		if s.bulk > 0 {
			skipped, err = s.skipBulk(b[n:])
		} else {
			skipped, err = s.skipLine(b[n:])
		}
		n += skipped
		if err != nil || skipped == 0 {
			return n, err
		}
	}
	return n, nil
}

func (s *Skipper) skipBulk(b []byte) (int, error) {
	n := min(s.bulk, len(b))
	for i := max(0, s.bulk-2); i < n; i++ { // the CRLF after the string
		if b[i] != "\n\r"[s.bulk-i-1] {
			return 0, ErrMalformed
		}
	}
	s.bulk -= n
	if s.bulk == 0 {
		s.closeComplete()
	}
	return n, nil
}

func (s *Skipper) skipLine(b []byte) (int, error) {
	end, err := LineEnd(b)
	if end == 0 || err != nil {
		return 0, err
	}
	attribute := false
	values := 0
	switch b[0] {
	case '+', '-', ':', '_', ',', '#', '(':
	case '$', '=', '!':
		n, err := Length(b[1:end-2], s.limit)
		if err != nil {
			return 0, err
		}
		if n >= 0 {
			s.bulk = n + 2
		}
	case '*', '~', '>':
		values, err = Length(b[1:end-2], MaxCount)
	case '%':
		values, err = Length(b[1:end-2], MaxCount)
		values *= 2
	case '|': // precedes the value that it describes and does not count as a value
		attribute = true
		values, err = Length(b[1:end-2], MaxCount)
		values *= 2
	default:
		err = ErrMalformed
	}
	if err != nil {
		return 0, err
	}
	return end, s.enter(values, attribute)
}

// enter counts the value whose first line was read, and opens it if it is an
// aggregate.
func (s *Skipper) enter(values int, attribute bool) error {
	if !attribute {
		s.left[s.depth-1]--
	}
	if values > 0 {
		if s.depth == MaxDepth {
			return ErrMalformed
		}
		s.left[s.depth] = values
		s.depth++
	}
	if s.bulk == 0 {
		s.closeComplete()
	}
	return nil
}
