package relay

import "sidecast/relay/protocol"

// Follow and Cursor let tests outside of the package apply the rule.
func (p *StreamPage) Follow(c StreamCursor, sawAbsent bool) ([]Entry, protocol.GapReason, bool) {
	return p.follow(c, sawAbsent)
}

func (s *StreamState) Cursor() StreamCursor { return s.cursor() }
