package source

import (
	"context"
	"crypto/rand"
	"errors"
	mathrand "math/rand/v2"
	"slices"
	"sync"
	"time"

	"sidecast/relay/stats"
)

// Times of markers.
const (
	markerQuiet   = time.Second            // publish a marker if none was received for this long, give or take a fifth
	markerOwn     = 5 * time.Second        // publish a marker at least this often
	markerLost    = 4 * time.Second        // a marker is overdue this long after Redis answered its PUBLISH
	markerRetry   = time.Minute            // after PUBLISH was refused
	markerFailing = 10 * time.Second       // warn if PUBLISH has failed for this long in an epoch
	markerCheck   = 250 * time.Millisecond // between checks while one of the relay's markers has not returned
)

var errMarkerLost = errors.New("a marker that Redis accepted was not received over the link: " +
	"the link does not deliver, or it leads to another server than the one that the relay publishes to")

// A probe publishes markers and checks that they return, which proves that the
// link delivers published messages.
type probe struct {
	// Constant after newProbe.
	link     *Link
	runID    [8]byte
	settings [4]byte
	wake     chan struct{} // an epoch began
	relays   relayCount    // locks itself

	// Owned by the goroutine of run, which the link's Run waits for.
	prefix  [5]byte // random part of the ids
	counter uint32  // the rest of them, 24 bits

	// Guarded by mu.
	mu           sync.Mutex
	live         bool          // an epoch is running in which markers are received
	lastSeen     time.Time     // when the last marker of any relay was received
	lastOwn      time.Time     // when the relay last tried to publish one
	quietFor     time.Duration // markerQuiet with its jitter
	failingSince time.Time     // since when PUBLISH has failed without an answer; zero if it works
	refusedAt    time.Time     // when PUBLISH was last refused; zero if it is not refused
	sent         []sentMarker  // the relay's own that have not returned, oldest first
}

type sentMarker struct {
	id          [8]byte
	publishedAt time.Time // when PUBLISH was written
	answeredAt  time.Time // when Redis answered it; zero if that is unknown
	pingSeq     uint64    // the PING sent after it became overdue; 0 before
}

func newProbe(l *Link) *probe {
	settings := settingsHash(l.cfg.Names, l.cfg.Patterns, l.cfg.Durable...)
	p := &probe{link: l, settings: settings, wake: make(chan struct{}, 1)}
	_, _ = rand.Read(p.runID[:])
	p.nextPrefix()
	return p
}

func (p *probe) nextPrefix() { _, _ = rand.Read(p.prefix[:]) }

// begin starts probing in an epoch. markers reports whether the link receives
// markers in it. Called on the link's goroutine.
func (p *probe) begin(markers bool) {
	p.mu.Lock()
	p.live = markers
	p.lastSeen, p.lastOwn, p.refusedAt, p.failingSince, p.sent = time.Time{}, time.Time{}, time.Time{}, time.Time{}, nil
	p.mu.Unlock()
	p.relays.begin(time.Now())
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// end stops probing when the epoch ends. Called on the link's goroutine.
func (p *probe) end() {
	p.mu.Lock()
	p.live = false
	p.sent = nil
	p.link.stats.MarkersUp.Store(false)
	p.mu.Unlock()
}

// received handles a marker that arrived over the link. Called on the link's
// goroutine.
func (p *probe) received(m marker) {
	if m.settings != p.settings {
		p.link.reporter.foreignRelay()
	}
	p.relays.received(m.run, time.Now())
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lastSeen = time.Now()
	if m.run != p.runID {
		return
	}
	i := p.indexSent(m.id)
	if i < 0 {
		return
	}
	p.link.stats.MarkersUp.Store(true)
	p.link.stats.MarkerTrip.Observe(p.lastSeen.Sub(p.sent[i].publishedAt))
	// Redis processed them in the order of the PUBLISHes, because each was
	// written after the answer to the one before.
	for _, s := range p.sent[:i] {
		if !s.answeredAt.IsZero() {
			p.markerLost()
			break
		}
	}
	p.sent = slices.Delete(p.sent, 0, i+1)
}

// indexSent returns the index of a marker in p.sent, or -1. Called with the
// lock held.
func (p *probe) indexSent(id [8]byte) int {
	return slices.IndexFunc(p.sent, func(s sentMarker) bool { return s.id == id })
}

// markerLost ends the link because one of the relay's own markers was lost.
// Called with the lock held.
func (p *probe) markerLost() {
	p.link.stats.MarkersLost.Add(1)
	p.link.cut(stats.CauseMarker, errMarkerLost)
}

// run publishes markers and checks that they return, until ctx ends.
func (p *probe) run(ctx context.Context) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.wake:
		case <-timer.C:
		}
		if p.untilNext(time.Now()) <= 0 {
			p.publish(ctx)
		}
		now := time.Now()
		timer.Reset(min(p.untilNext(now), p.checkOverdue(now)))
	}
}

