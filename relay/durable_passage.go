package relay

import (
	"context"
	"slices"
	"time"

	"sidecast/relay/protocol"
)

// streamPagesKept is how many pages are kept that lie before the ring, and pageAge for how long: clients that come back
// together ask for the same ones.
const (
	streamPagesKept = 8
	streamPageAge   = int64(10 * time.Second)
)

// A passage is what follows a place in a stream, without a hole.
type passage struct {
	from    StreamCursor
	entries []*heldEntry
	at      int64
}

// pageLocked returns what follows from, if it was read lately.
func (d *durable) pageLocked(from StreamCursor) ([]*heldEntry, bool) {
	i := slices.IndexFunc(d.pages, func(p passage) bool { return p.from == from })
	if i < 0 {
		return nil, false
	}
	return d.pages[i].entries, true
}

// keepPageLocked keeps a page for a while, if there is room.
func (d *durable) keepPageLocked(page passage, size int) {
	d.expireLocked(page.at)
	if len(d.pages) == streamPagesKept || d.all.bytes.Load()+int64(size) > d.all.ringsBytes {
		return
	}
	d.pages = append(d.pages, page)
	d.all.bytes.Add(size)
}

// expireLocked lets pages go that nobody will ask for any more.
func (d *durable) expireLocked(now int64) {
	d.pages = slices.DeleteFunc(d.pages, func(old passage) bool {
		if now-old.at < streamPageAge {
			return false
		}
		d.all.bytes.Add(-old.charge())
		return true
	})
}

func (p *passage) charge() (n int) {
	for _, e := range p.entries {
		n += e.charge()
	}
	return n
}

// behindLocked returns what is kept behind c, up to the relay's place, and false where that is not known.
func (d *durable) behindLocked(c StreamCursor) ([]*heldEntry, bool) {
	if !d.known {
		return nil, false
	}
	if c == d.base {
		return d.ring, true
	}
	i, found := slices.BinarySearchFunc(d.ring, c.ID, func(e *heldEntry, id StreamID) int { return e.ID.Compare(id) })
	if !found || d.ring[i].Check != c.Check {
		return nil, false
	}
	return d.ring[i+1:], true
}

// What came of looking for what follows a client's place.
type sighting uint8

const (
	sightKept  sighting = iota // it is kept: look there
	sightRead                  // these entries follow it
	sightNone                  // nothing follows it
	sightGap                   // it cannot be known what follows it
	sightRetry                 // somebody else read something meanwhile
)

// passage reads what follows a place that is not kept. One goroutine at a time does that for a channel; the others wait,
// and find most of what they want kept then.
func (d *durable) passage(ctx context.Context, from StreamCursor) (v sighting, entries []*heldEntry, why protocol.GapReason, err error) {
	d.mu.Lock()
	if _, kept := d.behindLocked(from); kept {
		d.mu.Unlock()
		return sightKept, nil, 0, nil
	}
	if entries, ok := d.pageLocked(from); ok {
		d.mu.Unlock()
		return sightRead, entries, 0, nil
	}
	if flight := d.flight; flight != nil {
		d.mu.Unlock()
		select {
		case <-flight:
			return sightRetry, nil, 0, nil
		case <-ctx.Done():
			return 0, nil, 0, ctx.Err()
		}
	}
	d.flight = make(chan struct{})
	limit := d.limit
	d.mu.Unlock()

	page, err := d.all.readPassage(ctx, d.name, from.ID, limit)
	v, entries, why = d.judge(page, from, err)

	d.mu.Lock()
	defer d.mu.Unlock()
	close(d.flight)
	d.flight = nil
	if err == nil && v == sightRead && !d.gone {
		d.joinLocked(from, entries)
	}
	return v, entries, why, err
}

// readPassage reads a page when it is its turn.
func (ds *durables) readPassage(ctx context.Context, name string, from StreamID, limit int) (StreamPage, error) {
	select {
	case ds.passages <- struct{}{}:
	case <-ctx.Done():
		return StreamPage{}, ctx.Err()
	}
	defer func() { <-ds.passages }()
	return ds.cfg.Store().Read(ctx, name, from, limit)
}

func (d *durable) judge(page StreamPage, from StreamCursor, err error) (sighting, []*heldEntry, protocol.GapReason) {
	if err != nil {
		return 0, nil, 0
	}
	missed, why, ok := page.follow(from, false)
	switch {
	case !ok:
		return sightGap, nil, why
	case len(missed) == 0:
		return sightNone, nil, 0
	}
	return sightRead, hold(missed), 0
}

// joinLocked puts what was read before the ring, if it reaches it and there is room, and else keeps it for a while.
func (d *durable) joinLocked(from StreamCursor, entries []*heldEntry) {
	d.limit = nextLimit(d.limit, entries)
	size := 0
	for i, e := range entries {
		size += e.charge()
		if e.StreamCursor != d.base || !d.known {
			continue
		}
		if d.bytes+size > d.all.ringBytes || d.all.bytes.Load()+int64(size) > d.all.ringsBytes {
			break
		}
		d.ring = append(slices.Clone(entries[:i+1]), d.ring...)
		d.base = from
		d.chargeLocked(size)
		return
	}
	page := passage{from: from, entries: entries, at: d.all.cfg.Now()}
	d.keepPageLocked(page, page.charge())
}
