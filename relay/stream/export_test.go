package stream

// Follow gives external tests access to follow. reason is empty if there is no
// gap. end is where a client is after a gap without entries.
func (p *Page) Follow(c Cursor, first *Cursor) (entries []Entry, reason string, end Cursor, again bool) {
	v := p.follow(c, first)
	if v.gap {
		reason = v.why.String()
	}
	return v.entries, reason, v.end, v.again
}

// Cursor gives external tests access to cursor.
func (s *State) Cursor() Cursor { return s.cursor() }
