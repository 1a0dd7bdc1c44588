package stream

import (
	"context"
	"errors"
	"math"
	"sync"
	"time"

	"sidecast/relay/protocol"
	"sidecast/relay/stats"
)

// A read requests between pageMin and pageMax entries, as many as have about
// pageBytes bytes. The first read requests pageFirst.
const (
	pageMin   = 4
	pageFirst = 16
	pageMax   = 512
	pageBytes = 128 << 10
)

// retryPause is the time between a read that failed and the next read for the
// same client.
const retryPause = 250 * time.Millisecond

// A Reader reads the stream of one channel. It holds the relay's own place in
// the stream, and the entries before it as far as they are kept. There is no
// gap between two entries of the ring. So the entries after any of them are
// exactly what a client at that entry has missed, whatever happened to the
// stream since.
//
// Package relay calls the exported methods concurrently. One goroutine of
// [Readers.Run] at a time reads.
//
// It has many fields because its position, the kept entries and the reads in
// progress change together, under one lock.
type Reader struct {
	readers *Readers
	sink    Sink
	name    string

	// Guarded by readers.mu.
	queued    bool
	reading   bool
	paging    bool // the read continues with another page
	readAgain bool // a read was requested during the current one

	mu          sync.Mutex
	hasPlace    bool   // place is valid
	place       Cursor // the last entry that was delivered, or the place where delivery began
	lastSeq     Seq    // number of the last item that was delivered
	absentEpoch uint64 // the epoch in which the stream did not exist while place was zero
	base        Cursor // the entry before ring[0]
	ring        []*Held
	bytes       int   // charge of the ring
	limit       int   // number of entries that the next read requests
	lastErr     error // result of the last read
	gapPending  bool  // a client joined without a cursor before there was a place
	removed     bool  // the channel has no subscribers any more: nothing is kept

	withPayload, withoutPayload nudges
	unannounced                 int // entries for which no nudge has arrived yet

	// Reads are counted when they start and when they end, so that a goroutine
	// can wait for the end of a read that started later.
	readsStarted, readsEnded uint64
	readEnded                chan struct{} // closed when the next read ends, and when the reader is closed

	lookupEnded chan struct{}   // closed when the running lookup ends; nil if none is running
	ownAdds     []chan struct{} // each is closed when a client's entry has its id
	pages       []keptPage
}

func newReader(all *Readers, name string, sink Sink, last Seq) *Reader {
	return &Reader{
		readers: all, sink: sink, name: name, lastSeq: last, limit: pageFirst, readEnded: make(chan struct{}),
	}
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
	use(r.place, r.hasPlace, r.lastSeq)
}

// HasPlace reports whether the reader has a place in the stream.
func (r *Reader) HasPlace() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.hasPlace
}

// Ready waits until the reader has a place in the stream. The error says why it
// has no place: [ErrUnavailable] while Redis is unavailable.
func (r *Reader) Ready(ctx context.Context) error {
	for {
		r.mu.Lock()
		known, err := r.hasPlace, r.lastErr
		r.mu.Unlock()
		_, up, _ := r.readers.linkState()
		switch {
		case errors.Is(err, ErrNoStream):
			return err
		case known:
			return nil
		case !up:
			return ErrUnavailable
		}
		if err := r.Refresh(ctx); err != nil {
			return err
		}
	}
}

