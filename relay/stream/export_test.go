package stream

import "sidecast/relay/protocol"

// Follow and Cursor let tests outside of the package apply the rule.
func (p *Page) Follow(c Cursor, sawAbsent bool) ([]Entry, protocol.GapReason, bool) {
	return p.follow(c, sawAbsent)
}

func (s *State) Cursor() Cursor { return s.cursor() }
