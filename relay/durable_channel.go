package relay

import (
	"context"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// ringBytes is how much of one channel is kept for clients that come back, and ringsBytes of all channels together.
	ringBytes  = 1 << 20
	ringsBytes = 64 << 20
	// heldCharge is what a kept entry costs beside its payload and a frame.
	heldCharge = 256
	// pageMin to pageMax entries are read at once: as many as make about pageBytes.
	streamPageMin   = 4
	streamPageFirst = 16
	streamPageMax   = 512
	streamPageBytes = 128 << 10
	// echoPatience is how long entries wait for the ids of those that clients are adding just now and do not want back.
	echoPatience = 250 * time.Millisecond
)

// A durable is the relay's own place in the stream of one channel, and the entries before it, as far as they are kept.
// Whatever lies between two entries of the ring was read without a hole, so it is what a client has missed that comes
// back to one of them, whatever happened to the stream since.
type durable struct {
	all     *durables
	channel *channel
	name    string

	// Guarded by the mu of all.
	queued  bool
	reading bool
	more    bool // the read goes on with another page
	again   bool // something came while it was read

	mu      sync.Mutex
	known   bool         // there is a place
	place   StreamCursor // the last entry that was handed out, or where handing out began
	ordinal uint64       // the number of what was handed out last
	absent  uint64       // the link under which there was no stream at place 0
	base    StreamCursor // the entry before ring[0]
	ring    []*heldEntry
	bytes   int
	limit   int   // of entries to read at once
	failed  error // what came of the last read
	owed    bool  // somebody joined without a cursor before there was a place
	gone    bool  // nobody listens any more: nothing is kept

	// Nudges of which no entry was read yet, with a payload and without, or entries for which no nudge came yet.
	loaded, plain, credit int

	// Reads are counted as they begin and end, so that one can wait for one that began later.
	begun, ended uint64
	progress     chan struct{} // closed when the next one ends

	flight chan struct{}   // closed when the passage was read that somebody reads just now; nil if nobody does
	adding []chan struct{} // each closed when a client's entry has its id
	pages  []passage
}

// newDurable returns one that has no place yet. The hub is locked.
func newDurable(all *durables, ch *channel) *durable {
	return &durable{
		all: all, channel: ch, name: ch.name, ordinal: all.seq, limit: streamPageFirst, progress: make(chan struct{}),
	}
}

// A heldEntry is an entry that is kept, with the frames that were made of it.
type heldEntry struct {
	Entry
	frames [numProtocols]atomic.Pointer[[]byte]
}

// frame returns the entry as a client of the protocol gets it: the message, or the gap in its place.
func (e *heldEntry) frame(p Protocol, channel string) []byte {
	slot := &e.frames[p.ID()]
	if frame := slot.Load(); frame != nil {
		return *frame
	}
	var frame []byte
	if e.TooLarge {
		frame = p.Event(Event{Type: EventGap, Channel: channel, Reason: GapTooLarge, Cursor: e.text()})
	} else {
		frame = p.Message(channel, e.text(), e.Payload)
	}
	slot.Store(&frame)
	return frame
}

func (e *heldEntry) charge() int { return 2*len(e.Payload) + heldCharge }

// nudge takes in that something may be new. loaded says that the nudge had a payload.
func (d *durable) nudge(loaded bool) {
	d.mu.Lock()
	switch {
	case d.credit > 0:
		d.credit--
	case loaded:
		d.loaded++
	default:
		d.plain++
	}
	d.mu.Unlock()
	d.all.schedule(d)
}

// read reads one page, the first of a read or one more, and hands out what is new. More says that there is more to read.
func (d *durable) read(ctx context.Context, epoch uint64, again bool) (more bool, err error) {
	d.mu.Lock()
	known, place, limit := d.known, d.place, d.limit
	sawAbsent := place.ID.IsZero() && d.absent == epoch
	loaded, plain := d.loaded, d.plain
	if !again {
		d.begun++
	}
	d.mu.Unlock()
	defer func() { d.end(more, err) }()
	if !known {
		state, err := d.all.streams().State(ctx, d.name)
		if err == nil {
			d.start(state, epoch)
		}
		return false, err
	}
	page, err := d.all.streams().Read(ctx, d.name, place.ID, limit)
	if err != nil {
		return false, err
	}
	entries, why, ok := page.follow(place, sawAbsent)
	if !ok {
		d.jump(page.State, why, epoch)
		return false, nil
	}
	if len(entries) == 0 && place.ID.IsZero() && !page.State.Exists {
		d.mu.Lock()
		d.absent = epoch
		d.mu.Unlock()
	}
	d.extend(hold(entries))
	if !page.More {
		d.settleNudges(loaded, plain)
	}
	return page.More, nil
}

