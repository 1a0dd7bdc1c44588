package source

import (
	"context"
	"errors"
	"maps"
	"sync"
	"time"
)

// Times of the watch of a deposed master.
const (
	deposedInterval    = time.Second
	deposedUnreachable = 30 * time.Second // after this long without an answer, clients get the gap
	deposedWatch       = 5 * time.Minute  // the watch ends
)

// deposedMasters watches the masters that the link has left because Sentinels
// name another one. Until such a server becomes a replica, or stops, it accepts
// what applications publish that have not noticed the failover. These messages
// are lost after clients were notified of the failover, so they get another gap
// when there can be no more for now. A server that cannot be reached may come
// back as a master, so it is still watched after that.
type deposedMasters struct {
	link *Link
	wake chan struct{} // a master was added

	// Guarded by mu.
	mu      sync.Mutex
	masters map[string]*deposedMaster // by address
}

// A deposedMaster is one that the link has left.
type deposedMaster struct {
	leftAt     time.Time
	answeredAt time.Time // when it last answered, or leftAt
	reported   bool      // clients have got a gap since it last answered
}

// A deposedState is the relay's knowledge about a deposed master.
type deposedState int

const (
	deposedUnchanged   deposedState = iota // nothing to report
	deposedDemoted                         // it is no longer a master; clients get a gap
	deposedSilent                          // it has not answered for deposedUnreachable; clients get a gap
	deposedStillMaster                     // it was a master for deposedWatch
)

func newDeposedMasters(l *Link) *deposedMasters {
	return &deposedMasters{link: l, wake: make(chan struct{}, 1), masters: make(map[string]*deposedMaster)}
}

// follow records that the link leaves the master at one address, or none if it
// is empty, for the one at another.
func (d *deposedMasters) follow(from, to string) {
	d.mu.Lock()
	delete(d.masters, to)
	if from != "" && from != to && d.masters[from] == nil {
		now := time.Now()
		d.masters[from] = &deposedMaster{leftAt: now, answeredAt: now}
	}
	d.mu.Unlock()
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// run asks each deposed master for its role, at once and then periodically,
// until ctx ends.
func (d *deposedMasters) run(ctx context.Context) {
	tick := time.NewTicker(deposedInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-d.wake:
		case <-tick.C:
		}
		for addr, m := range d.list() {
			d.check(ctx, addr, m)
		}
	}
}

// list returns the watched masters.
func (d *deposedMasters) list() map[string]*deposedMaster {
	d.mu.Lock()
	defer d.mu.Unlock()
	return maps.Clone(d.masters)
}

// check asks one master for its role, reports the effect on clients, and
// ends its watch if there is no more to learn.
func (d *deposedMasters) check(ctx context.Context, addr string, m *deposedMaster) {
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	client := d.link.cfg.Server.nodeClient(addr)
	defer client.Close()
	state, over := m.judge(time.Now(), readRole(ctx, client))
	if !d.watches(addr, m, over) {
		return
	}
	switch state {
	case deposedDemoted:
		d.link.reportGap(addr, "the master before the failover accepts no more messages; "+
			"clients get a gap for those that it accepted")
	case deposedSilent:
		d.link.reportGap(addr, "the master before the failover has not answered for 30 s; "+
			"clients get a gap for messages that it may have accepted")
	case deposedStillMaster:
		d.link.reporter.stillMaster(addr)
	}
}

// watches reports whether a master is still watched. If over is set, its watch
// ends.
func (d *deposedMasters) watches(addr string, m *deposedMaster, over bool) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.masters[addr] != m {
		return false
	}
	if over {
		delete(d.masters, addr)
	}
	return true
}

// judge decides, after the answer to a question for its role, what to report
// about a master, and whether its watch is over. The watch of a server that has
// not answered lately goes on until clients have got a gap.
func (m *deposedMaster) judge(now time.Time, err error) (state deposedState, over bool) {
	old := now.Sub(m.leftAt) >= deposedWatch
	switch {
	case errors.Is(err, errReplica), errors.Is(err, errSentinelRole):
		if m.reported {
			return deposedUnchanged, true
		}
		return deposedDemoted, true
	case err == nil, errors.Is(err, errRoleUnsupported), replyOf(err) != "": // it may be a master
		m.answeredAt, m.reported = now, false
		if old {
			return deposedStillMaster, true
		}
	case !m.reported && now.Sub(m.answeredAt) >= deposedUnreachable:
		m.reported = true
		return deposedSilent, old
	}
	return deposedUnchanged, old && m.reported
}

// reportGap makes the link's goroutine report a gap to the sink, if an epoch is
// running, and logs why. Otherwise the beginning of the next one reports it.
func (l *Link) reportGap(deposed, why string) {
	c := l.current()
	if c == nil {
		return
	}
	c.gapDue.Store(true)
	if _, err := c.ping(); err != nil { // its answer wakes the reader
		c.gapDue.Store(false)
		return
	}
	l.log.Warn(why, "addr", deposed)
}

// deliverGap reports a gap to the sink if one is due. Called by the reader after
// the answer to a PING.
func (c *pubsubConn) deliverGap() {
	if c.gapDue.Swap(false) {
		c.unflushed = true
		c.link.sink.Gap(c.node)
	}
}
