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
// first is the first entry of the stream, if the relay saw under the present
// connection that the stream did not exist, and has read all of it since; it is
// nil otherwise. A client at the zero Cursor has missed nothing if that entry
// still exists.
func (p *Page) follow(c Cursor, first *Cursor) verdict {
	entries, s := p.Entries, p.State
	if len(entries) > 0 && entries[0].ID == c.ID {
		if entries[0].Check == c.Check {
			return verdict{entries: entries[1:], end: c}
		}
		return verdict{entries: entries, gap: true, why: protocol.GapReset}
	}
	switch {
	case c.ID.IsZero() && first != nil && len(entries) > 0 && entries[0].Cursor == *first:
		return verdict{entries: entries}
	case c.ID.IsZero() && len(entries) == 0 && !s.Exists:
		return verdict{end: c}
	case len(entries) > 0 && !c.ID.IsZero():
		return verdict{entries: entries, gap: true, why: protocol.GapTrimmed}
	case len(entries) > 0:
		return verdict{entries: entries, gap: true, why: protocol.GapReset}
	case s.Exists && s.Tail.ID.Compare(c.ID) > 0:
		return verdict{again: true} // added after the entries were read
	case s.Exists && s.Last == c.ID && !c.ID.IsZero():
		return verdict{end: c} // c's entry was deleted with XDEL, and nothing was added after it
	case s.Exists && s.Last.Compare(c.ID) > 0 && !c.ID.IsZero():
		return verdict{gap: true, why: protocol.GapTrimmed, end: s.cursor()}
	}
	return verdict{gap: true, why: protocol.GapReset, end: s.cursor()}
}

// isWhole reports whether a page of a stream that the relay saw begin may have
// all of its entries. Servers before Redis 7.0 do not count those that were
// added.
func (p *Page) isWhole() bool {
	return len(p.Entries) > 0 && (p.State.Added < 0 || p.State.Added == p.State.Length)
}

// cursor returns where a client is after the gap, in wire form: nothing if
// entries follow.
func (v *verdict) cursor() []byte {
	if len(v.entries) > 0 {
		return nil
	}
	return v.end.Text()
}
