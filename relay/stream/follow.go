package stream

import "sidecast/relay/protocol"

// A verdict says what follows a place in a stream.
type verdict struct {
	entries []Entry            // those that the stream still has, in order, with ids higher than the place
	gap     bool               // entries may be missing before these
	why     protocol.GapReason // of the gap
	end     Cursor             // the place after all of that, if there are no entries
	again   bool               // the stream changed while it was read: read it again
}

// follow returns what follows c. p must have been read from c's id on.
//
// The rule rests on two facts: ids only increase, and a stream is only trimmed
// from its front. So if c's entry still exists, no entry after it was trimmed.
// Other properties do not prove that nothing was trimmed: max-deleted-entry-id
// does not cover trimming, and last-generated-id and entries-added start again
// when the key is created again.
//
// If entries may be missing, all that the stream still has with higher ids
// follow the gap, and another entry with c's id. Entries with lower ids cannot be
// told from those that a client at c has already received.
//
// The state may be newer than the entries. If no entry follows c and later
// nothing was ever added after c, then nothing was added and removed before
// either.
//
// first is the first entry of the stream, if the relay saw under the present
// connection that the stream did not exist, and has read all of it since; it is
// nil otherwise. A client at the zero Cursor has missed nothing if that entry
// still exists.
func (p *Page) follow(c Cursor, first *Cursor) verdict {
	entries, s := p.Entries, p.State
	switch {
	case p.BeginsAt(c.ID) && entries[0].Check == c.Check:
		return verdict{entries: entries[1:], end: c}
	case p.BeginsAt(c.ID) && c.Check == 0: // c is after an entry that did not exist; a client may have received it before
		return verdict{entries: entries[1:], gap: true, why: protocol.GapReset, end: entries[0].Cursor}
	case p.BeginsAt(c.ID):
		return verdict{entries: entries, gap: true, why: protocol.GapReset}
	case c.ID.IsZero() && first != nil && len(entries) > 0 && entries[0].Cursor == *first:
		return verdict{entries: entries}
	case len(entries) > 0 && c.ID.IsZero():
		return verdict{entries: entries, gap: true, why: protocol.GapReset}
	case len(entries) > 0:
		return verdict{entries: entries, gap: true, why: protocol.GapTrimmed}
	}
	return s.followEmpty(c)
}

// followEmpty is follow for a page without entries.
func (s *State) followEmpty(c Cursor) verdict {
	switch {
	case !s.Exists && c.ID.IsZero():
		return verdict{end: c}
	case !s.Tail.ID.IsZero() && s.Tail.ID.Compare(c.ID) >= 0:
		return verdict{again: true} // added after the entries were read
	case s.Exists && s.Last == c.ID:
		return verdict{end: c} // c's entry was deleted with XDEL, and nothing was added after it
	case s.Last.Compare(c.ID) > 0 && !c.ID.IsZero():
		return verdict{gap: true, why: protocol.GapTrimmed, end: s.cursor()}
	}
	return verdict{gap: true, why: protocol.GapReset, end: s.cursor()}
}

// isWhole reports whether a page from the zero Cursor on, of a stream that the
// relay saw begin, may have all of its entries. The count may be of another
// stream, if the state is newer than the entries. Servers before Redis 7.0 do
// not count the entries that were added.
func (p *Page) isWhole() bool {
	s := p.State
	if len(p.Entries) == 0 || !s.Exists {
		return false
	}
	return s.Added < 0 || s.Added == s.Length && p.Entries[0].Cursor == s.First
}

// cursor returns where a client is after the gap, in wire form: nothing if
// entries follow.
func (v *verdict) cursor() []byte {
	if len(v.entries) > 0 {
		return nil
	}
	return v.end.Text()
}
