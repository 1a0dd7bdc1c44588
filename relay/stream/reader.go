package stream

import (
	"context"
	"errors"
	"math"
	"slices"
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

// A readState says what happens with a reader.
type readState uint8

const (
	readIdle    readState = iota
	readQueued            // a goroutine will read its stream
	readFirst             // a goroutine reads the first page
	readPaused            // as readQueued, to continue with another page
	readFurther           // a goroutine reads another page
)

// RetryAfter is how long clients wait until a read is tried again that failed.
const RetryAfter = 250 * time.Millisecond

// A Reader reads the stream of one channel. It holds the relay's own place in
// the stream, and the recent entries as far as they are in the page cache.
//
// Package relay calls the exported methods concurrently. One goroutine of
// [Readers.Run] at a time reads new entries, and one reads for clients that
// resume.
//
// It has many fields because its place and the reads in progress change
// together, under one lock.
type Reader struct {
	readers *Readers
	sink    Sink
	name    string
	pages   pages

	// Guarded by readers.mu.
	state readState
	again bool // a read was requested during the current one

	mu         sync.Mutex
	hasPlace   bool    // place is valid
	place      Cursor  // the last entry that was delivered, or the place where delivery began
	lastSeq    Seq     // number of the last item that was delivered
	beganEpoch uint64  // the epoch in which the stream did not exist, if all of it was read since; else 0
	first      *Cursor // of the first entry since; nil if there is none
	oldest     *Cursor // of the stream's first entry, as far as that is known
	empty      bool    // the stream exists and has no entry up to place
	limit      int     // number of entries that the next read requests
	moves      uint64  // how often the place moved because of a gap
	lastErr    error   // result of the last read
	gapPending bool    // a client joined without a cursor before there was a place
	removed    bool    // the channel has no subscribers any more: nothing is kept

	withPayload, withoutPayload nudges
	unannounced                 int // entries for which no nudge has arrived yet

	// Reads are numbered when they start, so that a goroutine can wait for the
	// end of one that starts later.
	readsStarted, readsEnded uint64
	readsSucceeded           uint64 // the last one that succeeded
	waiting                  []readWaiter

	lookups     []lookup // wait for entries before place
	lookupErr   error    // of the last read for them
	lookupAgain int64    // until then it is not tried again, if that failed; by Config.Now
	newestErr   error    // as lookupErr, of reads of the newest entries, which need another right
	newestAgain int64    // as lookupAgain
	readAgainAt int64    // likewise for reads of new entries that clients ask for

	ownAdds []chan struct{} // each is closed when a client's entry has its id
}

func newReader(all *Readers, name string, sink Sink, last Seq) *Reader {
	return &Reader{readers: all, sink: sink, name: name, lastSeq: last, limit: pageFirst, pages: pages{cache: all.cfg.Cache}}
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

// Ready reports whether the reader has a place in the stream. If not, it
// returns why the last read failed, or nil if wake will be called when a read has
// ended.
func (r *Reader) Ready(wake func()) (ready bool, err error) {
	r.mu.Lock()
	ready, err = r.hasPlace, r.lastErr
	r.mu.Unlock()
	switch {
	case errors.Is(err, ErrNoStream):
		return false, err
	case ready:
		return true, nil
	case err != nil:
		r.retry()
		return false, err
	}
	_, err = r.await(wake)
	return false, err
}

// retry schedules a read after one that failed, but not for each client that
// asks.
func (r *Reader) retry() {
	now := r.readers.cfg.Now()
	r.mu.Lock()
	due := now >= r.readAgainAt
	if due {
		r.readAgainAt = now + int64(RetryAfter)
	}
	r.mu.Unlock()
	if due {
		r.readers.schedule(r)
	}
}

// A readWaiter waits for the end of a read.
type readWaiter struct {
	read uint64
	wake func()
}

// await has wake called, with the reader locked, when a read has ended that
// starts after the call, and returns its number. The error says why there is no
// read: [ErrUnavailable] or [ErrRemoved].
func (r *Reader) await(wake func()) (read uint64, err error) {
	if _, up := r.readers.linkState(); !up {
		return 0, ErrUnavailable
	}
	r.mu.Lock()
	if r.removed {
		r.mu.Unlock()
		return 0, ErrRemoved
	}
	read = r.readsStarted + 1
	r.waiting = append(r.waiting, readWaiter{read, wake})
	r.mu.Unlock()
	r.readers.schedule(r)
	return read, nil
}

// wakeLocked wakes those that wait for a read up to a number.
func (r *Reader) wakeLocked(read uint64) {
	r.waiting = slices.DeleteFunc(r.waiting, func(w readWaiter) bool {
		if w.read <= read {
			w.wake()
		}
		return w.read <= read
	})
}

// forgetAhead drops the entries after the relay's place, which were read for
// clients over an earlier link.
func (r *Reader) forgetAhead() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.hasPlace {
		r.pages.dropAfter(r.place)
	}
}

// interrupt wakes those that wait for a read, because there is no link.
func (r *Reader) interrupt() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.wakeLocked(math.MaxUint64)
}

// Schedule schedules a read because the stream has changed. It does not wait.
func (r *Reader) Schedule() { r.readers.schedule(r) }

