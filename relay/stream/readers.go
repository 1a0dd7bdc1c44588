package stream

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
	readerGoroutines = 6
	pageReaders      = 4
	// sweepStreams is the longest time for which a lost nudge can hold up a message, as long as there are no more than
	// sweepRate channels for each second of it.
	sweepEvery = 5 * time.Second
	sweepRate  = 2000
	sweepBatch = 200
	// streamPatience bounds each call to Redis: one that hangs must not hold a reader for good.
	readTimeout = 5 * time.Second
	// complainEvery is how often the same complaint is logged.
	reportEvery = time.Minute
)

// readersConfig is what [durables] need.
type Config struct {
	Store  func() Store // reads and writes streams
	Now    func() int64 // a monotonic time in nanoseconds
	Stats  *stats.Stats
	Logger *slog.Logger
}

// A streamSeq numbers the items of durable channels, of all of them together, from 1.
type Seq uint64

// A streamAudience is how many subscribers a channel has, by protocol, and how many of them may have to skip an entry.
type Audience struct {
	Protocols [protocol.NumProtocols]int32
	Echoes    int32
}

// A streamSink is what a reader delivers the entries of one stream to. The reader calls it, a page at a time.
type Sink interface {
	// Number reserves n consecutive numbers and returns the first, with the audience of that moment. ok is false if there are
	// no subscribers any more, and then nothing is reserved. It is called with the reader locked.
	Number(n int) (first Seq, to Audience, ok bool)
	// Deliver delivers entries that were numbered from first. It may wait for room.
	Deliver(first Seq, entries []*Held, to Audience)
	// Gap delivers a gap in the place of what was numbered seq. The reader's place is at.
	Gap(seq Seq, why protocol.GapReason, at Cursor)
}

// durables reads the streams of all durable channels that somebody listens to. A channel is read when a nudge says that it
// has something new, when the link to Redis begins anew, and when a look at all of them finds that a nudge was lost; it is
// read by one goroutine at a time, and once more if a nudge comes meanwhile.
type Readers struct {
	cfg Config

	mu      sync.Mutex
	work    sync.Cond // there is something in queue, or closed
	active  map[*Reader]struct{}
	queue   []*Reader
	closed  bool
	epoch   uint64        // counts the links to Redis; odd while there is one
	changed chan struct{} // closed at the next change of epoch

	lookups chan struct{} // holds as many as are read

	bytes      stats.Gauge // kept for returning clients, over all channels
	ringBytes  int         // bound for one channel
	ringsBytes int64       // bound over all channels

	reports limitedReports
}

// NewReaders returns readers that do nothing before [Readers.Run].
func NewReaders(cfg Config) *Readers {
	rs := &Readers{
		cfg: cfg, active: make(map[*Reader]struct{}), changed: make(chan struct{}),
		lookups: make(chan struct{}, pageReaders), ringBytes: ringBytes, ringsBytes: ringsBytes,
	}
	rs.work.L = &rs.mu
	return rs
}

// SetLimits changes how many bytes of entries are kept for one channel, and
// for all channels together. Call it before the first Add.
func (rs *Readers) SetLimits(channel, total int) {
	rs.ringBytes, rs.ringsBytes = channel, int64(total)
}

// Store returns what the readers read from.
func (rs *Readers) Store() Store { return rs.cfg.Store() }

// run reads until ctx ends.
func (rs *Readers) Run(ctx context.Context) {
	stop := context.AfterFunc(ctx, rs.close)
	defer stop()
	var wg sync.WaitGroup
	for range readerGoroutines {
		wg.Go(func() { rs.read(ctx) })
	}
	wg.Go(func() { rs.sweep(ctx) })
	wg.Wait()
}

func (rs *Readers) close() {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	rs.closed = true
	rs.work.Broadcast()
}

// online takes in that a new link begins: everything is read once, because what was said meanwhile was not heard.
func (rs *Readers) Online() {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	if rs.epoch%2 == 1 {
		rs.epoch++
	}
	rs.nextEpoch()
	for r := range rs.active {
		rs.scheduleLocked(r)
	}
}

// offline takes in that the link is lost.
func (rs *Readers) Offline() {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	if rs.epoch%2 == 1 {
		rs.nextEpoch()
	}
}

func (rs *Readers) nextEpoch() {
	rs.epoch++
	close(rs.changed)
	rs.changed = make(chan struct{})
}

// Bytes returns what is kept for clients that come back.
func (rs *Readers) Bytes() int64 { return rs.bytes.Load() }

// link returns the number of the link, whether there is one, and what is closed when that changes.
func (rs *Readers) link() (epoch uint64, up bool, changed <-chan struct{}) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	return rs.epoch, rs.epoch%2 == 1, rs.changed
}

// add begins to read a channel's stream for sink. last is the number of the last item that sink was given a number for.
func (rs *Readers) Add(name string, sink Sink, last Seq) *Reader {
	r := newReader(rs, name, sink, last)
	rs.mu.Lock()
	defer rs.mu.Unlock()
	rs.active[r] = struct{}{}
	rs.scheduleLocked(r)
	return r
}

