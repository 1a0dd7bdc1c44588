// Package pagecache bounds the memory of the pages from which clients that
// resume get the messages that they missed. All channels share one [Cache]. It
// drops the page that has not been used for the longest time.
package pagecache

import (
	"container/list"
	"sync"
	"time"
)

// A Cache bounds pages in bytes and in age. It does not find pages: each kind
// of page has an index of its own, which the cache's lock guards as well, so
// that a page is in the index exactly as long as it is in the cache. Methods
// must be called with the cache locked, unless their comment says otherwise. The
// lock is taken after all others, and nothing waits while it is held.
type Cache struct {
	sync.Mutex

	limit  int
	maxAge int64
	now    func() int64

	bytes        int
	hits, misses uint64
	used         list.List // of *Page, the one used last first
}

// A Page is the cache's part of one page. The zero Page is not in a cache.
type Page struct {
	bytes   int
	usedAt  int64
	drop    func()
	element *list.Element
}

// New returns a cache for pages of limit bytes together. A page that is not
// used for maxAge is dropped by [Cache.Expire]. now returns a monotonic time in
// nanoseconds.
func New(limit int, maxAge time.Duration, now func() int64) *Cache {
	return &Cache{limit: limit, maxAge: int64(maxAge), now: now}
}

// Add adds a page that counts for so many bytes. If the limit is
// exceeded, the least recently used pages are dropped, but never p: its client
// needs it now.
// drop removes a page from its index: it is called with the cache locked.
func (c *Cache) Add(p *Page, bytes int, drop func()) {
	p.drop = drop
	p.element = c.used.PushFront(p)
	p.usedAt = c.now()
	c.Resize(p, bytes)
}

// Use records that a page is used, which counts as a hit.
func (c *Cache) Use(p *Page) {
	c.hits++
	p.usedAt = c.now()
	c.used.MoveToFront(p.element)
}

// Miss counts a page that was needed and not in the cache.
func (c *Cache) Miss() { c.misses++ }

// Resize changes for how many bytes a page counts, which is a use of it.
func (c *Cache) Resize(p *Page, bytes int) {
	p.usedAt = c.now()
	c.used.MoveToFront(p.element)
	c.bytes += bytes - p.bytes
	p.bytes = bytes
	for c.bytes > c.limit {
		last := c.used.Back().Value.(*Page)
		if last == p {
			return
		}
		c.Remove(last)
	}
}

// Remove drops a page, if it is in the cache.
func (c *Cache) Remove(p *Page) {
	if p.element == nil {
		return
	}
	c.used.Remove(p.element)
	p.element = nil
	c.bytes -= p.bytes
	p.bytes = 0
	p.drop()
}

// Expire drops the pages that were not used for too long. The cache must not be
// locked.
func (c *Cache) Expire() {
	c.Lock()
	defer c.Unlock()
	for oldest := c.now() - c.maxAge; c.used.Len() > 0; {
		last := c.used.Back().Value.(*Page)
		if last.usedAt > oldest {
			return
		}
		c.Remove(last)
	}
}

// Stats returns how many bytes the pages count for, and how often a page was
// found and not found. The cache must not be locked.
func (c *Cache) Stats() (bytes int64, hits, misses uint64) {
	c.Lock()
	defer c.Unlock()
	return int64(c.bytes), c.hits, c.misses
}
