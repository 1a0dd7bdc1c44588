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
	deposedUnreachable = 30 * time.Second // it counts as gone after this long without an answer
	deposedWatch       = 5 * time.Minute  // the watch ends
)

// deposedMasters watches the masters that the link has left because Sentinels
// name another one. Until such a server becomes a replica, or stops, it accepts
// what applications publish that have not noticed the failover. These messages
// are lost after clients were notified of the failover, so they get another gap
// when there can be no more.
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
}

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

// check asks one master for its role and ends its watch if there is no more to
// learn.
func (d *deposedMasters) check(ctx context.Context, addr string, m *deposedMaster) {
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	client := d.link.cfg.Server.nodeClient(addr)
	defer client.Close()
	over, gap := m.judge(time.Now(), readRole(ctx, client))
	if !over || !d.remove(addr, m) {
		return
	}
	if gap {
		d.link.reportGap(addr)
	} else {
		d.link.reporter.stillMaster(addr)
	}
}

// remove ends the watch of a master, and reports false if it has ended already.
func (d *deposedMasters) remove(addr string, m *deposedMaster) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.masters[addr] != m {
		return false
	}
	delete(d.masters, addr)
	return true
}

// judge decides, after the answer to a question for its role, whether the watch
// of a master is over, and whether messages that it accepted may be lost.
func (m *deposedMaster) judge(now time.Time, err error) (over, gap bool) {
	switch {
	case errors.Is(err, errReplica), errors.Is(err, errSentinelRole):
		return true, true
	case err == nil, errors.Is(err, errRoleUnsupported), replyOf(err) != "":
		m.answeredAt = now // it may still be a master
	case now.Sub(m.answeredAt) >= deposedUnreachable:
		return true, true
	}
	return now.Sub(m.leftAt) >= deposedWatch, false
}

// reportGap makes the link's goroutine report a gap to the sink, if an epoch is
// running. Otherwise the beginning of the next one reports it.
func (l *Link) reportGap(deposed string) {
	c := l.current()
	if c == nil {
		return
	}
	c.gapDue.Store(true)
	if _, err := c.ping(); err != nil { // its answer wakes the reader
		c.gapDue.Store(false)
		return
	}
	l.log.Warn("the master before the failover accepts no more messages; clients get a gap for those that it accepted",
		"addr", deposed)
}

// deliverGap reports a gap to the sink if one is due. Called by the reader after
// the answer to a PING.
func (c *pubsubConn) deliverGap() {
	if c.gapDue.Swap(false) {
		c.unflushed = true
		c.link.sink.Gap(c.node)
	}
}
