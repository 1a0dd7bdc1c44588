package stream

import (
	"slices"

	"sidecast/relay/pagecache"
)

// pageCharge bounds for how many bytes a page of several entries counts.
const pageCharge = 64 << 10

// A page holds entries of a stream that follow each other: nothing was between
// two of them. The cache's lock guards it. Its entries do not change, but more
// may be added.
type page struct {
	pagecache.Page
	from    Cursor // the place before the first entry
	known   bool   // from is known: nothing is missing between it and the first entry
	entries []*Held
	bytes   int // charge of the entries
}

func (p *page) first() Cursor { return p.entries[0].Cursor }
func (p *page) last() Cursor  { return p.entries[len(p.entries)-1].Cursor }

// add appends entries to the page.
func (p *page) add(entries []*Held) {
	p.entries = append(p.entries, entries...)
	for _, e := range entries {
		p.bytes += e.charge()
	}
}

// prepend adds entries before the first one, so that clients that resume at many
// places do not leave as many small pages.
func (p *page) prepend(from Cursor, known bool, entries []*Held) {
	after := p.entries
	p.from, p.known, p.entries = from, known, nil
	p.add(entries)
	p.entries = append(p.entries, after...)
}

// find returns the index of the entry at c, or -1.
func (p *page) find(c Cursor) int {
	i, found := p.findID(c.ID)
	if !found || p.entries[i].Check != c.Check {
		return -1
	}
	return i
}

// findID returns the index of the entry with this id.
func (p *page) findID(id ID) (i int, found bool) {
	return slices.BinarySearchFunc(p.entries, id, func(e *Held, id ID) int { return e.ID.Compare(id) })
}

// Pages are the pages of one stream that are in the cache. There may be gaps
// between them, of entries that are not in memory.
type pages struct {
	cache *pagecache.Cache
	list  []*page // by their ids, which do not overlap; guarded by the cache's lock
}

// after returns entries that directly follow c, or nil if they are not known.
// With owed, the entry at c is the first of them.
func (ps *pages) after(c Cursor, owed bool) []*Held {
	ps.cache.Lock()
	defer ps.cache.Unlock()
	entries := ps.afterLocked(c, owed)
	if entries == nil {
		ps.cache.Miss()
	}
	return entries
}

func (ps *pages) afterLocked(c Cursor, owed bool) []*Held {
	n := ps.until(c.ID)
	if n > 0 {
		p := ps.list[n-1]
		if i := p.find(c); i >= 0 && owed {
			return ps.use(p, i)
		} else if i >= 0 && i+1 < len(p.entries) {
			return ps.use(p, i+1)
		}
	}
	if n < len(ps.list) && ps.list[n].known && ps.list[n].from == c && !owed {
		return ps.use(ps.list[n], 0)
	}
	return nil
}

func (ps *pages) use(p *page, i int) []*Held {
	ps.cache.Use(&p.Page)
	return p.entries[i:len(p.entries):len(p.entries)]
}

// forget removes a page that the cache has dropped.
func (ps *pages) forget(p *page) {
	if i := ps.until(p.first().ID) - 1; i >= 0 && ps.list[i] == p {
		ps.list = slices.Delete(ps.list, i, i+1)
	}
}

// until returns how many pages begin at id or before it.
func (ps *pages) until(id ID) int {
	n, _ := slices.BinarySearchFunc(ps.list, id, func(p *page, id ID) int {
		if p.first().ID.Compare(id) <= 0 {
			return -1
		}
		return 1
	})
	return n
}

// append adds new entries of the stream, which follow the place from.
func (ps *pages) append(from Cursor, entries []*Held) {
	ps.cache.Lock()
	defer ps.cache.Unlock()
	ps.dropAfterLocked(from) // the stream may have changed since that was read
	if n := len(ps.list); n > 0 && ps.list[n-1].last() == from {
		p := ps.list[n-1]
		fit := fitting(entries, pageCharge-p.bytes)
		p.add(entries[:fit])
		ps.cache.Resize(&p.Page, p.bytes)
		from, entries = p.last(), entries[fit:]
	}
	if len(entries) > 0 {
		ps.insertLocked(from, true, entries)
	}
}

// fitting returns how many of the entries count for at most limit bytes.
func fitting(entries []*Held, limit int) (n int) {
	for n < len(entries) && entries[n].charge() <= limit {
		limit -= entries[n].charge()
		n++
	}
	return n
}

