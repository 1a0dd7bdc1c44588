package relay

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"sidecast/relay/protocol"

	"sidecast/relay/stats"
)

const (
	// streamReaders is how many streams are read at once for all that listen, and streamPassages how many for single clients
	// that come back. Together they leave some of the connections to Redis to others.
	streamReaders  = 6
	streamPassages = 4
	// sweepStreams is the longest time for which a lost nudge can hold up a message, as long as there are no more than
	// sweepRate channels for each second of it.
	sweepStreams = 5 * time.Second
	sweepRate    = 2000
	sweepBatch   = 200
	// streamPatience bounds each call to Redis: one that hangs must not hold a reader for good.
	streamPatience = 5 * time.Second
	// complainEvery is how often the same complaint is logged.
	complainEvery = time.Minute
)

// readersConfig is what [durables] need.
type readersConfig struct {
	Store  func() Streams // reads and writes streams
	Now    func() int64   // a monotonic time in nanoseconds
	Stats  *stats.Stats
	Logger *slog.Logger
}

// A streamSeq numbers the items of durable channels, of all of them together, from 1.
type streamSeq uint64

// A streamAudience is how many subscribers a channel has, by protocol, and how many of them may have to skip an entry.
type streamAudience struct {
	Protocols [protocol.NumProtocols]int32
	Echoes    int32
}

// A streamSink is what a reader delivers the entries of one stream to. The reader calls it, a page at a time.
type streamSink interface {
	// Number reserves n consecutive numbers and returns the first, with the audience of that moment. ok is false if there are
	// no subscribers any more, and then nothing is reserved. It is called with the reader locked.
	Number(n int) (first streamSeq, to streamAudience, ok bool)
	// Deliver delivers entries that were numbered from first. It may wait for room.
	Deliver(first streamSeq, entries []*heldEntry, to streamAudience)
	// Gap delivers a gap in the place of what was numbered seq. The reader's place is at.
	Gap(seq streamSeq, why protocol.GapReason, at StreamCursor)
}

// durables reads the streams of all durable channels that somebody listens to. A channel is read when a nudge says that it
// has something new, when the link to Redis begins anew, and when a look at all of them finds that a nudge was lost; it is
// read by one goroutine at a time, and once more if a nudge comes meanwhile.
type durables struct {
	cfg readersConfig

	mu      sync.Mutex
	work    sync.Cond // there is something in queue, or closed
	active  map[*durable]struct{}
	queue   []*durable
	closed  bool
	epoch   uint64        // counts the links to Redis; odd while there is one
	changed chan struct{} // closed at the next change of epoch

	passages chan struct{} // holds as many as are read

	bytes      stats.Gauge // kept for clients that come back, of all channels together
	ringBytes  int         // how much may be kept of one channel
	ringsBytes int64       // and of all

	complaints limitedComplaints
}

func newDurables(cfg readersConfig) *durables {
	ds := &durables{
		cfg: cfg, active: make(map[*durable]struct{}), changed: make(chan struct{}),
		passages: make(chan struct{}, streamPassages), ringBytes: ringBytes, ringsBytes: ringsBytes,
	}
	ds.work.L = &ds.mu
	return ds
}

// run reads until ctx ends.
func (ds *durables) run(ctx context.Context) {
	stop := context.AfterFunc(ctx, ds.close)
	defer stop()
	var wg sync.WaitGroup
	for range streamReaders {
		wg.Go(func() { ds.read(ctx) })
	}
	wg.Go(func() { ds.sweep(ctx) })
	wg.Wait()
}

func (ds *durables) close() {
	ds.mu.Lock()
	defer ds.mu.Unlock()
	ds.closed = true
	ds.work.Broadcast()
}

// online takes in that a new link begins: everything is read once, because what was said meanwhile was not heard.
func (ds *durables) online() {
	ds.mu.Lock()
	defer ds.mu.Unlock()
	if ds.epoch%2 == 1 {
		ds.epoch++
	}
	ds.turn()
	for d := range ds.active {
		ds.scheduleLocked(d)
	}
}

// offline takes in that the link is lost.
func (ds *durables) offline() {
	ds.mu.Lock()
	defer ds.mu.Unlock()
	if ds.epoch%2 == 1 {
		ds.turn()
	}
}

func (ds *durables) turn() {
	ds.epoch++
	close(ds.changed)
	ds.changed = make(chan struct{})
}

// Bytes returns what is kept for clients that come back.
func (ds *durables) Bytes() int64 { return ds.bytes.Load() }

// link returns the number of the link, whether there is one, and what is closed when that changes.
func (ds *durables) link() (epoch uint64, up bool, changed <-chan struct{}) {
	ds.mu.Lock()
	defer ds.mu.Unlock()
	return ds.epoch, ds.epoch%2 == 1, ds.changed
}

// add begins to read a channel's stream for sink. last is the number of the last item that sink was given a number for.
func (ds *durables) add(name string, sink streamSink, last streamSeq) *durable {
	d := newDurable(ds, name, sink, last)
	ds.mu.Lock()
	defer ds.mu.Unlock()
	ds.active[d] = struct{}{}
	ds.scheduleLocked(d)
	return d
}

