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
	wake     func()
}

// A lookupResult is what a read found after a position. If it found entries,
// they are in the pages.
type lookupResult struct {
	found bool  // entries
	none  bool  // no entries
	place place // of the reader, before that
	gap   bool
	why   protocol.GapReason
	at    Cursor // where the client continues after the gap
	owed  bool   // with that entry itself
	err   error
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
	case r.lookupErr != nil && r.readers.cfg.Now() < r.lookupAgain:
		defer r.mu.Unlock()
		return r.lookupErr
	}
	p.pending = true
	r.lookups = append(r.lookups, lookup{p, p.At, p.owed, wake})
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
	next := slices.MinFunc(r.lookups, func(a, b lookup) int { return a.from.ID.Compare(b.from.ID) })
	limit, first := r.limit, r.firstLocked(epoch)
	before := place{known: r.hasPlace, at: r.place, moves: r.moves, epoch: epoch, checks: r.readsSucceeded}
	r.mu.Unlock()

	var v verdict
	page, err := r.readers.cfg.Store().Read(ctx, r.name, next.from.ID, limit)
	if err == nil {
		r.waitForOwnAdds() // as before a delivery
		v = page.follow(next.from, first)
	}
	if next.owed && err == nil && !v.gap {
		v.entries = page.Entries
	}
	return r.endLookups(next, v, before, err)
}

// endLookups wakes the positions for which a read for next has a result.
func (r *Reader) endLookups(next lookup, v verdict, before place, err error) (more bool) {
	entries := newHeld(v.entries)
	result := lookupResult{err: err, found: len(entries) > 0, none: err == nil && len(entries) == 0 && !v.again, place: before}
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
		case err != nil:
			l.position.result = lookupResult{err: err}
		case l.from == next.from && l.owed == next.owed:
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
