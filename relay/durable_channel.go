package relay

import (
	"context"
	"math"
	"sync"

	"sidecast/relay/protocol"
	"sidecast/relay/stats"
)

const (
	// From streamPageMin to streamPageMax entries are read at once: as many as make about streamPageBytes.
	streamPageMin   = 4
	streamPageFirst = 16
	streamPageMax   = 512
	streamPageBytes = 128 << 10
)

// A durable is the relay's own place in the stream of one channel, and the entries before it, as far as they are kept.
// Whatever lies between two entries of the ring was read without a hole, so it is what a client has missed that comes
// back to one of them, whatever happened to the stream since.
type durable struct {
	all  *durables
	sink streamSink
	name string

	// Guarded by the mu of all.
	queued  bool
	reading bool
	more    bool // the read goes on with another page
	again   bool // something came while it was read

	mu      sync.Mutex
	known   bool         // there is a place
	place   StreamCursor // the last entry that was handed out, or where handing out began
	ordinal streamSeq    // the number of what was handed out last
	absent  uint64       // the link under which there was no stream at place 0
	base    StreamCursor // the entry before ring[0]
	ring    []*heldEntry
	bytes   int
	limit   int   // of entries to read at once
	failed  error // what came of the last read
	owed    bool  // somebody joined without a cursor before there was a place
	gone    bool  // nobody listens any more: nothing is kept

	loaded, plain nudges // with a payload and without
	credit        int    // entries for which no nudge came yet

	// Reads are counted as they begin and end, so that one can wait for one that began later.
	begun, ended uint64
	progress     chan struct{} // closed when the next one ends, or there will be none

	flight chan struct{}   // closed when the passage was read that somebody reads just now; nil if nobody does
	adding []chan struct{} // each closed when a client's entry has its id
	pages  []passage
}

// newDurable returns one that has no place yet.
func newDurable(all *durables, name string, sink streamSink, last streamSeq) *durable {
	return &durable{
		all: all, sink: sink, name: name, ordinal: last, limit: streamPageFirst, progress: make(chan struct{}),
	}
}

// read reads one page, the first of a read or one more, and hands out what is new. More says that there is more to read.
func (d *durable) read(ctx context.Context, epoch uint64, again bool) (more bool, err error) {
	d.mu.Lock()
	known, place, limit := d.known, d.place, d.limit
	sawAbsent := place.ID.IsZero() && d.absent == epoch
	loaded, plain := d.loaded.came, d.plain.came
	if !again {
		d.begun++
	}
	d.mu.Unlock()
	defer func() { d.end(more, err) }()
	if !known {
		state, err := d.all.cfg.Store().State(ctx, d.name)
		if err == nil {
			d.start(state, epoch)
		}
		return false, err
	}
	page, err := d.all.cfg.Store().Read(ctx, d.name, place.ID, limit)
	if err != nil {
		return false, err
	}
	entries, why, ok := page.follow(place, sawAbsent)
	if !ok {
		return false, d.lose(ctx, page.State, why, epoch)
	}
	if len(entries) == 0 && place.ID.IsZero() && !page.State.Exists {
		d.mu.Lock()
		d.absent = epoch
		d.mu.Unlock()
	}
	d.extend(hold(entries))
	if !page.More {
		d.judgeNudges(loaded, plain)
	}
	return page.More, nil
}

// end counts a read as ended, unless it goes on with another page.
func (d *durable) end(more bool, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.failed = err
	switch {
	case err != nil:
		d.limit = max(d.limit/2, 1) // perhaps it was too much for the time that there is
	case more:
		return
	}
	d.ended = d.begun
	d.progressLocked()
}

// start finds the relay's place: the end of the stream.
func (d *durable) start(state StreamState, epoch uint64) {
	d.mu.Lock()
	d.known = true
	owed := d.owed
	d.owed = false
	d.moveLocked(&state, epoch)
	send := func() {}
	if owed {
		send = d.gapLocked(protocol.GapRedis)
	}
	d.mu.Unlock()
	send()
}

// lose goes to the end of the stream. A page has no state where another entry has the id of the relay's place: the stream
// was made again.
func (d *durable) lose(ctx context.Context, state *StreamState, why protocol.GapReason, epoch uint64) error {
	if state == nil {
		now, err := d.all.cfg.Store().State(ctx, d.name)
		if err != nil {
			return err
		}
		state = &now
	}
	d.jump(state, why, epoch)
	return nil
}

// jump goes to the end of the stream, because what lies between is not known.
func (d *durable) jump(state *StreamState, why protocol.GapReason, epoch uint64) {
	d.mu.Lock()
	d.moveLocked(state, epoch)
	send := d.gapLocked(why)
	d.mu.Unlock()
	send()
}

// moveLocked makes the end of the stream the relay's place.
func (d *durable) moveLocked(state *StreamState, epoch uint64) {
	d.dropLocked(len(d.ring))
	d.place = state.cursor()
	d.base = d.place
	if !state.Exists {
		d.absent = epoch
	}
	d.forgiveLocked()
}

// gapLocked numbers a gap that ends at the relay's place. The function that it returns sends it; the caller unlocks the
// reader before.
func (d *durable) gapLocked(why protocol.GapReason) (send func()) {
	seq, _, ok := d.sink.Number(1)
	if !ok {
		return func() {}
	}
	d.ordinal = seq
	at := d.place
	return func() { d.sink.Gap(seq, why, at) }
}

// extend delivers what follows the relay's place, and keeps it. Numbering is one step with moving the place, so that a
// client that joins in between begins after these entries and needs no frame.
func (d *durable) extend(entries []*heldEntry) {
	if len(entries) == 0 {
		return
	}
	d.awaitIDs()
	d.mu.Lock()
	d.place = entries[len(entries)-1].StreamCursor
	d.keepLocked(entries)
	d.matchLocked(len(entries))
	first, to, ok := d.sink.Number(len(entries))
	if ok {
		d.ordinal = first + streamSeq(len(entries)) - 1
	}
	d.mu.Unlock()
	if !ok {
		return
	}
	for _, e := range entries {
		if e.TooLarge {
			d.all.cfg.Stats.Dropped[stats.DropOversize].Add(1)
		}
	}
	d.sink.Deliver(first, entries, to)
}

// settled returns the relay's place, if it has one and the last read did not fail.
func (d *durable) settled() (StreamCursor, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.expireLocked(d.all.cfg.Now())
	return d.place, d.known && d.failed == nil
}

// forget gives back what is kept: nobody listens any more.
func (d *durable) forget() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.dropLocked(len(d.ring))
	d.expireLocked(math.MaxInt64)
	d.gone, d.known = true, false
	d.progressLocked()
}

// progressLocked wakes who waits for a read.
func (d *durable) progressLocked() {
	close(d.progress)
	d.progress = make(chan struct{})
}

// Refresh has the channel read, and waits until a read has ended that began after the call. The error is that of the read,
// or says why there will be none.
func (d *durable) Refresh(ctx context.Context) error {
	d.mu.Lock()
	target := d.begun + 1
	d.mu.Unlock()
	d.all.schedule(d)
	for {
		_, up, changed := d.all.link()
		d.mu.Lock()
		ended, err, progress, gone := d.ended, d.failed, d.progress, d.gone
		d.mu.Unlock()
		switch {
		case ended >= target:
			return err
		case gone:
			return errGone
		case !up:
			return errAway
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
func (d *durable) schedule() { d.all.schedule(d) }

// failing reports whether the last read failed.
func (d *durable) failing() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.failed != nil
}