func hold(entries []Entry) []*heldEntry {
	held := make([]*heldEntry, len(entries))
	for i := range entries {
		held[i] = &heldEntry{Entry: entries[i]}
	}
	return held
}

// end counts a read as ended, unless it goes on with another page.
func (d *durable) end(more bool, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.failed = err
	if more && err == nil {
		return
	}
	d.ended = d.begun
	close(d.progress)
	d.progress = make(chan struct{})
}

// start finds the relay's place: the end of the stream.
func (d *durable) start(state StreamState, epoch uint64) {
	d.mu.Lock()
	d.known = true
	owed := d.owed
	d.owed = false
	d.moveLocked(&state, epoch)
	var items []item
	if owed {
		items = d.gapLocked(GapRedis)
	}
	d.mu.Unlock()
	d.handOut(items)
}

// jump goes to the end of the stream, because what lies between is not known.
func (d *durable) jump(state *StreamState, why GapReason, epoch uint64) {
	d.mu.Lock()
	d.moveLocked(state, epoch)
	items := d.gapLocked(why)
	d.mu.Unlock()
	d.handOut(items)
}

// moveLocked makes the end of the stream the relay's place.
func (d *durable) moveLocked(state *StreamState, epoch uint64) {
	d.dropLocked(len(d.ring))
	d.place = state.cursor()
	d.base = d.place
	if !state.Exists {
		d.absent = epoch
	}
	d.loaded, d.plain, d.credit = 0, 0, 0
}

// gapLocked returns a gap that ends at the relay's place.
func (d *durable) gapLocked(why GapReason) []item {
	items, _ := d.numberLocked(1)
	for i := range items {
		items[i].kind, items[i].reason = itemGap, why
		d.all.hub.encode(&items[i], Event{Type: EventGap, Channel: d.name, Reason: why, Cursor: d.place.text()})
	}
	return items
}

// numberLocked returns n items to be filled, and who is to get them: nobody, and no items, if nobody listens any more.
// That is one step with moving the place, so that who joins in between begins behind them and needs no frame.
func (d *durable) numberLocked(n int) ([]item, wanted) {
	h := d.all.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	if d.channel.durable != d {
		return nil, wanted{}
	}
	items := make([]item, n)
	for i := range items {
		d.all.seq++
		items[i] = item{kind: itemMessage, seq: d.all.seq, channel: d.channel}
	}
	d.ordinal = d.all.seq
	return items, wanted{d.channel.protocols, d.channel.echoes}
}

// extend hands out what follows the relay's place, and keeps it.
func (d *durable) extend(entries []*heldEntry) {
	if len(entries) == 0 {
		return
	}
	d.awaitIDs()
	d.mu.Lock()
	d.place = entries[len(entries)-1].StreamCursor
	d.keepLocked(entries)
	d.matchLocked(len(entries))
	items, wanted := d.numberLocked(len(entries))
	d.mu.Unlock()
	for i := range items {
		it, e := &items[i], entries[i]
		if e.TooLarge {
			it.kind, it.reason = itemGap, GapTooLarge
			d.all.hub.cfg.Stats.Dropped[DropOversize].Add(1)
		}
		for _, p := range d.all.hub.cfg.Protocols {
			if wanted.protocols[p.ID()] > 0 {
				it.frames[p.ID()] = e.frame(p, d.name)
			}
		}
		if wanted.echoes > 0 && !e.TooLarge {
			it.hash = e.ID.hash()
		}
	}
	d.handOut(items)
}

// handOut puts items into the mailboxes of the shards that have listeners.
func (d *durable) handOut(items []item) {
	if len(items) == 0 {
		return
	}
	for i, s := range d.all.hub.shards {
		if d.channel.rosters[i].count.Load() > 0 {
			s.box.put(items)
		}
	}
}

// hash is what a session knows its own entries by. It is never 0.
func (id StreamID) hash() uint64 { return (id.Ms<<20 ^ id.Seq) | 1<<63 }

