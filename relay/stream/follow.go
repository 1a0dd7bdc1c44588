package stream

import "sidecast/relay/protocol"

// follow returns what a client at c has missed, of a page that was read from c's id on; or that it cannot be known, and
// why. All of it rests on two facts: ids only rise, and a stream is trimmed from its front alone. So where c's own entry is
// still there, nothing behind it was trimmed. max-deleted-entry-id says nothing about trimming, and last-generated-id and
// entries-added start anew with the key: none of them is an excuse for an entry that is gone.
//
// sawAbsent says that the stream was seen not to exist at a moment since which everything about it was heard: it stands in
// for a count that servers before Redis 7.0 do not have.
func (p *Page) follow(c Cursor, sawAbsent bool) (missed []Entry, why protocol.GapReason, ok bool) {
	if len(p.Entries) > 0 && p.Entries[0].ID == c.ID {
		if p.Entries[0].Check != c.Check {
			return nil, protocol.GapReset, false
		}
		return p.Entries[1:], 0, true
	}
	s := p.State
	switch {
	case c.ID.IsZero():
		if !s.Exists || s.Added >= 0 && s.Added == s.Length || s.Added < 0 && sawAbsent {
			return p.Entries, 0, true
		}
		return nil, protocol.GapTrimmed, false
	case s.Exists && len(p.Entries) == 0 && s.Last == c.ID:
		return nil, 0, true // c's entry was deleted by its id, and nothing came after it
	case s.Exists && s.Last.Compare(c.ID) > 0:
		return nil, protocol.GapTrimmed, false
	}
	return nil, protocol.GapReset, false
}
