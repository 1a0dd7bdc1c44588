package stream

import "sidecast/relay/protocol"

// Follow gives external tests access to follow.
func (p *Page) Follow(c Cursor, sawAbsent bool) ([]Entry, protocol.GapReason, bool) {
	return p.follow(c, sawAbsent)
}

// Cursor gives external tests access to cursor.
func (s *State) Cursor() Cursor { return s.cursor() }
