package auth

import (
	"testing"
	"time"
)

// TestCacheBounds checks that the cache never exceeds its bounds on entries and
// bytes.
func TestCacheBounds(t *testing.T) {
	c := newCache()
	key := func(i int) (k cacheKey) { k[0], k[1], k[2] = byte(i), byte(i>>8), byte(i>>16); return k }
	for i := range 2 * maxCacheEntries {
		c.put(key(i), answer{outcome: granted}, time.Hour, 1)
	}
	if len(c.entries) > maxCacheEntries || len(c.order) > maxCacheEntries || c.bytes > maxCacheEntries {
		t.Errorf("%d entries, %d keys in order, %d bytes", len(c.entries), len(c.order), c.bytes)
	}
	for i := range 100 {
		c.put(key(i), answer{outcome: granted}, time.Hour, 1<<20)
	}
	if c.bytes > maxCacheBytes {
		t.Errorf("%d bytes", c.bytes)
	}
	for range 3 * maxCacheEntries {
		c.put(key(1), answer{outcome: granted}, time.Hour, 1)
	}
	if len(c.order) > maxCacheEntries {
		t.Errorf("%d keys in order after storing one key", len(c.order))
	}
	if _, ok := c.get(key(7 << 16)); ok {
		t.Error("found an answer that was never stored")
	}
}
