package main

// A score is what the ledgers of many connections add up to.
type score struct {
	lost, excused, doubled, reordered uint64
}

// note counts one message with what [ledger.hear] said of it: n messages are missing before it, or were until it came.
func (s *score) note(v verdict, excused bool, n uint64) {
	switch v {
	case inOrder:
		s.miss(excused, n)
	case doubled:
		s.doubled++
	case reordered:
		s.reordered++
		s.miss(excused, -n)
	}
}

// miss counts n messages that a client should have heard and did not; a negative n, in two's complement, takes back.
func (s *score) miss(excused bool, n uint64) {
	if excused {
		s.excused += n
	} else {
		s.lost += n
	}
}

func (s *score) add(other score) {
	s.lost += other.lost
	s.excused += other.excused
	s.doubled += other.doubled
	s.reordered += other.reordered
}