// Refresh schedules a read, and waits until a read has ended that started after
// the call. It returns the error of that read, or why there cannot be one:
// [ErrUnavailable] or [ErrRemoved].
func (r *Reader) Refresh(ctx context.Context) error {
	r.mu.Lock()
	target := r.readsStarted + 1
	r.mu.Unlock()
	r.readers.schedule(r)
	for {
		_, up, changed := r.readers.linkState()
		r.mu.Lock()
		ended, err, readEnded, removed := r.readsEnded, r.lastErr, r.readEnded, r.removed
		r.mu.Unlock()
		switch {
		case ended >= target:
			return err
		case removed:
			return ErrRemoved
		case !up:
			return ErrUnavailable
		}
		select {
		case <-readEnded:
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Schedule schedules a read because the stream has changed. It does not wait.
func (r *Reader) Schedule() { r.readers.schedule(r) }

// Pause waits until another read may succeed. It returns false when ctx ends.
func (r *Reader) Pause(ctx context.Context) bool {
	_, _, changed := r.readers.linkState()
	timer := time.NewTimer(retryPause)
	defer timer.Stop()
	select {
	case <-changed:
	case <-timer.C:
	case <-ctx.Done():
		return false
	}
	return true
}

// read reads one page and delivers its new entries. again means that the page
// continues a read, and more that the stream may have another page.
func (r *Reader) read(ctx context.Context, epoch uint64, again bool) (more bool, err error) {
	r.mu.Lock()
	known, place, limit := r.hasPlace, r.place, r.limit
	sawAbsent := place.ID.IsZero() && r.absentEpoch == epoch
	withPayload, withoutPayload := r.withPayload.received, r.withoutPayload.received
	if !again {
		r.readsStarted++
	}
	r.mu.Unlock()
	defer func() { r.endRead(more, err) }()
	if !known {
		state, err := r.readers.cfg.Store().State(ctx, r.name)
		if err == nil {
			r.setFirstPlace(state, epoch)
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
		r.absentEpoch = epoch
		r.mu.Unlock()
	}
	r.deliver(newHeld(entries))
	if !page.More {
		r.checkNudges(withPayload, withoutPayload)
	}
	return page.More, nil
}

// endRead counts a read as ended, unless it continues with another page.
func (r *Reader) endRead(more bool, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lastErr = err
	switch {
	case err != nil:
		r.limit = max(r.limit/2, 1) // the page may have been too large for the timeout
	case more:
		return
	}
	r.readsEnded = r.readsStarted
	r.wakeLocked()
}

// setFirstPlace makes the end of the stream the relay's first place.
func (r *Reader) setFirstPlace(state State, epoch uint64) {
	r.mu.Lock()
	r.hasPlace = true
	gapPending := r.gapPending
	r.gapPending = false
	r.moveLocked(&state, epoch)
	send := func() {}
	if gapPending {
		send = r.gapLocked(protocol.GapRedis)
	}
	r.mu.Unlock()
	send()
}

// relocate continues at the end of the stream after a gap. state is nil if the
// entry at the relay's place is a different one: the stream was created again.
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

// jumpTo makes the end of the stream the relay's place and delivers a gap,
// because the entries before it are not known.
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
		r.absentEpoch = epoch
	}
	r.markAllHandledLocked()
}

// gapLocked reserves a number for a gap that ends at the relay's place. The
// caller unlocks the reader and then calls send, which delivers the gap.
func (r *Reader) gapLocked(why protocol.GapReason) (send func()) {
	seq, _, ok := r.sink.Number(1)
	if !ok {
		return func() {}
	}
	r.lastSeq = seq
	at := r.place
	return func() { r.sink.Gap(seq, why, at) }
}

// deliver delivers and keeps the entries that follow the relay's place. The
// place moves and the numbers are reserved in one step, so that a client that
// joins between them starts after these entries and needs no frame.
func (r *Reader) deliver(entries []*Held) {
	if len(entries) == 0 {
		return
	}
	r.waitForOwnAdds()
	r.mu.Lock()
	r.place = entries[len(entries)-1].Cursor
	r.keepLocked(entries)
	r.matchEntriesLocked(len(entries))
	first, to, ok := r.sink.Number(len(entries))
	if ok {
		r.lastSeq = first + Seq(len(entries)) - 1
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

// currentPlace drops old pages and returns the relay's place, if it has one and
// the last read did not fail.
func (r *Reader) currentPlace() (Cursor, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.expireLocked(r.readers.cfg.Now())
	return r.place, r.hasPlace && r.lastErr == nil
}

// failing reports whether the last read failed.
func (r *Reader) failing() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.lastErr != nil
}

// close drops all kept entries, because the channel has no subscribers any
// more, and wakes the goroutines that wait for a read.
func (r *Reader) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.dropLocked(len(r.ring))
	r.expireLocked(math.MaxInt64)
	r.removed, r.hasPlace = true, false
	r.wakeLocked()
}

// wakeLocked wakes the goroutines that wait for a read.
func (r *Reader) wakeLocked() {
	close(r.readEnded)
	r.readEnded = make(chan struct{})
}
