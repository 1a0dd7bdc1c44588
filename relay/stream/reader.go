package stream

import (
	"context"
	"math"
	"sync"

	"sidecast/relay/protocol"
	"sidecast/relay/stats"
)

const (
	// From streamPageMin to streamPageMax entries are read at once: as many as make about streamPageBytes.
	pageMin   = 4
	pageFirst = 16
	pageMax   = 512
	pageBytes = 128 << 10
)

// A durable is the relay's own place in the stream of one channel, and the entries before it, as far as they are kept.
// Whatever lies between two entries of the ring was read without a hole, so it is what a client has missed that comes
// back to one of them, whatever happened to the stream since.
type Reader struct {
	readers *Readers
	sink    Sink
	name    string

	// Guarded by the mu of all.
	queued  bool
	reading bool
	paging    bool // the read goes on with another page
	again   bool // something came while it was read

	mu         sync.Mutex
	hasPlace      bool   // there is a place
	place      Cursor // the last entry that was handed out, or where handing out began
	last       Seq    // the number of what was handed out last
	absent     uint64 // the link under which there was no stream at place 0
	base       Cursor // the entry before ring[0]
	ring       []*Held
	bytes      int
	limit      int   // of entries to read at once
	failed     error // what came of the last read
	gapPending bool  // somebody joined without a cursor before there was a place
	removed    bool  // nobody listens any more: nothing is kept

	withPayload, empty nudges // with a payload and without
	unannounced        int    // entries for which no nudge came yet

	// Reads are counted as they begin and end, so that one can wait for one that began later.
	started, ended uint64
	progress     chan struct{} // closed when the next one ends, or there will be none

	inFlight chan struct{}   // closed when the passage was read that somebody reads just now; nil if nobody does
	adding   []chan struct{} // each closed when a client's entry has its id
	pages    []keptPage
}

// newDurable returns one that has no place yet.
func newReader(all *Readers, name string, sink Sink, last Seq) *Reader {
	return &Reader{
		readers: all, sink: sink, name: name, last: last, limit: pageFirst, progress: make(chan struct{}),
	}
}

// read reads one page, the first of a read or one more, and hands out what is new. More says that there is more to read.
func (r *Reader) read(ctx context.Context, epoch uint64, again bool) (more bool, err error) {
	r.mu.Lock()
	known, place, limit := r.hasPlace, r.place, r.limit
	sawAbsent := place.ID.IsZero() && r.absent == epoch
	loaded, plain := r.withPayload.received, r.empty.received
	if !again {
		r.started++
	}
	r.mu.Unlock()
	defer func() { r.end(more, err) }()
	if !known {
		state, err := r.readers.cfg.Store().State(ctx, r.name)
		if err == nil {
			r.start(state, epoch)
		}
		return false, err
	}
	page, err := r.readers.cfg.Store().Read(ctx, r.name, place.ID, limit)
	if err != nil {
		return false, err
	}
	entries, why, ok := page.follow(place, sawAbsent)
	if !ok {
		return false, r.relocate(ctx, page.State, why, epoch)
	}
	if len(entries) == 0 && place.ID.IsZero() && !page.State.Exists {
		r.mu.Lock()
		r.absent = epoch
		r.mu.Unlock()
	}
	r.deliver(holdEntries(entries))
	if !page.More {
		r.settleNudges(loaded, plain)
	}
	return page.More, nil
}

// end counts a read as ended, unless it goes on with another page.
func (r *Reader) end(more bool, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failed = err
	switch {
	case err != nil:
		r.limit = max(r.limit/2, 1) // perhaps it was too much for the time that there is
	case more:
		return
	}
	r.ended = r.started
	r.wakeLocked()
}

// start finds the relay's place: the end of the stream.
func (r *Reader) start(state State, epoch uint64) {
	r.mu.Lock()
	r.hasPlace = true
	owed := r.gapPending
	r.gapPending = false
	r.moveLocked(&state, epoch)
	send := func() {}
	if owed {
		send = r.gapLocked(protocol.GapRedis)
	}
	r.mu.Unlock()
	send()
}

