package stream

// Resume puts the position where a client was, by the cursor that it sends. It
// returns false if the text is not a cursor.
func (p *Position) Resume(cursor string) (ok bool) {
	at, ok := ParseCursor(cursor)
	if !ok {
		at, ok = ParseBefore(cursor)
		p.Move(at)
		p.owed = ok
		return ok
	}
	p.Move(at)
	return true
}

// Since puts the position after the entry with this id, of which the client has
// no cursor: the application has read it.
func (p *Position) Since(id ID) {
	p.Move(Cursor{ID: id})
	p.byID, p.since = true, id
}

// Newest puts the position before the n newest entries.
func (p *Position) Newest(n int) {
	p.Move(Cursor{})
	p.newest = n
}

// Text returns the cursor of the position, in wire form. It must be known: Next
// has returned entries or that there are none.
func (p *Position) Text() []byte {
	if p.owed {
		return p.At.TextBefore()
	}
	return p.At.Text()
}

// identify gives a position that was known by its id only the check of its
// entry.
func (p *Position) identify(at Cursor) {
	if p.byID {
		p.At, p.byID = at, false
	}
}

// forgetCheck makes any entry count that has the id after which the client
// began: the application has read one with this id, and if the stream was created
// again, not the one that the relay remembers.
func (p *Position) forgetCheck() {
	if !p.since.IsZero() && p.At.ID == p.since {
		p.At.Check, p.byID = 0, true
	}
}

// findInMemory finds the place of a position that does not know it exactly, if
// that is possible with what is in memory.
func (p *Position) findInMemory() {
	r := p.Reader
	switch {
	case p.newest > 0:
		if at, owed, ok := r.newestHeld(p.newest); ok {
			p.Move(at)
			p.owed = owed
		}
	case p.byID:
		if at, ok := r.identify(p.At.ID); ok {
			p.identify(at)
		}
	}
}

// identify returns the cursor of an entry that is in memory, or is the last one.
func (r *Reader) identify(id ID) (at Cursor, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.hasPlace && r.place.ID == id {
		return r.place, true
	}
	return r.pages.identify(id)
}

// identify returns the cursor of an entry that is known, or was when the entries
// after it were read.
func (ps *pages) identify(id ID) (at Cursor, ok bool) {
	ps.cache.Lock()
	defer ps.cache.Unlock()
	n := ps.until(id)
	if n > 0 {
		if i, found := ps.list[n-1].findID(id); found {
			return ps.list[n-1].entries[i].Cursor, true
		}
	}
	if n < len(ps.list) && ps.list[n].known && ps.list[n].from.ID == id && !id.IsZero() {
		return ps.list[n].from, true
	}
	return at, false
}
