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

// The times of markers.
const (
	markerQuiet = time.Second            // publish one when nobody's was seen for this long, give or take a fifth
	markerOwn   = 5 * time.Second        // publish one of our own at least this often
	markerLost  = 4 * time.Second        // after Redis answered the PUBLISH of one that has not come back
	markerRetry = time.Minute            // after PUBLISH was refused
	markerMute  = 10 * time.Second       // of failed PUBLISHes in a live epoch are worth a warning
	markerCheck = 250 * time.Millisecond // how often to look while one of ours is on its way
)

var errMarkerLost = errors.New("a marker that Redis took did not come back over the link: " +
	"it does not deliver, or is connected to another server than the one that we publish to")

// A probe publishes markers and watches that our own come back, which proves that the link delivers what is published.
type probe struct {
	// Static after newProbe.
	link     *Link
	run      [8]byte
	settings [4]byte
	wake     chan struct{} // an epoch began

	// Owned by the goroutine of watch, which Run waits for.
	prefix  [5]byte // random bits of our ids
	counter uint32  // the rest of them, 24 bits

	// Guarded by mu.
	mu      sync.Mutex
	live    bool          // an epoch is running in which markers are heard
	seen    time.Time     // when the last marker, anybody's, came
	own     time.Time     // when we last tried to publish one
	quiet   time.Duration // markerQuiet with its jitter
	failing time.Time     // since when PUBLISH fails without an answer; zero if it does not
	refused time.Time     // when PUBLISH was last refused; zero if it is not
	sent    []sentMarker  // our own that have not come back, oldest first
}

type sentMarker struct {
	id       [8]byte
	began    time.Time // when PUBLISH was written
	answered time.Time // when Redis had run it; zero if that is not known
	barrier  uint64    // the PING that follows it, once it is overdue
}

func newProbe(l *Link) *probe {
	p := &probe{link: l, wake: make(chan struct{}, 1), settings: settingsHash(l.cfg.Names, l.cfg.Patterns, l.cfg.Durable...)}
	_, _ = rand.Read(p.run[:])
	p.nextPrefix()
	return p
}

func (p *probe) nextPrefix() { _, _ = rand.Read(p.prefix[:]) }

// begin starts the probe's part of an epoch. Called on the link's goroutine.
func (p *probe) begin(markers bool) {
	p.mu.Lock()
	p.live = markers
	p.seen, p.own, p.refused, p.failing, p.sent = time.Time{}, time.Time{}, time.Time{}, time.Time{}, nil
	p.mu.Unlock()
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// end ends it. Called on the link's goroutine.
func (p *probe) end() {
	p.mu.Lock()
	p.live = false
	p.sent = nil
	p.link.stats.MarkersUp.Store(false)
	p.mu.Unlock()
}

// heard takes a marker that came over the link. Called on the link's goroutine.
func (p *probe) heard(m marker) {
	if m.settings != p.settings {
		p.link.warned.foreign.Do(p.link.warnForeign)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.seen = time.Now()
	if m.run != p.run {
		return
	}
	i := slices.IndexFunc(p.sent, func(s sentMarker) bool { return s.id == m.id })
	if i < 0 {
		return
	}
	p.link.stats.MarkersUp.Store(true)
	p.link.stats.MarkerTrip.Observe(p.seen.Sub(p.sent[i].began))
	// Redis ran them in the order of our PUBLISHes, each of which waited for the answer to the one before.
	for _, s := range p.sent[:i] {
		if !s.answered.IsZero() {
			p.lose()
			break
		}
	}
	p.sent = slices.Delete(p.sent, 0, i+1)
}

// lose ends the link because one of our markers is lost. Called with the lock held.
func (p *probe) lose() {
	p.link.stats.MarkersLost.Add(1)
	p.link.cut(stats.CauseMarker, errMarkerLost)
}

// watch publishes and judges until ctx ends.
func (p *probe) watch(ctx context.Context) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.wake:
		case <-timer.C:
		}
		if p.due(time.Now()) <= 0 {
			p.publish(ctx)
		}
		at := time.Now()
		timer.Reset(min(p.due(at), p.judge(at)))
	}
}

// due returns how long to wait before the next marker of ours.
func (p *probe) due(at time.Time) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case !p.live:
		return time.Hour // begin wakes us
	case !p.refused.IsZero():
		return markerRetry - at.Sub(p.refused)
	}
	last := p.own // one that was just published has not been seen yet
	if p.seen.After(last) {
		last = p.seen
	}
	return min(p.quiet-at.Sub(last), markerOwn-at.Sub(p.own))
}

// publish publishes one marker and waits for Redis's answer.
func (p *probe) publish(ctx context.Context) {
	m := marker{id: p.nextID(), run: p.run, settings: p.settings}
	p.mu.Lock()
	p.own = time.Now()
	p.quiet = markerQuiet*4/5 + mathrand.N(markerQuiet*2/5)
	p.sent = append(p.sent, sentMarker{id: m.id, began: p.own})
	p.mu.Unlock()

	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	_, err := p.link.send(ctx, p.link.marker, m.encode())

	p.answered(m, err)
}

// answered notes what became of a PUBLISH.
func (p *probe) answered(m marker, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	at := time.Now()
	i := slices.IndexFunc(p.sent, func(s sentMarker) bool { return s.id == m.id })
	if err == nil {
		p.refused, p.failing = time.Time{}, time.Time{}
		if i >= 0 { // else it is back already, or the epoch over
			p.sent[i].answered = at
		}
		return
	}
	if i >= 0 { // whether Redis ran it is not known, so its absence proves nothing
		p.sent = slices.Delete(p.sent, i, i+1)
	}
	switch {
	case isDenied(err.Error()):
		p.refused = at
		p.link.stats.MarkersUp.Store(false)
		p.link.stats.MarkersLost.Add(1)
		p.link.warned.publish.Do(func() { p.link.warnPublish(err) })
	case p.failing.IsZero():
		p.failing = at
	case at.Sub(p.failing) >= markerMute && p.live:
		p.failing = at
		p.link.stats.MarkersUp.Store(false)
		p.link.warnMute(err)
	}
}

// nextID returns an id that nobody used before: 40 bits that are random for each run, and a count of 24.
func (p *probe) nextID() (id [8]byte) {
	if p.counter++; p.counter == 1<<24 {
		p.counter = 0
		p.nextPrefix()
	}
	copy(id[:], p.prefix[:])
	id[5], id[6], id[7] = byte(p.counter>>16), byte(p.counter>>8), byte(p.counter)
	return id
}

// judge looks for a marker that is overdue and returns how soon to look again. Overdue alone proves nothing: what waits
// in front of it may be more than we read in that time. So a PING is sent behind it, and the PONG is the proof.
func (p *probe) judge(at time.Time) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.sent) == 0 {
		return time.Hour
	}
	t := p.link.current()
	i := slices.IndexFunc(p.sent, func(s sentMarker) bool {
		return !s.answered.IsZero() && at.Sub(s.answered) >= markerLost
	})
	if t == nil || i < 0 {
		return markerCheck
	}
	s := &p.sent[i]
	if s.barrier == 0 {
		s.barrier, _ = t.ping() // where it fails the conn is ending
	} else if t.ponged.Load() >= s.barrier {
		p.lose()
		p.sent = nil
	}
	return markerCheck
}
