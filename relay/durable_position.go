package relay

import (
	"context"
	"errors"
	"time"

	"sidecast/relay/protocol"
)

// streamPause is how long to wait before a stream is read again after a read
// that failed.
const streamPause = 250 * time.Millisecond

// Errors of reads that cannot take place.
var (
	errAway = errors.New("redis is away")
	errGone = errors.New("the channel has no subscribers any more")
)

// A streamPosition is one client's place in a stream, and the entries that
// follow it as far as they were looked up. It is not safe for concurrent use.
type streamPosition struct {
	Reader *durable
	At     StreamCursor // the last entry that the client has
	Next   []*heldEntry // entries after At that were read for this client

	// The stream held nothing after At, although the reader did not keep At,
	// when the reader's place was level.
	nothing bool
	level   StreamCursor
}

// Find looks up what follows the position, and reports whether that can be
// known, and if not, why. It waits for Redis. After it returned found, the
// entries are in Next, or [streamPosition.Kept] finds them.
func (p *streamPosition) Find(ctx context.Context) (found bool, why protocol.GapReason, err error) {
	for refreshed := false; ; {
		switch result, why, err := p.look(ctx, &refreshed); {
		case err != nil:
			return false, 0, err
		case result == sightGap:
			return false, why, nil
		case result != sightRetry:
			return true, 0, nil
		}
	}
}

// look is one attempt of Find. refreshed says that the reader's own place was
// brought up to date during the search: a client that returns from another
// relay may be ahead of this one.
func (p *streamPosition) look(ctx context.Context, refreshed *bool) (sighting, protocol.GapReason, error) {
	d := p.Reader
	p.nothing = false
	d.mu.Lock()
	_, kept := d.behindLocked(p.At)
	place := d.place
	ahead := !d.known || p.At.ID.Compare(place.ID) > 0
	d.mu.Unlock()
	if kept {
		return sightKept, 0, nil
	}
	if _, up, _ := d.all.link(); !up {
		return 0, 0, errAway
	}
	if ahead && !*refreshed {
		err := d.Refresh(ctx)
		*refreshed = err == nil
		return sightRetry, 0, err
	}
	result, entries, why, err := d.passage(ctx, p.At)
	if err != nil || result != sightRead && result != sightNone {
		return result, why, err
	}
	p.Next = entries
	if result == sightRead {
		return result, 0, nil
	}
	if !*refreshed { // a client at the end of the stream has nothing after it either
		err := d.Refresh(ctx)
		*refreshed = err == nil
		return sightRetry, 0, err
	}
	// The reader had reached its place before nothing was found after the
	// client's: the entries between the two do not exist any more. That holds
	// as long as the reader stays there.
	p.nothing, p.level = true, place
	return sightNone, 0, nil
}

// Kept calls use with the entries after the position that the reader keeps,
// and the number of the last item that was delivered, and reports whether it
// did: it does not if the position is not among the kept entries. use runs
// with the reader locked, so that a subscription that it makes live misses
// nothing; it must not keep entries.
func (p *streamPosition) Kept(use func(entries []*heldEntry, last streamSeq)) bool {
	d := p.Reader
	d.mu.Lock()
	defer d.mu.Unlock()
	entries, kept := d.behindLocked(p.At)
	if !kept && !(p.nothing && d.known && d.place == p.level) {
		return false
	}
	use(entries, d.ordinal)
	return true
}

// Join calls use with the reader's place, if it has one, and the number of the
// last item that was delivered. use runs with the reader locked, so that a
// subscription that it makes live misses nothing. If there is no place yet, all
// subscribers get a gap as soon as there is one.
func (d *durable) Join(use func(place StreamCursor, known bool, last streamSeq)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.known {
		d.owed = true
	}
	use(d.place, d.known, d.ordinal)
}

// Ready waits until the reader has a place in the stream. The error says why it
// has none: [errAway] while Redis is away.
func (d *durable) Ready(ctx context.Context) error {
	for {
		d.mu.Lock()
		known, err := d.known, d.failed
		d.mu.Unlock()
		_, up, _ := d.all.link()
		switch {
		case errors.Is(err, ErrNoStream):
			return err
		case known:
			return nil
		case !up:
			return errAway
		}
		if err := d.Refresh(ctx); err != nil {
			return err
		}
	}
}

// Pause waits until another read may succeed. It returns false when ctx ends.
func (d *durable) Pause(ctx context.Context) bool {
	_, _, changed := d.all.link()
	timer := time.NewTimer(streamPause)
	defer timer.Stop()
	select {
	case <-changed:
	case <-timer.C:
	case <-ctx.Done():
		return false
	}
	return true
}
