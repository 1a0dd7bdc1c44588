package source

import (
	"sync"
	"time"
)

const (
	// relayGone is how long after its last marker a relay counts: it publishes
	// one every markerOwn.
	relayGone = 3 * markerOwn
	// maxRelays bounds how many relays are counted, because any client of Redis
	// can publish markers.
	maxRelays = 1000
)

// A relayCount counts the relays whose markers this one receives.
type relayCount struct {
	mu   sync.Mutex
	seen map[[8]byte]time.Time // when the last marker of a run was received
}

// begin keeps the relays that were counted before a new epoch: while there was
// no link, their markers were not received.
func (c *relayCount) begin(now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for run := range c.seen {
		c.seen[run] = now
	}
}

// received counts the relay that published a marker, and forgets those that do
// not publish any more.
func (c *relayCount) received(run [8]byte, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for run, at := range c.seen {
		if now.Sub(at) > relayGone {
			delete(c.seen, run)
		}
	}
	if _, known := c.seen[run]; !known && len(c.seen) >= maxRelays {
		return
	}
	if c.seen == nil {
		c.seen = make(map[[8]byte]time.Time)
	}
	c.seen[run] = now
}

// Relays returns how many relays on the same Redis this one knows of, itself
// included. Without markers it knows only of itself.
func (l *Link) Relays() int {
	c := &l.probe.relays
	c.mu.Lock()
	defer c.mu.Unlock()
	return max(len(c.seen), 1)
}