// insert adds entries that were read after from. If from is not known, nothing
// is known about what precedes them.
func (ps *pages) insert(from Cursor, known bool, entries []*Held) {
	ps.cache.Lock()
	defer ps.cache.Unlock()
	ps.insertLocked(from, known, entries)
}

func (ps *pages) insertLocked(from Cursor, known bool, entries []*Held) {
	if known {
		ps.dropBetweenLocked(from, entries[0].ID)
	}
	n := ps.until(entries[0].ID)
	if n > 0 && ps.list[n-1].last().ID.Compare(entries[0].ID) >= 0 {
		p := ps.list[n-1]
		switch i := p.find(entries[0].Cursor); {
		case i == 0 && known:
			p.from, p.known = from, true
			return
		case i >= 0 && !known:
			return
		}
		ps.cache.Remove(&p.Page) // an entry was deleted, or the stream was created again
		n--
	}
	if n < len(ps.list) {
		next := ps.list[n]
		entries = ps.cut(entries, next)
		if next.known && next.from == entries[len(entries)-1].Cursor && fitting(entries, pageCharge-next.bytes) == len(entries) {
			next.prepend(from, known, entries)
			ps.cache.Resize(&next.Page, next.bytes)
			return
		}
	}
	var list []*page
	for len(entries) > 0 {
		n := max(fitting(entries, pageCharge), 1)
		p := &page{from: from, known: known}
		p.add(entries[:n])
		list = append(list, p)
		from, known, entries = p.last(), true, entries[n:]
	}
	for _, p := range slices.Backward(list) { // the first page is needed now, so it is dropped last
		ps.list = slices.Insert(ps.list, ps.until(p.first().ID), p)
		ps.cache.Add(&p.Page, p.bytes, func() { ps.forget(p) })
	}
}

// cut returns the entries before a page, which then directly follows them. If
// they do not lead to it, they remain as they are, and pages that they overlap
// are dropped.
func (ps *pages) cut(entries []*Held, next *page) []*Held {
	i, reached := slices.BinarySearchFunc(entries, next.first().ID, func(e *Held, id ID) int { return e.ID.Compare(id) })
	switch {
	case i == len(entries):
		return entries
	case reached && entries[i].Check == next.first().Check && i > 0:
		next.from, next.known = entries[i-1].Cursor, true
		return entries[:i]
	}
	for n := ps.until(entries[0].ID); n < len(ps.list) && ps.list[n].first().ID.Compare(entries[len(entries)-1].ID) <= 0; {
		ps.cache.Remove(&ps.list[n].Page)
	}
	return entries
}

// dropAfter drops all entries after a place.
func (ps *pages) dropAfter(c Cursor) {
	ps.cache.Lock()
	defer ps.cache.Unlock()
	ps.dropAfterLocked(c)
}

func (ps *pages) dropAfterLocked(c Cursor) {
	for n := len(ps.list); n > 0 && ps.list[n-1].last().ID.Compare(c.ID) > 0; n = len(ps.list) {
		ps.endAfter(ps.list[n-1], c)
	}
}

// dropBetweenLocked drops the entries between from and the id of the one that
// directly follows it. They do not exist any more, and they would keep a client
// at from from finding what follows.
func (ps *pages) dropBetweenLocked(from Cursor, next ID) {
	n := ps.until(from.ID)
	for n < len(ps.list) && ps.list[n].first().ID.Compare(next) < 0 {
		ps.cache.Remove(&ps.list[n].Page)
	}
	if n > 0 && ps.list[n-1].last().ID.Compare(from.ID) > 0 {
		ps.endAfter(ps.list[n-1], from)
	}
}

// endAfter drops the entries of a page after c, or the page if it does not have
// c.
func (ps *pages) endAfter(p *page, c Cursor) {
	i := p.find(c)
	if i < 0 {
		ps.cache.Remove(&p.Page)
		return
	}
	rest := p.entries[i+1:]
	p.entries = p.entries[: i+1 : i+1]
	for _, e := range rest {
		p.bytes -= e.charge()
	}
	ps.cache.Resize(&p.Page, p.bytes)
}

// drop removes all pages.
func (ps *pages) drop() {
	ps.cache.Lock()
	defer ps.cache.Unlock()
	list := ps.list
	ps.list = nil
	for _, p := range list {
		ps.cache.Remove(&p.Page)
	}
}