// remove ends reading a channel that nobody listens to any more.
func (rs *Readers) Remove(r *Reader) {
	rs.mu.Lock()
	delete(rs.active, r)
	rs.mu.Unlock()
	r.close()
}

// schedule has a channel read, from now on.
func (rs *Readers) schedule(r *Reader) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	rs.scheduleLocked(r)
}

func (rs *Readers) scheduleLocked(r *Reader) {
	switch {
	case rs.epoch%2 == 0: // it is read when Redis is back
	case r.reading, r.paging:
		r.again = true
	case !r.queued:
		rs.pushLocked(r)
	}
}

func (rs *Readers) pushLocked(r *Reader) {
	r.queued = true
	rs.queue = append(rs.queue, r)
	rs.work.Signal()
}

// next waits for a channel to read. more says that it goes on with a read that has begun.
func (rs *Readers) next() (r *Reader, epoch uint64, more bool) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	for len(rs.queue) == 0 && !rs.closed {
		rs.work.Wait()
	}
	if rs.closed {
		return nil, 0, false
	}
	r = rs.queue[0]
	rs.queue[0] = nil
	rs.queue = rs.queue[1:]
	r.queued, r.reading = false, true
	return r, rs.epoch, r.paging
}

// read is one of the goroutines that read.
func (rs *Readers) read(ctx context.Context) {
	for {
		r, epoch, more := rs.next()
		if r == nil {
			return
		}
		failing := r.failing()
		limited, cancel := context.WithTimeout(ctx, readTimeout)
		more, err := r.read(limited, epoch, more)
		cancel()
		if err != nil && (failing || errors.Is(err, ErrNoStream)) {
			rs.reportReadError(err)
		}
		rs.done(r, more && err == nil)
	}
}

// done ends reading a page. The next one waits behind the other channels.
func (rs *Readers) done(r *Reader, more bool) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	_, active := rs.active[r]
	active = active && rs.epoch%2 == 1
	r.reading, r.paging = false, more && active
	if !r.paging {
		active, r.again = active && r.again, false
	}
	if active {
		rs.pushLocked(r)
	}
}

// sweep finds what lost nudges have hidden.
func (rs *Readers) sweep(ctx context.Context) {
	for {
		wait := sweepEvery - sweepEvery/10 + rand.N(sweepEvery/5)
		list := rs.list()
		for len(list) > 0 {
			n := min(len(list), sweepBatch)
			rs.checkBehind(ctx, list[:n])
			list = list[n:]
			pause := time.Duration(n) * time.Second / sweepRate
			wait -= pause
			if !sleep(ctx, pause) {
				return
			}
		}
		if !sleep(ctx, max(wait, sweepEvery/10)) {
			return
		}
	}
}

func sleep(ctx context.Context, r time.Duration) bool {
	timer := time.NewTimer(r)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// list returns the channels that are read.
func (rs *Readers) list() (list []*Reader) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	if rs.epoch%2 == 0 {
		return nil
	}
	for r := range rs.active {
		list = append(list, r)
	}
	return list
}

// look has those of the channels read that have something new, or where reading failed the last time.
func (rs *Readers) checkBehind(ctx context.Context, list []*Reader) {
	var places []Place
	list = slices.DeleteFunc(slices.Clone(list), func(r *Reader) bool {
		at, ok := r.currentPlace()
		if !ok {
			rs.schedule(r)
			return true
		}
		places = append(places, Place{r.name, at.ID})
		return false
	})
	if len(places) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	behind, err := rs.cfg.Store().Behind(ctx, places)
	if err != nil {
		return // it is asked again
	}
	for i, r := range list {
		if behind[i] {
			rs.schedule(r)
		}
	}
}

// complain logs why a stream cannot be read: with most reasons, all of them cannot.
func (rs *Readers) reportReadError(err error) {
	if _, up, _ := rs.link(); !up {
		return // told already
	}
	if n, due := rs.reports.due(reportRead, rs.cfg.Now()); due {
		rs.cfg.Logger.Warn("durable channels cannot be read: their messages wait", "err", err, "times", n)
	}
}

// unfounded takes in that a nudge carried a payload, and nothing was added to the stream.
func (rs *Readers) reportSpurious(channel string, n int) {
	rs.cfg.Stats.Dropped[stats.DropNudge].Add(n)
	if n, due := rs.reports.due(reportNudge, rs.cfg.Now()); due {
		rs.cfg.Logger.Warn("a message was published to a durable channel and not added to its stream: clients hear what "+
			"XADD adds, and PUBLISH only says that there is something new", "channel", channel, "times", n)
	}
}

type report uint8

const (
	reportRead report = iota
	reportNudge
	numReports
)

// limitedComplaints lets each complaint through once in a while, with how often it was raised since.
type limitedReports struct {
	mu    sync.Mutex
	count [numReports]int
	until [numReports]int64
}

func (l *limitedReports) due(c report, now int64) (times int, due bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.count[c]++
	if now < l.until[c] {
		return 0, false
	}
	times = l.count[c]
	l.count[c], l.until[c] = 0, now+int64(reportEvery)
	return times, true
}
