package relay

// Follow and Cursor let tests outside of the package apply the rule.
func (p *StreamPage) Follow(c StreamCursor, sawAbsent bool) ([]Entry, GapReason, bool) {
	return p.follow(c, sawAbsent)
}

func (s *StreamState) Cursor() StreamCursor { return s.cursor() }
