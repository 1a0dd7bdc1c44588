package stream

import "sidecast/relay/protocol"

// follow returns the entries that a client at c has missed. p must have been
// read from c's id on. If it cannot be known whether entries are missing, ok is
// false and why is the reason for the gap.
//
// The rule rests on two facts: ids only increase, and a stream is only trimmed
// from its front. So if c's entry still exists, no entry after it was trimmed.
// Other properties do not prove that nothing was trimmed: max-deleted-entry-id
// does not cover trimming, and last-generated-id and entries-added start again
// when the key is created again.
//
// sawAbsent says that the relay saw at some moment that the stream did not
// exist, and has received everything about it since. It replaces the count of
// added entries, which servers before Redis 7.0 do not have.
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
		return nil, 0, true // c's entry was deleted with XDEL, and nothing was added after it
	case s.Exists && s.Last.Compare(c.ID) > 0:
		return nil, protocol.GapTrimmed, false
	}
	return nil, protocol.GapReset, false
}
