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

	// owed says that the client does not have the entry at At: it follows a gap,
	// or is the first one for the client.
	owed bool
	// before is the last entry that the client has if it is owed one that follows
	// a gap; else nil.
	before *Cursor
	// byID says that At has no check yet: any entry with its id counts.
	byID bool
	// since is the id after which the client began, until Next has said what
	// follows: from then on, At is exact.
	since ID
	// newest is how many of the newest entries are for the client, until At is
	// known; else 0.
	newest int
	// restored says that entries in memory must not be used: the stream was found
	// to have been restored from an older state.
	restored bool
	// end is where the reader was when the stream had no entry after At.
	end place
	// If At is not the reader's place, the reader must read once more before the
	// client can be said to be at the end: it may come from another relay, which
	// was ahead of this one, or the stream was restored from an older state. The
	// same applies if restored is set: a read of the reader that began before may
	// have entries that the client has. read is the number of that read, or 0.
	read  uint64
	waits bool // for the end of that read; guarded by the reader's mu

	looking bool         // a lookup was started, and its result was not used yet
	pending bool         // the lookup has no result yet; guarded by the reader's mu
	result  lookupResult // likewise
}

// A place says where a reader was when a lookup began.
type place struct {
	known  bool
	at     Cursor
	moves  uint64 // how often it had moved because of a gap
	epoch  uint64 // of the link
	checks uint64 // the last read that had succeeded
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
// for a gap, which it returns once. If err is nil and it returns [Wait], wake
// will be called, with locks held. If the stream cannot be read, err is the
// reason, and wake may never be called.
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
		case result.gap && p.before != nil:
			p.goBack()
		case result.gap:
			before := p.At
			p.Move(result.at)
			if p.owed, p.restored = result.owed, !result.owed; p.owed {
				p.before = &before
			}
			return nil, Gap, result.why, nil
		case result.located:
			p.Move(result.at)
			p.owed = result.owed
		case result.found:
			p.restored = false
			p.identify(result.from)
		case result.none:
			p.end = result.place
			p.identify(result.from)
		}
	}
	r := p.Reader
	if ready, err := r.Ready(wake); !ready {
		return nil, Wait, 0, err
	}
	p.findInMemory()
	if p.newest > 0 || p.byID {
		return nil, Wait, 0, p.startLookup(wake)
	}
	switch ended, waits, err := p.catchUp(wake); {
	case ended:
		p.since = ID{}
		return nil, End, 0, nil
	case err != nil || waits:
		return nil, Wait, 0, err
	}
	if !p.restored {
		if entries = r.pages.after(p.At, p.owed); entries != nil {
			p.since = ID{}
			return entries, Entries, 0, nil
		}
	}
	return nil, Wait, 0, p.startLookup(wake)
}

// startLookup has the reader read for the position, or returns why it cannot.
func (p *Position) startLookup(wake func()) error {
	if _, up := p.Reader.readers.linkState(); !up {
		return ErrUnavailable
	}
	p.forgetCheck()
	if err := p.Reader.lookup(p, wake); err != nil {
		return err
	}
	p.end, p.looking = place{}, true
	return nil
}

// catchUp reports whether the client is where the reader is. If the reader has to
// read before that is known, it waits for that, or returns why it cannot.
func (p *Position) catchUp(wake func()) (ended, waits bool, err error) {
	r := p.Reader
	epoch, _ := r.readers.linkState()
	r.mu.Lock()
	ended, waits = p.isAtEndLocked(epoch), p.waits
	needed := p.end.known && p.end.at == r.place && p.end.epoch == epoch && p.At != r.place || p.restored && p.At == r.place
	done, lastErr := p.read != 0 && r.readsSucceeded >= p.read, r.lastErr
	r.mu.Unlock()
	switch {
	case ended || waits || !needed || done:
		return ended, waits, nil
	case p.read != 0 && lastErr != nil: // that read failed
		p.read = 0
		return false, false, lastErr
	}
	p.waits = true
	p.read, err = r.await(func() { p.waits = false; wake() })
	if err != nil {
		p.waits = false
	}
	return false, true, err
}

// lookedUp returns the result of the lookup, if it has ended.
func (p *Position) lookedUp() (result lookupResult, ended bool) {
	p.Reader.mu.Lock()
	defer p.Reader.mu.Unlock()
	return p.result, !p.pending
}

// isAtEndLocked reports whether the client has everything up to the reader's
// place. If its own place is another one, a lookup that began after a read of
// the reader must have found nothing.
func (p *Position) isAtEndLocked(epoch uint64) bool {
	r, end := p.Reader, &p.end
	switch {
	case !r.hasPlace || p.owed:
		return false
	case p.At == r.place:
		return !p.restored || p.read != 0 && r.readsSucceeded >= p.read
	}
	return end.known && end.at == r.place && end.moves == r.moves && end.epoch == epoch && p.read != 0 && end.checks >= p.read
}

// Follows returns the cursor of the position, in wire form, if the client has
// everything up to it: nothing after a gap that entries follow.
func (p *Position) Follows() []byte {
	if p.owed {
		return nil
	}
	return p.At.Text()
}

// Move moves the position to an entry that the client has received. The reader
// has to read again before the client can be said to be at the end.
func (p *Position) Move(to Cursor) {
	p.At, p.owed, p.before, p.restored, p.end, p.read = to, false, nil, false, place{}, 0
	p.byID, p.since, p.newest = false, ID{}, 0
}

// goBack moves the position from the entry that follows a gap, which does not
// exist any more, to the last one that the client has: the stream may have
// entries between the two by now.
func (p *Position) goBack() {
	p.Move(*p.before)
	p.restored = true
}

// Join calls use with the number of the last item that was delivered, and
// returns the entries up to there, if they are in memory and fit reports that
// they are few enough. use runs with the reader locked, so that a subscription
// that it makes live misses nothing. behind says that the client's last entry is
// an earlier one than the reader's, which was deleted: what follows is the same,
// unless the next item is a gap.
func (p *Position) Join(fit func([]*Held) bool, use func(last Seq, behind bool)) (entries []*Held, ok bool) {
	r := p.Reader
	epoch, _ := r.readers.linkState()
	r.mu.Lock()
	defer r.mu.Unlock()
	if !p.isAtEndLocked(epoch) {
		if p.restored {
			return nil, false
		}
		if entries = r.pages.after(p.At, p.owed); entries == nil || !r.hasPlace ||
			entries[len(entries)-1].Cursor != r.place || !fit(entries) {
			return nil, false
		}
	}
	use(r.lastSeq, entries == nil && p.At.ID.Compare(r.place.ID) < 0)
	return entries, true
}