// keepLocked appends to the ring and lets its front go where it grows too large.
func (d *durable) keepLocked(entries []*heldEntry) {
	if d.gone {
		return
	}
	d.ring = append(d.ring, entries...)
	for _, e := range entries {
		d.chargeLocked(e.charge())
	}
	d.limit = nextLimit(d.limit, entries)
	d.trimLocked()
}

func (d *durable) chargeLocked(n int) {
	d.bytes += n
	d.all.bytes.Add(n)
}

// trimLocked holds the bounds: the channel's, and, at its cost, that of all together.
func (d *durable) trimLocked() {
	gone, excess := 0, max(d.bytes-ringBytes, int(d.all.bytes.Load()-ringsBytes))
	for gone < len(d.ring) && excess > 0 {
		excess -= d.ring[gone].charge()
		gone++
	}
	d.dropLocked(gone)
}

// dropLocked lets the first n entries of the ring go.
func (d *durable) dropLocked(n int) {
	for i, e := range d.ring[:n] {
		d.chargeLocked(-e.charge())
		d.base = e.StreamCursor
		d.ring[i] = nil
	}
	if d.ring = d.ring[n:]; len(d.ring) == 0 {
		d.ring = nil
	}
}

// nextLimit is how many entries to read next so that they make about streamPageBytes.
func nextLimit(limit int, page []*heldEntry) int {
	if len(page) == 0 {
		return limit
	}
	bytes := 0
	for _, e := range page {
		bytes += len(e.Payload) + 64
	}
	fit := streamPageBytes / (bytes/len(page) + 1)
	return min(max(fit, streamPageMin), 2*limit, streamPageMax)
}

// matchLocked lets nudges and n new entries account for each other.
func (d *durable) matchLocked(n int) {
	plain := min(n, d.plain)
	loaded := min(n-plain, d.loaded)
	d.plain, d.loaded = d.plain-plain, d.loaded-loaded
	d.credit = min(d.credit+n-plain-loaded, streamPageMax)
}

// settleNudges judges the nudges that had come when a read began which found everything. One without a payload is never
// wrong.
func (d *durable) settleNudges(loaded, plain int) {
	d.mu.Lock()
	loaded, plain = min(loaded, d.loaded), min(plain, d.plain)
	d.loaded, d.plain = d.loaded-loaded, d.plain-plain
	d.mu.Unlock()
	if loaded > 0 {
		d.all.unfounded(d.name, loaded)
	}
}

// settled returns the relay's place, if it has one and the last read did not fail.
func (d *durable) settled() (StreamCursor, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.expireLocked(d.all.hub.now())
	return d.place, d.known && d.failed == nil
}

// forget gives back what is kept: nobody listens any more.
func (d *durable) forget() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.dropLocked(len(d.ring))
	d.expireLocked(math.MaxInt64)
	d.gone, d.known = true, false
}

// refresh has the channel read, and waits until a read has ended that began after the call. The error is that of the read.
func (d *durable) refresh(ctx context.Context) error {
	d.mu.Lock()
	target := d.begun + 1
	d.mu.Unlock()
	d.all.schedule(d)
	for {
		d.mu.Lock()
		ended, err, progress := d.ended, d.failed, d.progress
		d.mu.Unlock()
		if ended >= target {
			return err
		}
		select {
		case <-progress:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// awaitIDs waits until the entries have ids that clients are adding just now without wanting them back.
func (d *durable) awaitIDs() {
	d.mu.Lock()
	adding := slices.Clone(d.adding)
	d.mu.Unlock()
	if len(adding) == 0 {
		return
	}
	limit := time.NewTimer(echoPatience)
	defer limit.Stop()
	for _, done := range adding {
		select {
		case <-done:
		case <-limit.C:
			return
		}
	}
}

// add notes that a client is adding an entry that it does not want back. The caller calls done when it knows the id.
func (d *durable) add() (done func()) {
	ended := make(chan struct{})
	d.mu.Lock()
	d.adding = append(d.adding, ended)
	d.mu.Unlock()
	return func() {
		close(ended)
		d.mu.Lock()
		defer d.mu.Unlock()
		d.adding = slices.DeleteFunc(d.adding, func(c chan struct{}) bool { return c == ended })
	}
}
