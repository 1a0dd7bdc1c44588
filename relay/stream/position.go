package stream

import (
	"errors"

	"sidecast/relay/protocol"
)

// Errors of reads that cannot take place.
var (
	ErrUnavailable = errors.New("redis is unavailable")
	ErrRemoved     = errors.New("the channel has no subscribers any more")
)

// A Position is one client's place in a stream. It holds no entries. One
// goroutine at a time may call its methods.
type Position struct {
	Reader *Reader
	At     Cursor // the last entry that the client has

	// owed says that the client does not have the entry at At: it follows a gap.
	owed bool
	// restored says that what is in memory does not count: the stream was found to
	// have been restored from an older state.
	restored bool
	// atEnd says that the stream had no entry after At when the reader's place
	// was end, and read is the number of a read of the reader that began later,
	// if that is needed.
	atEnd bool
	end   Cursor
	read  uint64
	waits bool // for the end of that read; guarded by the reader's mu

	looking bool         // a lookup was started, and its result was not used yet
	pending bool         // the lookup has no result yet; guarded by the reader's mu
	result  lookupResult // likewise
}

// A Progress says what follows a position.
type Progress uint8

const (
	Wait    Progress = iota // it is not known yet
	Entries                 // the entries returned
	End                     // nothing: the client is where the reader is
	Gap                     // entries may be missing before what follows
)

// Next returns what follows the position. It does not move the position, except
// for a gap, which it returns once. If it returns [Wait], wake will be called,
// with locks held. If the stream cannot be read, it returns the reason.
func (p *Position) Next(wake func()) (entries []*Held, progress Progress, why protocol.GapReason, err error) {
	if p.looking {
		result, ended := p.lookedUp()
		if !ended {
			return nil, Wait, 0, nil
		}
		p.looking = false
		switch {
		case result.err != nil:
			return nil, Wait, 0, result.err
		case result.gap:
			p.At, p.owed, p.restored = result.at, result.owed, !result.owed
			return nil, Gap, result.why, nil
		case result.found:
			p.restored = false
		case result.none:
			p.atEnd, p.end = true, result.place
		}
	}
	r := p.Reader
	if ready, err := r.Ready(wake); !ready {
		return nil, Wait, 0, err
	}
	switch ended, err := p.catchUp(wake); {
	case ended:
		return nil, End, 0, nil
	case err != nil || p.read != 0:
		return nil, Wait, 0, err
	}
	if !p.restored {
		if entries = r.pages.after(p.At, p.owed); entries != nil {
			return entries, Entries, 0, nil
		}
	}
	if _, up := r.readers.linkState(); !up {
		return nil, Wait, 0, ErrUnavailable
	}
	p.atEnd, p.read, p.looking = false, 0, true
	r.lookup(p, wake)
	return nil, Wait, 0, nil
}

// catchUp reports whether the client is where the reader is. If that takes a
// read, catchUp waits for it, and its number is p.read, or returns why there is
// none.
func (p *Position) catchUp(wake func()) (ended bool, err error) {
	r := p.Reader
	r.mu.Lock()
	ended, needed, waits := p.isAtEndLocked(), p.needsReadLocked(), p.waits
	lastErr := r.lastErr
	r.mu.Unlock()
	switch {
	case ended || waits:
		return ended, nil
	case !needed:
		p.read = 0
		return false, nil
	case p.read != 0 && lastErr != nil: // that read failed
		p.read = 0
		return false, lastErr
	}
	p.waits = true
	p.read, err = r.await(func() { p.waits = false; wake() })
	if err != nil {
		p.waits = false
	}
	return false, err
}

// lookedUp returns the result of the lookup, if it has ended.
func (p *Position) lookedUp() (result lookupResult, ended bool) {
	p.Reader.mu.Lock()
	defer p.Reader.mu.Unlock()
	return p.result, !p.pending
}

// isAtEndLocked reports whether the client has everything up to the reader's
// place.
func (p *Position) isAtEndLocked() bool {
	place := p.Reader.place
	return p.Reader.hasPlace && !p.owed && (p.At == place || p.atEnd && p.end == place && !p.needsReadLocked())
}

// needsReadLocked reports whether the reader has to read before it is known that
// the client has everything: it may come from another relay, which was ahead of
// this one, or the stream was created again. If a read finds nothing, the
// entries between the two places do not exist any more.
func (p *Position) needsReadLocked() bool {
	r := p.Reader
	return p.atEnd && r.hasPlace && p.end == r.place && p.At != r.place && (p.read == 0 || r.readsSucceeded < p.read)
}

// Move moves the position to an entry that the client has received.
func (p *Position) Move(to Cursor) {
	p.At, p.owed, p.restored, p.atEnd, p.read = to, false, false, false, 0
}

// Join calls use with the number of the last item that was delivered, and
// returns the entries up to there, if they are in memory and fit reports that
// they are few enough. use runs with the reader locked, so that a subscription
// that it makes live misses nothing.
func (p *Position) Join(fit func([]*Held) bool, use func(last Seq)) (entries []*Held, ok bool) {
	r := p.Reader
	r.mu.Lock()
	defer r.mu.Unlock()
	if !p.isAtEndLocked() {
		if p.restored {
			return nil, false
		}
		if entries = r.pages.after(p.At, p.owed); entries == nil || !r.hasPlace ||
			entries[len(entries)-1].Cursor != r.place || !fit(entries) {
			return nil, false
		}
	}
	use(r.lastSeq)
	return entries, true
}
