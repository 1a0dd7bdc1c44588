package stream

import (
	"context"
	"errors"
	"time"

	"sidecast/relay/protocol"
)

// streamPause is how long to wait before a stream is read again after a read
// that failed.
const pause = 250 * time.Millisecond

// Errors of reads that cannot take place.
var (
	ErrAway    = errors.New("redis is away")
	ErrRemoved = errors.New("the channel has no subscribers any more")
)

// A streamPosition is one client's place in a stream, and the entries that
// follow it as far as they were looked up. It is not safe for concurrent use.
type Position struct {
	Reader *Reader
	At     Cursor  // the last entry that the client has
	Next   []*Held // entries after At that were read for this client

	// The stream held nothing after At, although the reader did not keep At,
	// when the reader's place was level.
	nothing bool
	level   Cursor
}

// Find looks up what follows the position, and reports whether that can be
// known, and if not, why. It waits for Redis. After it returned found, the
// entries are in Next, or [streamPosition.Kept] finds them.
func (p *Position) Find(ctx context.Context) (found bool, why protocol.GapReason, err error) {
	for refreshed := false; ; {
		switch result, why, err := p.look(ctx, &refreshed); {
		case err != nil:
			return false, 0, err
		case result == lookupGap:
			return false, why, nil
		case result != lookupRetry:
			return true, 0, nil
		}
	}
}

// look is one attempt of Find. refreshed says that the reader's own place was
// brought up to date during the search: a client that returns from another
// relay may be ahead of this one.
func (p *Position) look(ctx context.Context, refreshed *bool) (lookupResult, protocol.GapReason, error) {
	d := p.Reader
	p.nothing = false
	d.mu.Lock()
	_, kept := d.afterLocked(p.At)
	place := d.place
	ahead := !d.hasPlace || p.At.ID.Compare(place.ID) > 0
	d.mu.Unlock()
	if kept {
		return lookupKept, 0, nil
	}
	if _, up, _ := d.readers.link(); !up {
		return 0, 0, ErrAway
	}
	if ahead && !*refreshed {
		err := d.Refresh(ctx)
		*refreshed = err == nil
		return lookupRetry, 0, err
	}
	result, entries, why, err := d.lookup(ctx, p.At)
	if err != nil || result != lookupRead && result != lookupNone {
		return result, why, err
	}
	p.Next = entries
	if result == lookupRead {
		return result, 0, nil
	}
	if !*refreshed { // a client at the end of the stream has nothing after it either
		err := d.Refresh(ctx)
		*refreshed = err == nil
		return lookupRetry, 0, err
	}
	// The reader had reached its place before nothing was found after the
	// client's: the entries between the two do not exist any more. That holds
	// as long as the reader stays there.
	p.nothing, p.level = true, place
	return lookupNone, 0, nil
}

// Kept calls use with the entries after the position that the reader keeps,
// and the number of the last item that was delivered, and reports whether it
// did: it does not if the position is not among the kept entries. use runs
// with the reader locked, so that a subscription that it makes live misses
// nothing; it must not keep entries.
func (p *Position) Kept(use func(entries []*Held, last Seq)) bool {
	d := p.Reader
	d.mu.Lock()
	defer d.mu.Unlock()
	entries, kept := d.afterLocked(p.At)
	if !kept && !(p.nothing && d.hasPlace && d.place == p.level) {
		return false
	}
	use(entries, d.last)
	return true
}

// Join calls use with the reader's place, if it has one, and the number of the
// last item that was delivered. use runs with the reader locked, so that a
// subscription that it makes live misses nothing. If there is no place yet, all
// subscribers get a gap as soon as there is one.
func (r *Reader) Join(use func(place Cursor, known bool, last Seq)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.hasPlace {
		r.gapPending = true
	}
	use(r.place, r.hasPlace, r.last)
}

// Ready waits until the reader has a place in the stream. The error says why it
// has none: [errAway] while Redis is away.
func (r *Reader) Ready(ctx context.Context) error {
	for {
		r.mu.Lock()
		known, err := r.hasPlace, r.failed
		r.mu.Unlock()
		_, up, _ := r.readers.link()
		switch {
		case errors.Is(err, ErrNoStream):
			return err
		case known:
			return nil
		case !up:
			return ErrAway
		}
		if err := r.Refresh(ctx); err != nil {
			return err
		}
	}
}

// Pause waits until another read may succeed. It returns false when ctx ends.
func (r *Reader) Pause(ctx context.Context) bool {
	_, _, changed := r.readers.link()
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-changed:
	case <-timer.C:
	case <-ctx.Done():
		return false
	}
	return true
}