// untilNext returns how long to wait before publishing the next marker.
func (p *probe) untilNext(now time.Time) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case !p.live:
		return time.Hour // begin wakes the goroutine
	case !p.refusedAt.IsZero():
		return markerRetry - now.Sub(p.refusedAt)
	}
	last := p.lastOwn // one that was just published has not been received yet
	if p.lastSeen.After(last) {
		last = p.lastSeen
	}
	return min(p.quietFor-now.Sub(last), markerOwn-now.Sub(p.lastOwn))
}

// publish publishes one marker and waits for Redis's answer.
func (p *probe) publish(ctx context.Context) {
	m := marker{id: p.nextID(), run: p.runID, settings: p.settings}
	p.mu.Lock()
	p.lastOwn = time.Now()
	p.quietFor = markerQuiet*4/5 + mathrand.N(markerQuiet*2/5)
	p.sent = append(p.sent, sentMarker{id: m.id, publishedAt: p.lastOwn})
	p.mu.Unlock()

	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	_, err := p.link.publishOnce(ctx, p.link.markerChannel, m.encode())

	p.recordAnswer(m, err)
}

// recordAnswer records the result of a marker's PUBLISH.
func (p *probe) recordAnswer(m marker, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	i := p.indexSent(m.id)
	if err == nil {
		p.refusedAt, p.failingSince = time.Time{}, time.Time{}
		if i >= 0 { // otherwise it has returned already, or the epoch is over
			p.sent[i].answeredAt = now
		}
		return
	}
	if i >= 0 { // Redis may not have processed it, so its absence proves nothing
		p.sent = slices.Delete(p.sent, i, i+1)
	}
	switch {
	case isDenied(err.Error()):
		p.refusedAt = now
		p.link.stats.MarkersUp.Store(false)
		p.link.stats.MarkersLost.Add(1)
		p.link.reporter.markerPublishDenied(err)
	case p.failingSince.IsZero():
		p.failingSince = now
	case now.Sub(p.failingSince) >= markerFailing && p.live:
		p.failingSince = now
		p.link.stats.MarkersUp.Store(false)
		p.link.reporter.markerPublishFailing(err)
	}
}

// nextID returns an id that was never used before: 40 bits that are random for
// each run, and a 24-bit counter.
func (p *probe) nextID() (id [8]byte) {
	if p.counter++; p.counter == 1<<24 {
		p.counter = 0
		p.nextPrefix()
	}
	copy(id[:], p.prefix[:])
	id[5], id[6], id[7] = byte(p.counter>>16), byte(p.counter>>8), byte(p.counter)
	return id
}

// checkOverdue looks for a marker that is overdue and returns how soon to check
// again. That a marker is overdue proves nothing: the messages before it may be
// more than the relay reads in that time. So a PING is sent after it; if the
// PONG arrives first, the marker is lost.
func (p *probe) checkOverdue(now time.Time) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.sent) == 0 {
		return time.Hour
	}
	c := p.link.current()
	i := slices.IndexFunc(p.sent, func(s sentMarker) bool {
		return !s.answeredAt.IsZero() && now.Sub(s.answeredAt) >= markerLost
	})
	if c == nil || i < 0 {
		return markerCheck
	}
	s := &p.sent[i]
	if s.pingSeq == 0 {
		s.pingSeq, _ = c.ping() // if it fails, the connection is ending
	} else if c.ponged.Load() >= s.pingSeq {
		p.markerLost()
		p.sent = nil
	}
	return markerCheck
}
