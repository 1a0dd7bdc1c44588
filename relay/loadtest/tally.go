package main

import (
	"maps"
	"sync"
)

// A tally is what clients have seen. Latencies are those of messages sent while measuring to clients that read.
type tally struct {
	score

	deliveries     uint64 // to clients that read
	slowDeliveries uint64 // to slow ones
	bytes          uint64 // of payload, in both

	corrupted uint64 // payloads that were changed
	leaked    uint64 // messages of another channel
	foreign   uint64 // messages of another run
	faults    uint64 // frames that no relay may send

	closed        uint64 // connections that the relay closed
	broken        uint64 // of these, without a word
	evicted       uint64 // of these, slow clients
	overrun       uint64 // and clients that read, but closed as slow
	missedEvicted uint64 // messages, by evicted slow clients
	missedClosed  uint64 // messages, by other clients that the relay closed
	offline       uint64 // notices
	gaps          map[string]uint64
	closes        map[int]uint64 // by code

	lastMeasured int64 // when the last of the latencies was taken, on the run's clock
	latency      histogram
}

func newTally() *tally {
	return &tally{gaps: map[string]uint64{}, closes: map[int]uint64{}}
}

// add counts everything that other has counted.
func (t *tally) add(other *tally) {
	t.score.add(other.score)
	t.deliveries += other.deliveries
	t.slowDeliveries += other.slowDeliveries
	t.bytes += other.bytes
	t.corrupted += other.corrupted
	t.leaked += other.leaked
	t.foreign += other.foreign
	t.faults += other.faults
	t.closed += other.closed
	t.broken += other.broken
	t.evicted += other.evicted
	t.overrun += other.overrun
	t.missedEvicted += other.missedEvicted
	t.missedClosed += other.missedClosed
	t.offline += other.offline
	for reason, n := range other.gaps {
		t.gaps[reason] += n
	}
	for code, n := range other.closes {
		t.closes[code] += n
	}
	t.lastMeasured = max(t.lastMeasured, other.lastMeasured)
	t.latency.add(&other.latency)
}

// all is the number of deliveries to anybody.
func (t *tally) all() uint64 { return t.deliveries + t.slowDeliveries }

// numGaps is the number of gap notices.
func (t *tally) numGaps() (n uint64) {
	for count := range maps.Values(t.gaps) {
		n += count
	}
	return n
}

// A shard is what some of the clients share, so that those of others need not wait for them.
type shard struct {
	mu    sync.Mutex
	tally *tally // guarded by mu
}

// A course is what all clients and the publisher of a run share.
type course struct {
	id       uint32 // told in each payload
	protocol string
	clock    clock
	window   window
}
