package stream

import (
	"context"
	"slices"

	"sidecast/relay/protocol"
)

// A lookup is a position that waits for a read of the stream.
type lookup struct {
	position *Position
	from     Cursor
	owed     bool
	byID     bool // as in Position
	newest   int  // likewise
	wake     func()
}

// A lookupResult is what a read found after a position. If it found entries,
// they are in the pages.
type lookupResult struct {
	found   bool   // entries
	none    bool   // no entries
	from    Cursor // after which they were read, with its check
	place   place  // of the reader, before that
	gap     bool
	why     protocol.GapReason
	located bool   // the newest entries
	at      Cursor // where the client continues after the gap, or begins
	owed    bool   // with that entry itself
	err     error
}

// lookup reads the entries after a position. Positions that wait for the same
// stream share its reads: the lowest one is read first, and the entries after it
// usually include those of others. If the last read failed a moment ago, lookup
// returns its error.
func (r *Reader) lookup(p *Position, wake func()) error {
	r.mu.Lock()
	switch {
	case r.removed:
		r.mu.Unlock()
		return ErrRemoved
	case p.newest > 0 && r.newestErr != nil && r.readers.cfg.Now() < r.newestAgain:
		defer r.mu.Unlock()
		return r.newestErr
	case p.newest == 0 && r.lookupErr != nil && r.readers.cfg.Now() < r.lookupAgain:
		defer r.mu.Unlock()
		return r.lookupErr
	}
	p.pending = true
	r.lookups = append(r.lookups, lookup{p, p.At, p.owed, p.byID, p.newest, wake})
	first := len(r.lookups) == 1
	r.mu.Unlock()
	if first {
		r.readers.scheduleLookup(r)
	}
	return nil
}

// lookUp reads for one position, and wakes those for which it has a result. It
// reports whether others are left.
func (r *Reader) lookUp(ctx context.Context) (more bool) {
	epoch, _ := r.readers.linkState()
	r.mu.Lock()
	if len(r.lookups) == 0 { // the reader was closed
		r.mu.Unlock()
		return false
	}
	if n := r.newestWantedLocked(); n > 0 {
		n = max(n, min(r.limit, protocol.MaxLast)) // for clients that ask for more
		r.mu.Unlock()
		return r.lookUpNewest(ctx, n)
	}
	next := slices.MinFunc(r.lookups, func(a, b lookup) int { return a.from.ID.Compare(b.from.ID) })
	limit, first := r.limit, r.firstLocked(epoch)
	before := place{known: r.hasPlace, at: r.place, moves: r.moves, epoch: epoch, checks: r.readsSucceeded}
	r.mu.Unlock()

	var v verdict
	page, err := r.readers.cfg.Store().Read(ctx, r.name, next.from.ID, limit)
	if err == nil {
		r.waitForOwnAdds() // as before a delivery
		v = next.follow(&page, first)
	}
	return r.endLookups(next, v, before, err)
}

// follow returns what follows the position for which a page was read. If the
// position was known by its id only, it gets the check of its entry.
func (l *lookup) follow(page *Page, first *Cursor) verdict {
	if l.byID {
		first = nil // the application may have seen an earlier stream
		if page.BeginsAt(l.from.ID) {
			l.from.Check = page.Entries[0].Check
		}
	}
	v := page.follow(l.from, first)
	switch {
	case !l.owed || v.gap || v.again:
	case page.BeginsAt(l.from.ID):
		v.entries = page.Entries
	default: // that entry was the last one, and does not exist any more
		v.gap, v.why = true, protocol.GapTrimmed
	}
	return v
}

// endLookups wakes the positions for which a read for next has a result.
// The lookup is as it was added, apart from the check of a position that was
// known by its id.
func (r *Reader) endLookups(next lookup, v verdict, before place, err error) (more bool) {
	entries := newHeld(v.entries)
	result := lookupResult{err: err, found: len(entries) > 0, none: err == nil && len(entries) == 0 && !v.again, from: next.from, place: before}
	if v.gap {
		result = lookupResult{gap: true, why: v.why, at: v.end}
		if len(entries) > 0 {
			result.at, result.owed = entries[0].Cursor, true
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.lookupErr = err; err != nil {
		r.lookupAgain = r.readers.cfg.Now() + int64(RetryAfter)
		r.limit = max(r.limit/2, 1) // the page may have been too large for the timeout
	}
	if r.moves != before.moves && err == nil {
		result, entries = lookupResult{}, nil // the stream was created again: read it again
	}
	if len(entries) > 0 && !r.removed {
		r.pages.insert(next.from, !v.gap && !next.owed, entries)
		r.limit = nextLimit(r.limit, entries)
	}
	r.lookups = slices.DeleteFunc(r.lookups, func(l lookup) bool {
		switch {
		case l.newest > 0:
			return false
		case err != nil:
			l.position.result = lookupResult{err: err}
		case l.from.ID == next.from.ID && l.byID == next.byID && l.owed == next.owed && (l.byID || l.from == next.from):
			l.position.result = result
		case len(entries) > 0 && l.from.ID.Compare(entries[len(entries)-1].ID) < 0:
			l.position.result = lookupResult{} // the page may have what it needs
		default:
			return false
		}
		l.position.pending = false
		l.wake()
		return true
	})
	return len(r.lookups) > 0
}

// dropLookupsLocked ends all lookups, because the channel has no subscribers any
// more.
func (r *Reader) dropLookupsLocked() {
	for _, l := range r.lookups {
		l.position.result, l.position.pending = lookupResult{err: ErrRemoved}, false
		l.wake()
	}
	r.lookups = nil
}
