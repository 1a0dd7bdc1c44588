package stream

import (
	"context"
	"errors"
	"slices"
)

// newestHeld returns the place of a client that gets the n newest entries, or
// all if there are fewer: at an entry, or before it with owed. ok is false if
// they are not all in memory.
func (r *Reader) newestHeld(n int) (at Cursor, owed, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case !r.hasPlace:
		return at, false, false
	case r.empty || r.place.ID.IsZero():
		return r.place, false, true
	}
	return r.pages.newest(r.place, n, r.oldest)
}

// newest returns the place before the n newest of the entries up to end, or
// before oldest if that is reached first. An entry that is too large ends the
// search: the place is after it. ok is false if these entries are not known.
func (ps *pages) newest(end Cursor, n int, oldest *Cursor) (at Cursor, owed, ok bool) {
	ps.cache.Lock()
	defer ps.cache.Unlock()
	k := ps.until(end.ID) - 1
	if k < 0 {
		return at, false, false
	}
	for i := ps.list[k].find(end); i >= 0; {
		p := ps.list[k]
		for ; i >= 0; i-- {
			n--
			switch e := p.entries[i]; {
			case e.TooLarge:
				return e.Cursor, false, true
			case n == 0 || oldest != nil && e.Cursor == *oldest:
				return e.Cursor, true, true
			}
		}
		if k--; k >= 0 && p.known && ps.list[k].last() == p.from {
			i = len(ps.list[k].entries) - 1
		}
	}
	return at, false, false
}

// newestWantedLocked returns how many of the newest entries are to be read for
// the positions that wait for them; 0 if no position does.
func (r *Reader) newestWantedLocked() (n int) {
	for _, l := range r.lookups {
		n = max(n, l.newest)
	}
	return n
}

// lookUpNewest reads the n newest entries, once for all positions that wait for
// so many or fewer.
func (r *Reader) lookUpNewest(ctx context.Context, n int) (more bool) {
	before := r.currentPosition()
	entries, err := r.readers.cfg.Store().Newest(ctx, r.name, n)
	if errors.Is(err, ErrNoStream) {
		r.readers.reportNewestError(err)
	}
	if err == nil {
		r.waitForOwnAdds() // as before a delivery
	}
	held := newHeld(entries)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.newestErr = err; err != nil {
		r.newestAgain = r.readers.cfg.Now() + int64(RetryAfter)
	}
	stale := err == nil && (!before.known || r.moves != before.moves) // the stream was created again: read it again
	if err == nil && !stale {
		r.keepNewestLocked(held, len(held) < n, before)
	}
	r.lookups = slices.DeleteFunc(r.lookups, func(l lookup) bool {
		if l.newest == 0 || l.newest > n && len(held) == n { // the latter asked during the read
			return false
		}
		result := lookupResult{err: err}
		if err == nil && !stale {
			result = newestResult(held, l.newest, before)
		}
		l.position.result, l.position.pending = result, false
		l.wake()
		return true
	})
	return len(r.lookups) > 0
}

// newestResult returns the place before the n newest of these entries, or after
// the last one of them that is too large. Without entries, that is where the
// reader was before they were read.
func newestResult(entries []*Held, n int, before place) lookupResult {
	result := lookupResult{located: true, at: before.at}
	for _, e := range slices.Backward(entries[max(len(entries)-n, 0):]) {
		if e.TooLarge && !result.owed {
			result.at = e.Cursor // the newest one
		}
		if e.TooLarge {
			break
		}
		result.at, result.owed = e.Cursor, true
	}
	return result
}

// keepNewestLocked keeps the newest entries that were read when the reader was
// at before. whole says that the stream has no others.
func (r *Reader) keepNewestLocked(entries []*Held, whole bool, before place) {
	switch {
	case r.removed:
	case len(entries) > 0:
		r.pages.insert(Cursor{}, false, entries)
		if whole {
			r.oldest = &entries[0].Cursor
		}
		r.limit = nextLimit(r.limit, entries)
	case r.place == before.at:
		r.empty = true
	}
}

// currentPosition returns where the reader is.
func (r *Reader) currentPosition() place {
	epoch, _ := r.readers.linkState()
	r.mu.Lock()
	defer r.mu.Unlock()
	return place{known: r.hasPlace, at: r.place, moves: r.moves, epoch: epoch, checks: r.readsSucceeded}
}