// read reads one page and delivers its new entries. again means that the page
// continues a read, and more that the stream may have another page.
func (r *Reader) read(ctx context.Context, epoch uint64, again bool) (more bool, err error) {
	r.mu.Lock()
	if !again {
		r.readsStarted++
	}
	known, place, limit := r.hasPlace, r.place, r.limit
	first := r.firstLocked(epoch)
	began := place.ID.IsZero() && r.beganEpoch == epoch
	withPayload, withoutPayload := r.withPayload.received, r.withoutPayload.received
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
	if began && page.isWhole() {
		first = &page.Entries[0].Cursor
	}
	v := page.follow(place, first)
	switch {
	case v.again:
		return true, nil
	case v.gap || len(v.entries) > 0:
		r.deliver(v, epoch)
	case place.ID.IsZero():
		r.setBegan(epoch)
	}
	if !page.More {
		r.checkNudges(withPayload, withoutPayload)
	}
	return page.More, nil
}

// firstLocked returns the first entry of the stream, if the stream did not exist
// in this epoch, and all of it was read since.
func (r *Reader) firstLocked(epoch uint64) *Cursor {
	if r.beganEpoch != epoch {
		return nil
	}
	return r.first
}

// setBegan records that the stream does not exist.
func (r *Reader) setBegan(epoch uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.beganEpoch, r.first = epoch, nil
}

// endRead ends a read, unless it continues with another page.
func (r *Reader) endRead(more bool, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lastErr = err
	switch {
	case err != nil:
		r.limit = max(r.limit/2, 1) // the page may have been too large for the timeout
	case more:
		return
	default:
		r.readsSucceeded = r.readsStarted
	}
	r.readsEnded = r.readsStarted
	r.wakeLocked(r.readsEnded)
}

// setFirstPlace makes the end of the stream the relay's first place.
func (r *Reader) setFirstPlace(state State, epoch uint64) {
	r.mu.Lock()
	r.hasPlace = true
	r.moveLocked(state.cursor(), epoch)
	send := func() {}
	if r.gapPending {
		r.gapPending = false
		if seq, _, ok := r.sink.Number(1); ok {
			last, at := r.lastSeq, r.place
			r.lastSeq = seq
			send = func() { r.sink.Gap(seq, last, protocol.GapRedis, at.Text()) }
		}
	}
	r.mu.Unlock()
	send()
}

// moveLocked makes a place the relay's, although the entries before it are not
// known. If it is the zero Cursor, the stream does not exist.
func (r *Reader) moveLocked(to Cursor, epoch uint64) {
	r.pages.drop()
	r.moves++
	r.place = to
	r.beganEpoch, r.first = 0, nil
	r.oldest, r.empty = nil, false
	if to == (Cursor{}) {
		r.beganEpoch = epoch
	}
	r.markAllHandledLocked()
}

// deliver delivers and keeps what follows the relay's place. The place moves and
// the numbers are reserved in one step, so that a client that joins between them
// starts after these entries and needs no frame. A gap before entries has no
// cursor: a client that resumes between the two gets it again.
func (r *Reader) deliver(v verdict, epoch uint64) {
	entries := newHeld(v.entries)
	r.waitForOwnAdds()
	r.mu.Lock()
	n := len(entries)
	if v.gap {
		r.moveLocked(v.end, epoch)
		n++
	}
	if len(entries) > 0 {
		r.keepLocked(entries, !v.gap)
	}
	seq, to, ok := r.sink.Number(n)
	last := r.lastSeq
	if ok {
		r.lastSeq = seq + Seq(n) - 1
	}
	r.mu.Unlock()
	if !ok {
		return
	}
	if v.gap {
		r.sink.Gap(seq, last, v.why, v.cursor())
		seq++
	}
	for _, e := range entries {
		if e.TooLarge {
			r.readers.cfg.Stats.Dropped[stats.DropOversize].Add(1)
		}
	}
	if len(entries) > 0 {
		r.sink.Deliver(seq, entries, to)
	}
}

// keepLocked moves the relay's place to the last of the entries, and keeps them.
// known says that they directly follow the place before.
func (r *Reader) keepLocked(entries []*Held, known bool) {
	from := r.place
	if known && from.ID.IsZero() {
		r.first = &entries[0].Cursor
	} else if !known {
		r.beganEpoch = 0
	}
	if r.empty && known {
		r.oldest = &entries[0].Cursor
	}
	r.empty = false
	r.place = entries[len(entries)-1].Cursor
	if r.removed {
		return
	}
	if known {
		r.pages.append(from, entries)
	} else {
		r.pages.insert(from, false, entries)
	}
	r.limit = nextLimit(r.limit, entries)
	r.matchEntriesLocked(len(entries))
}

// nextLimit returns how many entries to read next so that they have about
// pageBytes bytes, judging by the size of the last page.
func nextLimit(limit int, page []*Held) int {
	bytes := 0
	for _, e := range page {
		bytes += len(e.Payload) + 64
	}
	fit := pageBytes / (bytes/len(page) + 1)
	return min(max(fit, pageMin), 2*limit, pageMax)
}

// currentPlace returns the relay's place, if it has one and the last read did
// not fail.
func (r *Reader) currentPlace() (Cursor, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.place, r.hasPlace && r.lastErr == nil
}

// failing reports whether the last read failed.
func (r *Reader) failing() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.lastErr != nil
}

// close drops all kept entries, because the channel has no subscribers any
// more, and wakes those that wait.
func (r *Reader) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.removed, r.hasPlace = true, false
	r.pages.drop()
	r.dropLookupsLocked()
	r.wakeLocked(math.MaxUint64)
}
