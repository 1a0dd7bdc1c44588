package auth

import (
	"sync"
	"time"
)

// Bounds on a cache. If one is reached, the cache drops its oldest answers, and
// the relay asks the application again.
const (
	maxCacheEntries = 20_000
	maxCacheBytes   = 16 << 20
)

// A cache keeps answers for a short time. It is safe for concurrent use.
type cache struct {
	mu      sync.Mutex
	entries map[cacheKey]cacheEntry
	order   []cacheKey // oldest first; the entry of a key may be missing, or newer than the key's place here
	bytes   int
}

type cacheEntry struct {
	answer  answer
	expires time.Time
	bytes   int
}

func newCache() *cache { return &cache{entries: make(map[cacheKey]cacheEntry)} }

func (c *cache) get(key cacheKey) (answer, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.entries[key]
	if !ok || !time.Now().Before(e.expires) {
		return answer{}, false
	}
	return e.answer, true
}

// put keeps an answer for the duration d. bytes is the approximate amount of
// memory that the answer uses.
func (c *cache) put(key cacheKey, a answer, d time.Duration, bytes int) {
	if d <= 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	c.drop(key)
	for len(c.order) > 0 {
		oldest, ok := c.entries[c.order[0]]
		if ok && now.Before(oldest.expires) && len(c.order) < maxCacheEntries && c.bytes+bytes <= maxCacheBytes {
			break
		}
		c.drop(c.order[0])
		c.order = c.order[1:]
	}
	c.entries[key] = cacheEntry{a, now.Add(d), bytes}
	c.order = append(c.order, key)
	c.bytes += bytes
}

func (c *cache) drop(key cacheKey) {
	if e, ok := c.entries[key]; ok {
		c.bytes -= e.bytes
		delete(c.entries, key)
	}
}
