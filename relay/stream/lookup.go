package stream

import (
	"context"
	"slices"
	"time"

	"sidecast/relay/protocol"
)

// pagesKept bounds how many pages before the ring are kept for a channel, and
// pageAge for how long, in nanoseconds: clients that resume at the same time
// ask for the same pages.
const (
	pagesKept = 8
	pageAge   = int64(10 * time.Second)
)

// A keptPage holds the entries that follow a place in a stream, without a gap.
type keptPage struct {
	from    Cursor
	entries []*Held
	at      int64 // when it was read, by Config.Now
}

func (p *keptPage) charge() (n int) {
	for _, e := range p.entries {
		n += e.charge()
	}
	return n
}

// pageLocked returns the entries after from if they were read recently.
func (r *Reader) pageLocked(from Cursor) ([]*Held, bool) {
	i := slices.IndexFunc(r.pages, func(p keptPage) bool { return p.from == from })
	if i < 0 {
		return nil, false
	}
	return r.pages[i].entries, true
}

// keepPageLocked keeps a page of size bytes for a while if there is space.
func (r *Reader) keepPageLocked(page keptPage, size int) {
	r.expireLocked(page.at)
	if len(r.pages) == pagesKept || r.readers.keptBytes.Load()+int64(size) > r.readers.totalLimit {
		return
	}
	r.pages = append(r.pages, page)
	r.readers.keptBytes.Add(size)
}

// expireLocked drops the pages that are too old.
func (r *Reader) expireLocked(now int64) {
	r.pages = slices.DeleteFunc(r.pages, func(old keptPage) bool {
		if now-old.at < pageAge {
			return false
		}
		r.readers.keptBytes.Add(-old.charge())
		return true
	})
}

// afterLocked returns the entries between c and the relay's place. It returns
// false if c is not a place in the ring.
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

// A lookupResult is the result of looking up the entries after a client's
// place.
type lookupResult uint8

const (
	lookupKept  lookupResult = iota // the ring has them
	lookupRead                      // they were read
	lookupNone                      // nothing follows the place
	lookupGap                       // it cannot be known whether entries are missing
	lookupRetry                     // another lookup has ended: look again
)

// lookup reads the entries after a place that is not in the ring. Only one
// goroutine at a time does this for a channel. The others wait, and then
// usually find their entries in memory.
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
	if other := r.lookupEnded; other != nil {
		r.mu.Unlock()
		select {
		case <-other:
			return lookupRetry, nil, 0, nil
		case <-ctx.Done():
			return 0, nil, 0, ctx.Err()
		}
	}
	r.lookupEnded = make(chan struct{})
	limit := r.limit
	r.mu.Unlock()

	page, err := r.readers.readForLookup(ctx, r.name, from.ID, limit)
	v, entries, why = r.followForLookup(page, from, err)

	r.mu.Lock()
	defer r.mu.Unlock()
	close(r.lookupEnded)
	r.lookupEnded = nil
	if err == nil && v == lookupRead && !r.removed {
		r.keepLookupLocked(from, entries)
	}
	return v, entries, why, err
}

func (r *Reader) followForLookup(page Page, from Cursor, err error) (lookupResult, []*Held, protocol.GapReason) {
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
	return lookupRead, newHeld(missed), 0
}

// keepLookupLocked puts entries, which were read after from, in front of the
// ring if they reach it and the limits allow it. Otherwise it keeps them as a
// page for a while.
func (r *Reader) keepLookupLocked(from Cursor, entries []*Held) {
	r.limit = nextLimit(r.limit, entries)
	size := 0
	for i, e := range entries {
		size += e.charge()
		if e.Cursor != r.base || !r.hasPlace {
			continue
		}
		if r.bytes+size > r.readers.channelLimit || r.readers.keptBytes.Load()+int64(size) > r.readers.totalLimit {
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

// readForLookup reads a page for a client. It waits while pageReaders such
// reads are running, over all channels.
func (rs *Readers) readForLookup(ctx context.Context, name string, from ID, limit int) (Page, error) {
	select {
	case rs.lookupSlots <- struct{}{}:
	case <-ctx.Done():
		return Page{}, ctx.Err()
	}
	defer func() { <-rs.lookupSlots }()
	return rs.cfg.Store().Read(ctx, name, from, limit)
}
