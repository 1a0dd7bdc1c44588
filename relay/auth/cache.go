package auth

import (
	"sync"
	"time"
)

// Bounds on a cache. Beyond them the oldest answers go, and the application is asked again.
const (
	cacheEntries = 20_000
	cacheBytes   = 16 << 20
)

// A cache keeps answers for a short time, by the keyed hash of what was asked. It is safe for concurrent use.
type cache struct {
	mu      sync.Mutex
	entries map[digest]cached
	order   []digest // oldest first; the entry may be gone, or be a younger one
	bytes   int
}

type cached struct {
	answer answer
	end    time.Time
	charge int
}

func newCache() *cache { return &cache{entries: make(map[digest]cached)} }

func (c *cache) get(key digest) (answer, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.entries[key]
	if !ok || !time.Now().Before(e.end) {
		return answer{}, false
	}
	return e.answer, true
}

// put keeps an answer for d. charge is about how many bytes it holds.
func (c *cache) put(key digest, a answer, d time.Duration, charge int) {
	if d <= 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	c.drop(key)
	for len(c.order) > 0 {
		oldest, ok := c.entries[c.order[0]]
		if ok && now.Before(oldest.end) && len(c.order) < cacheEntries && c.bytes+charge <= cacheBytes {
			break
		}
		c.drop(c.order[0])
		c.order = c.order[1:]
	}
	c.entries[key] = cached{a, now.Add(d), charge}
	c.order = append(c.order, key)
	c.bytes += charge
}

func (c *cache) drop(key digest) {
	if e, ok := c.entries[key]; ok {
		c.bytes -= e.charge
		delete(c.entries, key)
	}
}
