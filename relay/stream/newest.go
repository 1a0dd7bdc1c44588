package stream

import (
	"context"
	"errors"
	"slices"
)

// newestBytes is about how many bytes of the newest entries a client gets at
// most, so that a client cannot make the relay read much again and again. It
// gets at least one entry.
const newestBytes = 1 << 20

// newestHeld returns the place of a client that gets the n newest entries, or
// fewer: at an entry, or before it with owed. ok is false if they are not all in
// memory.
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
// before oldest or newestBytes if that is reached first. An entry that is too
// large ends the search: the place is after it. ok is false if these entries are
// not known.
func (ps *pages) newest(end Cursor, n int, oldest *Cursor) (at Cursor, owed, ok bool) {
	ps.cache.Lock()
	defer ps.cache.Unlock()
	k := ps.until(end.ID) - 1
	if k < 0 {
		return at, false, false
	}
	bytes := newestBytes
	for i := ps.list[k].find(end); i >= 0; {
		p := ps.list[k]
		for ; i >= 0; i-- {
			e := p.entries[i]
			n, bytes = n-1, bytes-len(e.Payload)
			switch {
			case e.TooLarge:
				return e.Cursor, false, true
			case n == 0 || bytes <= 0 || oldest != nil && e.Cursor == *oldest:
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

// readNewest reads at least those of the n newest entries that a client gets.
// whole says that the stream has no others.
func (r *Reader) readNewest(ctx context.Context, n int) (entries []*Held, whole bool, err error) {
	r.mu.Lock()
	limit := min(n, r.limit)
	r.mu.Unlock()
	for {
		list, err := r.readers.cfg.Store().Newest(ctx, r.name, limit)
		entries, whole = newHeld(list), len(list) < limit
		if _, found := newestResult(entries, n, place{}); err != nil || whole || found {
			return entries, whole, err
		}
		limit = min(n, 8*limit)
	}
}

// lookUpNewest reads the n newest entries, once for all positions that wait for
// so many or fewer.
func (r *Reader) lookUpNewest(ctx context.Context, n int) (more bool) {
	before := r.currentPosition()
	held, whole, err := r.readNewest(ctx, n)
	if errors.Is(err, ErrNoStream) {
		r.readers.reportNewestError(err)
	}
	if err == nil {
		r.waitForOwnAdds() // as before a delivery
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.newestErr = err; err != nil {
		r.newestAgain = r.readers.cfg.Now() + int64(RetryAfter)
	}
	stale := err == nil && (!before.known || r.moves != before.moves) // the stream was created again: read it again
	if err == nil && !stale {
		r.keepNewestLocked(held, whole, before)
	}
	r.lookups = slices.DeleteFunc(r.lookups, func(l lookup) bool {
		if l.newest == 0 {
			return false
		}
		result := lookupResult{err: err}
		if err == nil && !stale {
			var found bool
			if result, found = newestResult(held, l.newest, before); !found && !whole {
				return false // it asked for more during the read
			}
		}
		l.position.result, l.position.pending = result, false
		l.wake()
		return true
	})
	return len(r.lookups) > 0
}

// newestResult returns the place before the n newest of these entries, or after
// the last one of them that is too large, as pages.newest does. Without entries,
// that is where the reader was before they were read. found says that earlier
// entries would not change it.
func newestResult(entries []*Held, n int, before place) (result lookupResult, found bool) {
	result = lookupResult{located: true, at: before.at}
	bytes := newestBytes
	for _, e := range slices.Backward(entries) {
		if e.TooLarge {
			if !result.owed {
				result.at = e.Cursor // the newest one
			}
			return result, true
		}
		result.at, result.owed = e.Cursor, true
		if n, bytes = n-1, bytes-len(e.Payload); n == 0 || bytes <= 0 {
			return result, true
		}
	}
	return result, false
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