// lose goes to the end of the stream. A page has no state where another entry has the id of the relay's place: the stream
// was made again.
func (r *Reader) relocate(ctx context.Context, state *State, why protocol.GapReason, epoch uint64) error {
	if state == nil {
		now, err := r.readers.cfg.Store().State(ctx, r.name)
		if err != nil {
			return err
		}
		state = &now
	}
	r.jumpTo(state, why, epoch)
	return nil
}

// jump goes to the end of the stream, because what lies between is not known.
func (r *Reader) jumpTo(state *State, why protocol.GapReason, epoch uint64) {
	r.mu.Lock()
	r.moveLocked(state, epoch)
	send := r.gapLocked(why)
	r.mu.Unlock()
	send()
}

// moveLocked makes the end of the stream the relay's place.
func (r *Reader) moveLocked(state *State, epoch uint64) {
	r.dropLocked(len(r.ring))
	r.place = state.cursor()
	r.base = r.place
	if !state.Exists {
		r.absent = epoch
	}
	r.settleAllLocked()
}

// gapLocked numbers a gap that ends at the relay's place. The function that it returns sends it; the caller unlocks the
// reader before.
func (r *Reader) gapLocked(why protocol.GapReason) (send func()) {
	seq, _, ok := r.sink.Number(1)
	if !ok {
		return func() {}
	}
	r.last = seq
	at := r.place
	return func() { r.sink.Gap(seq, why, at) }
}

// extend delivers what follows the relay's place, and keeps it. Numbering is one step with moving the place, so that a
// client that joins in between begins after these entries and needs no frame.
func (r *Reader) deliver(entries []*Held) {
	if len(entries) == 0 {
		return
	}
	r.awaitIDs()
	r.mu.Lock()
	r.place = entries[len(entries)-1].Cursor
	r.keepLocked(entries)
	r.accountLocked(len(entries))
	first, to, ok := r.sink.Number(len(entries))
	if ok {
		r.last = first + Seq(len(entries)) - 1
	}
	r.mu.Unlock()
	if !ok {
		return
	}
	for _, e := range entries {
		if e.TooLarge {
			r.readers.cfg.Stats.Dropped[stats.DropOversize].Add(1)
		}
	}
	r.sink.Deliver(first, entries, to)
}

// settled returns the relay's place, if it has one and the last read did not fail.
func (r *Reader) currentPlace() (Cursor, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.expireLocked(r.readers.cfg.Now())
	return r.place, r.hasPlace && r.failed == nil
}

// forget gives back what is kept: nobody listens any more.
func (r *Reader) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.dropLocked(len(r.ring))
	r.expireLocked(math.MaxInt64)
	r.removed, r.hasPlace = true, false
	r.wakeLocked()
}

// progressLocked wakes who waits for a read.
func (r *Reader) wakeLocked() {
	close(r.progress)
	r.progress = make(chan struct{})
}

// Refresh has the channel read, and waits until a read has ended that began after the call. The error is that of the read,
// or says why there will be none.
func (r *Reader) Refresh(ctx context.Context) error {
	r.mu.Lock()
	target := r.started + 1
	r.mu.Unlock()
	r.readers.schedule(r)
	for {
		_, up, changed := r.readers.link()
		r.mu.Lock()
		ended, err, progress, gone := r.ended, r.failed, r.progress, r.removed
		r.mu.Unlock()
		switch {
		case ended >= target:
			return err
		case gone:
			return ErrRemoved
		case !up:
			return ErrAway
		}
		select {
		case <-progress:
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// schedule has the stream read: an event said that it changed.
func (r *Reader) Schedule() { r.readers.schedule(r) }

// failing reports whether the last read failed.
func (r *Reader) failing() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.failed != nil
}
