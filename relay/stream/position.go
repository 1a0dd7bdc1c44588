package stream

import (
	"context"
	"errors"

	"sidecast/relay/protocol"
)

// Errors of reads that cannot take place.
var (
	ErrUnavailable = errors.New("redis is unavailable")
	ErrRemoved     = errors.New("the channel has no subscribers any more")
)

// A Position is one client's place in a stream, and the entries that follow it,
// as far as they were looked up. It is not safe for concurrent use.
type Position struct {
	Reader *Reader
	At     Cursor  // the last entry that the client has
	Next   []*Held // entries after At that were read for this client

	// knownEmpty says that the stream had no entry after At, although At is not
	// in the reader's ring, when the reader's place was emptyAt.
	knownEmpty bool
	emptyAt    Cursor
}

// Find looks up the entries after the position. It reports whether it can be
// known which entries were missed, and if not, why. It waits for Redis. After
// it has returned found, the entries are in Next, or [Position.Kept] finds
// them.
func (p *Position) Find(ctx context.Context) (found bool, why protocol.GapReason, err error) {
	for refreshed := false; ; {
		switch result, why, err := p.tryFind(ctx, &refreshed); {
		case err != nil:
			return false, 0, err
		case result == lookupGap:
			return false, why, nil
		case result != lookupRetry:
			return true, 0, nil
		}
	}
}

// tryFind is one attempt of Find. refreshed says that the reader was brought up
// to date during this search: a client that comes from another relay may be
// ahead of this one.
func (p *Position) tryFind(ctx context.Context, refreshed *bool) (lookupResult, protocol.GapReason, error) {
	r := p.Reader
	p.knownEmpty = false
	r.mu.Lock()
	_, kept := r.afterLocked(p.At)
	place := r.place
	ahead := !r.hasPlace || p.At.ID.Compare(place.ID) > 0
	r.mu.Unlock()
	if kept {
		return lookupKept, 0, nil
	}
	if _, up, _ := r.readers.linkState(); !up {
		return 0, 0, ErrUnavailable
	}
	if ahead && !*refreshed {
		err := r.Refresh(ctx)
		*refreshed = err == nil
		return lookupRetry, 0, err
	}
	result, entries, why, err := r.lookup(ctx, p.At)
	if err != nil || result != lookupRead && result != lookupNone {
		return result, why, err
	}
	p.Next = entries
	if result == lookupRead {
		return result, 0, nil
	}
	if !*refreshed { // a client at the end of the stream has nothing after it either
		err := r.Refresh(ctx)
		*refreshed = err == nil
		return lookupRetry, 0, err
	}
	// The reader had reached its place before the lookup found nothing after
	// the client's: the entries between the two do not exist any more. That
	// holds as long as the reader stays there.
	p.knownEmpty, p.emptyAt = true, place
	return lookupNone, 0, nil
}

// Kept calls use with the entries after the position that the reader keeps, and
// the number of the last item that was delivered. It returns false, without
// calling use, if the position is not among the kept entries. use runs with the
// reader locked, so that a subscription that it makes live misses nothing. It
// must not keep entries.
func (p *Position) Kept(use func(entries []*Held, last Seq)) bool {
	r := p.Reader
	r.mu.Lock()
	defer r.mu.Unlock()
	entries, kept := r.afterLocked(p.At)
	if !kept && !(p.knownEmpty && r.hasPlace && r.place == p.emptyAt) {
		return false
	}
	use(entries, r.lastSeq)
	return true
}