// remove ends reading a channel that nobody listens to any more.
func (ds *durables) remove(d *durable) {
	ds.mu.Lock()
	delete(ds.active, d)
	ds.mu.Unlock()
	d.forget()
}

// schedule has a channel read, from now on.
func (ds *durables) schedule(d *durable) {
	ds.mu.Lock()
	defer ds.mu.Unlock()
	ds.scheduleLocked(d)
}

func (ds *durables) scheduleLocked(d *durable) {
	switch {
	case ds.epoch%2 == 0: // it is read when Redis is back
	case d.reading, d.more:
		d.again = true
	case !d.queued:
		ds.pushLocked(d)
	}
}

func (ds *durables) pushLocked(d *durable) {
	d.queued = true
	ds.queue = append(ds.queue, d)
	ds.work.Signal()
}

// next waits for a channel to read. more says that it goes on with a read that has begun.
func (ds *durables) next() (d *durable, epoch uint64, more bool) {
	ds.mu.Lock()
	defer ds.mu.Unlock()
	for len(ds.queue) == 0 && !ds.closed {
		ds.work.Wait()
	}
	if ds.closed {
		return nil, 0, false
	}
	d = ds.queue[0]
	ds.queue[0] = nil
	ds.queue = ds.queue[1:]
	d.queued, d.reading = false, true
	return d, ds.epoch, d.more
}

// read is one of the goroutines that read.
func (ds *durables) read(ctx context.Context) {
	for {
		d, epoch, more := ds.next()
		if d == nil {
			return
		}
		failing := d.failing()
		limited, cancel := context.WithTimeout(ctx, streamPatience)
		more, err := d.read(limited, epoch, more)
		cancel()
		if err != nil && (failing || errors.Is(err, ErrNoStream)) {
			ds.complain(err)
		}
		ds.done(d, more && err == nil)
	}
}

// done ends reading a page. The next one waits behind the other channels.
func (ds *durables) done(d *durable, more bool) {
	ds.mu.Lock()
	defer ds.mu.Unlock()
	_, active := ds.active[d]
	active = active && ds.epoch%2 == 1
	d.reading, d.more = false, more && active
	if !d.more {
		active, d.again = active && d.again, false
	}
	if active {
		ds.pushLocked(d)
	}
}

// sweep finds what lost nudges have hidden.
func (ds *durables) sweep(ctx context.Context) {
	for {
		wait := sweepStreams - sweepStreams/10 + rand.N(sweepStreams/5)
		list := ds.list()
		for len(list) > 0 {
			n := min(len(list), sweepBatch)
			ds.look(ctx, list[:n])
			list = list[n:]
			pause := time.Duration(n) * time.Second / sweepRate
			wait -= pause
			if !sleep(ctx, pause) {
				return
			}
		}
		if !sleep(ctx, max(wait, sweepStreams/10)) {
			return
		}
	}
}

func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// list returns the channels that are read.
func (ds *durables) list() (list []*durable) {
	ds.mu.Lock()
	defer ds.mu.Unlock()
	if ds.epoch%2 == 0 {
		return nil
	}
	for d := range ds.active {
		list = append(list, d)
	}
	return list
}

// look has those of the channels read that have something new, or where reading failed the last time.
func (ds *durables) look(ctx context.Context, list []*durable) {
	var places []StreamPlace
	list = slices.DeleteFunc(slices.Clone(list), func(d *durable) bool {
		at, ok := d.settled()
		if !ok {
			ds.schedule(d)
			return true
		}
		places = append(places, StreamPlace{d.name, at.ID})
		return false
	})
	if len(places) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, streamPatience)
	defer cancel()
	behind, err := ds.cfg.Store().Behind(ctx, places)
	if err != nil {
		return // it is asked again
	}
	for i, d := range list {
		if behind[i] {
			ds.schedule(d)
		}
	}
}

// complain logs why a stream cannot be read: with most reasons, all of them cannot.
func (ds *durables) complain(err error) {
	if _, up, _ := ds.link(); !up {
		return // told already
	}
	if n, due := ds.complaints.due(complainRead, ds.cfg.Now()); due {
		ds.cfg.Logger.Warn("durable channels cannot be read: their messages wait", "err", err, "times", n)
	}
}

// unfounded takes in that a nudge carried a payload, and nothing was added to the stream.
func (ds *durables) unfounded(channel string, n int) {
	ds.cfg.Stats.Dropped[stats.DropNudge].Add(n)
	if n, due := ds.complaints.due(complainNudge, ds.cfg.Now()); due {
		ds.cfg.Logger.Warn("a message was published to a durable channel and not added to its stream: clients hear what "+
			"XADD adds, and PUBLISH only says that there is something new", "channel", channel, "times", n)
	}
}

type complaint uint8

const (
	complainRead complaint = iota
	complainNudge
	numComplaints
)

// limitedComplaints lets each complaint through once in a while, with how often it was raised since.
type limitedComplaints struct {
	mu    sync.Mutex
	count [numComplaints]int
	until [numComplaints]int64
}

func (l *limitedComplaints) due(c complaint, now int64) (times int, due bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.count[c]++
	if now < l.until[c] {
		return 0, false
	}
	times = l.count[c]
	l.count[c], l.until[c] = 0, now+int64(complainEvery)
	return times, true
}
