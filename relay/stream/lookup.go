package stream

import (
	"context"
	"slices"
	"time"

	"sidecast/relay/protocol"
)

// streamPagesKept is how many pages are kept that lie before the ring, and pageAge for how long: clients that come back
// together ask for the same ones.
const (
	pagesKept = 8
	pageAge   = int64(10 * time.Second)
)

// A passage is what follows a place in a stream, without a hole.
type keptPage struct {
	from    Cursor
	entries []*Held
	at      int64
}

// pageLocked returns what follows from, if it was read lately.
func (r *Reader) pageLocked(from Cursor) ([]*Held, bool) {
	i := slices.IndexFunc(r.pages, func(p keptPage) bool { return p.from == from })
	if i < 0 {
		return nil, false
	}
	return r.pages[i].entries, true
}

// keepPageLocked keeps a page for a while, if there is room.
func (r *Reader) keepPageLocked(page keptPage, size int) {
	r.expireLocked(page.at)
	if len(r.pages) == pagesKept || r.readers.bytes.Load()+int64(size) > r.readers.ringsBytes {
		return
	}
	r.pages = append(r.pages, page)
	r.readers.bytes.Add(size)
}

// expireLocked lets pages go that nobody will ask for any more.
func (r *Reader) expireLocked(now int64) {
	r.pages = slices.DeleteFunc(r.pages, func(old keptPage) bool {
		if now-old.at < pageAge {
			return false
		}
		r.readers.bytes.Add(-old.charge())
		return true
	})
}

func (p *keptPage) charge() (n int) {
	for _, e := range p.entries {
		n += e.charge()
	}
	return n
}

// behindLocked returns what is kept behind c, up to the relay's place, and false where that is not known.
func (r *Reader) afterLocked(c Cursor) ([]*Held, bool) {
	if !r.hasPlace {
		return nil, false
	}
	if c == r.base {
		return r.ring, true
	}
	i, found := slices.BinarySearchFunc(r.ring, c.ID, func(e *Held, id ID) int { return e.ID.Compare(id) })
	if !found || r.ring[i].Check != c.Check {
		return nil, false
	}
	return r.ring[i+1:], true
}

// What came of looking for what follows a client's place.
type lookupResult uint8

const (
	lookupKept  lookupResult = iota // it is kept: look there
	lookupRead                      // these entries follow it
	lookupNone                      // nothing follows it
	lookupGap                       // it cannot be known what follows it
	lookupRetry                     // somebody else read something meanwhile
)

// passage reads what follows a place that is not kept. One goroutine at a time does that for a channel; the others wait,
// and find most of what they want kept then.
func (r *Reader) lookup(ctx context.Context, from Cursor) (v lookupResult, entries []*Held, why protocol.GapReason, err error) {
	r.mu.Lock()
	if _, kept := r.afterLocked(from); kept {
		r.mu.Unlock()
		return lookupKept, nil, 0, nil
	}
	if entries, ok := r.pageLocked(from); ok {
		r.mu.Unlock()
		return lookupRead, entries, 0, nil
	}
	if flight := r.inFlight; flight != nil {
		r.mu.Unlock()
		select {
		case <-flight:
			return lookupRetry, nil, 0, nil
		case <-ctx.Done():
			return 0, nil, 0, ctx.Err()
		}
	}
	r.inFlight = make(chan struct{})
	limit := r.limit
	r.mu.Unlock()

	page, err := r.readers.readPage(ctx, r.name, from.ID, limit)
	v, entries, why = r.judgePage(page, from, err)

	r.mu.Lock()
	defer r.mu.Unlock()
	close(r.inFlight)
	r.inFlight = nil
	if err == nil && v == lookupRead && !r.removed {
		r.keepLookupLocked(from, entries)
	}
	return v, entries, why, err
}

// readPassage reads a page when it is its turn.
func (rs *Readers) readPage(ctx context.Context, name string, from ID, limit int) (Page, error) {
	select {
	case rs.lookups <- struct{}{}:
	case <-ctx.Done():
		return Page{}, ctx.Err()
	}
	defer func() { <-rs.lookups }()
	return rs.cfg.Store().Read(ctx, name, from, limit)
}

func (r *Reader) judgePage(page Page, from Cursor, err error) (lookupResult, []*Held, protocol.GapReason) {
	if err != nil {
		return 0, nil, 0
	}
	missed, why, ok := page.follow(from, false)
	switch {
	case !ok:
		return lookupGap, nil, why
	case len(missed) == 0:
		return lookupNone, nil, 0
	}
	return lookupRead, holdEntries(missed), 0
}

// joinLocked puts what was read before the ring, if it reaches it and there is room, and else keeps it for a while.
func (r *Reader) keepLookupLocked(from Cursor, entries []*Held) {
	r.limit = nextLimit(r.limit, entries)
	size := 0
	for i, e := range entries {
		size += e.charge()
		if e.Cursor != r.base || !r.hasPlace {
			continue
		}
		if r.bytes+size > r.readers.ringBytes || r.readers.bytes.Load()+int64(size) > r.readers.ringsBytes {
			break
		}
		r.ring = append(slices.Clone(entries[:i+1]), r.ring...)
		r.base = from
		r.chargeLocked(size)
		return
	}
	page := keptPage{from: from, entries: entries, at: r.readers.cfg.Now()}
	r.keepPageLocked(page, page.charge())
}
