package stream

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"sidecast/relay/pagecache"
	"sidecast/relay/stats"
)

const (
	// readerGoroutines bounds how many streams are read at once for all
	// subscribers, and pageReaders how many for single clients that resume.
	// Together they leave some connections to Redis for other uses.
	readerGoroutines = 6
	pageReaders      = 4
	// readTimeout bounds each call to Redis, so that one that hangs does not
	// block a goroutine forever.
	readTimeout = 5 * time.Second
)

// A Config configures [Readers]. All fields but Spurious are required.
type Config struct {
	Store  func() Store     // returns the store for the next request
	Cache  *pagecache.Cache // for the entries
	Now    func() int64     // a monotonic time in nanoseconds
	Stats  *stats.Stats
	Logger *slog.Logger

	// Spurious is called if messages were published to a channel but not added to
	// its stream.
	Spurious func(channel string)
}

// Readers reads the streams of all durable channels that have subscribers. It
// reads a channel's stream when a nudge announces a new entry, when a
// connection to Redis begins, and when the sweep finds that a nudge was lost.
// One goroutine at a time reads a channel, and once more if another nudge
// arrives during the read.
//
// All methods may be called concurrently.
type Readers struct {
	cfg Config

	mu        sync.Mutex
	workReady sync.Cond // signaled when queue gets a reader, and on close
	active    map[*Reader]struct{}
	queue     []*Reader
	closed    bool
	epoch     uint64 // counts the begins and ends of connections to Redis; odd while connected

	lookups    []*Reader // that have lookups
	lookupWork sync.Cond // signaled when lookups gets a reader, and on close

	reports limitedReports
}

// NewReaders returns readers that do nothing before [Readers.Run].
func NewReaders(cfg Config) *Readers {
	rs := &Readers{cfg: cfg, active: make(map[*Reader]struct{})}
	rs.workReady.L, rs.lookupWork.L = &rs.mu, &rs.mu
	return rs
}

// Store returns the store from which the streams are read.
func (rs *Readers) Store() Store { return rs.cfg.Store() }

// Run reads streams until ctx ends.
func (rs *Readers) Run(ctx context.Context) {
	stop := context.AfterFunc(ctx, rs.close)
	defer stop()
	var wg sync.WaitGroup
	for range readerGoroutines {
		wg.Go(func() { rs.readLoop(ctx) })
	}
	for range pageReaders {
		wg.Go(func() { rs.lookupLoop(ctx) })
	}
	wg.Go(func() { rs.sweepLoop(ctx) })
	wg.Wait()
}

func (rs *Readers) close() {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	rs.closed = true
	rs.workReady.Broadcast()
	rs.lookupWork.Broadcast()
}

// Add starts to read a channel's stream for sink. last is the last number that
// was reserved for sink.
func (rs *Readers) Add(name string, sink Sink, last Seq) *Reader {
	r := newReader(rs, name, sink, last)
	rs.mu.Lock()
	defer rs.mu.Unlock()
	rs.active[r] = struct{}{}
	rs.scheduleLocked(r)
	return r
}

// Remove stops reading a channel that has no subscribers any more.
func (rs *Readers) Remove(r *Reader) {
	rs.mu.Lock()
	delete(rs.active, r)
	rs.mu.Unlock()
	r.close()
}

// Online reports that a new connection to Redis begins. Every stream is read
// once, because nudges published before are lost.
func (rs *Readers) Online() {
	rs.mu.Lock()
	if rs.epoch%2 == 1 {
		rs.epoch++
	}
	rs.epoch++
	list := slices.Collect(maps.Keys(rs.active))
	rs.mu.Unlock()
	for _, r := range list {
		r.forgetAhead()
		rs.schedule(r)
	}
}

// Offline reports that the connection to Redis is lost.
func (rs *Readers) Offline() {
	rs.mu.Lock()
	if rs.epoch%2 == 1 {
		rs.epoch++
	}
	list := slices.Collect(maps.Keys(rs.active))
	rs.mu.Unlock()
	for _, r := range list {
		r.interrupt()
	}
}

// linkState returns the epoch, and whether Redis is connected.
func (rs *Readers) linkState() (epoch uint64, up bool) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	return rs.epoch, rs.epoch%2 == 1
}

// schedule schedules a read of r that starts after the call.
func (rs *Readers) schedule(r *Reader) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	rs.scheduleLocked(r)
}

func (rs *Readers) scheduleLocked(r *Reader) {
	switch {
	case rs.epoch%2 == 0 || r.state == readQueued: // without a link, Online schedules it
	case r.state == readIdle:
		rs.pushLocked(r, readQueued)
	default:
		r.again = true
	}
}

func (rs *Readers) pushLocked(r *Reader, state readState) {
	r.state = state
	rs.queue = append(rs.queue, r)
	rs.workReady.Signal()
}

// readLoop is one of the goroutines that read. It ends when the readers are
// closed.
func (rs *Readers) readLoop(ctx context.Context) {
	for {
		r, epoch, more := rs.nextReader()
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
		rs.finishRead(r, more && err == nil)
	}
}

// nextReader waits for a reader in the queue. more means that its next page
// continues a read. It returns nil when the readers are closed.
func (rs *Readers) nextReader() (r *Reader, epoch uint64, more bool) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	for len(rs.queue) == 0 && !rs.closed {
		rs.workReady.Wait()
	}
	if rs.closed {
		return nil, 0, false
	}
	r = rs.queue[0]
	rs.queue[0] = nil
	rs.queue = rs.queue[1:]
	if r.state == readPaused {
		r.state = readFurther
	} else {
		r.state = readFirst
	}
	return r, rs.epoch, r.state == readFurther
}

// finishRead ends the read of a page. If there are more pages, or another read
// was requested, r goes to the end of the queue.
func (rs *Readers) finishRead(r *Reader, more bool) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	_, active := rs.active[r]
	active = active && rs.epoch%2 == 1
	switch {
	case active && more:
		rs.pushLocked(r, readPaused)
		return
	case active && r.again:
		rs.pushLocked(r, readQueued)
	default:
		r.state = readIdle
	}
	r.again = false
}

// scheduleLookup has a goroutine read for the clients that wait for r.
func (rs *Readers) scheduleLookup(r *Reader) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	rs.lookups = append(rs.lookups, r)
	rs.lookupWork.Signal()
}

// lookupLoop is one of the goroutines that read for clients that resume. It
// ends when the readers are closed.
func (rs *Readers) lookupLoop(ctx context.Context) {
	for {
		r := rs.nextLookup()
		if r == nil {
			return
		}
		limited, cancel := context.WithTimeout(ctx, readTimeout)
		more := r.lookUp(limited)
		cancel()
		if more {
			rs.scheduleLookup(r)
		}
	}
}

// nextLookup waits for a reader that has lookups. It returns nil when the
// readers are closed.
func (rs *Readers) nextLookup() *Reader {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	for len(rs.lookups) == 0 && !rs.closed {
		rs.lookupWork.Wait()
	}
	if rs.closed {
		return nil
	}
	r := rs.lookups[0]
	rs.lookups[0] = nil
	rs.lookups = rs.lookups[1:]
	return r
}
