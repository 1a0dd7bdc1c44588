package main

import (
	"sync"
	"sync/atomic"
)

// A channel is what the publisher and the clients of one channel share.
type channel struct {
	// Static.
	index uint32
	name  string

	started atomic.Uint64 // newest sequence whose PUBLISH has begun; written by the publisher alone

	doubts atomic.Bool // whether doubtful holds anything

	mu       sync.Mutex
	doubtful []hole // guarded by mu: what may or may not have reached Redis, since its answer was lost
}

// doubt notes that the answers of some messages were lost. No newer one may have begun.
func (ch *channel) doubt(first, last uint64) {
	ch.mu.Lock()
	defer ch.mu.Unlock()
	ch.doubtful = append(ch.doubtful, hole{first: first, last: last})
	ch.doubts.Store(true)
}

// doubted returns how many messages of a hole may never have been published.
func (ch *channel) doubted(h hole) (n uint64) {
	if !ch.doubts.Load() || h.size() == 0 {
		return 0
	}
	ch.mu.Lock()
	defer ch.mu.Unlock()
	for _, d := range ch.doubtful {
		n += hole{first: max(d.first, h.first), last: min(d.last, h.last)}.size()
	}
	return n
}

// missing returns how many messages of a hole were published for certain.
func (ch *channel) missing(h hole) uint64 { return h.size() - ch.doubted(h) }
