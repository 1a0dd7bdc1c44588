package stats

import (
	"sync/atomic"
	"time"
)

// A Counter is a number that only increases. The zero value is ready for use.
type Counter struct{ n atomic.Uint64 }

// Add adds n, which must not be negative.
func (c *Counter) Add(n int) { c.n.Add(uint64(n)) }

// Load returns the count.
func (c *Counter) Load() uint64 { return c.n.Load() }

// A Gauge is a number that increases and decreases. The zero value is ready for
// use.
type Gauge struct{ n atomic.Int64 }

// Add changes the gauge by n.
func (g *Gauge) Add(n int) { g.n.Add(int64(n)) }

// Load returns the value.
func (g *Gauge) Load() int64 { return g.n.Load() }

// A Histogram counts durations in fixed buckets from 50 us to 10 s. The zero
// value is ready for use.
type Histogram struct {
	buckets [len(histogramBounds) + 1]atomic.Uint64
	nanos   atomic.Int64
}

var histogramBounds = [...]time.Duration{
	50 * time.Microsecond, 100 * time.Microsecond, 250 * time.Microsecond, 500 * time.Microsecond,
	time.Millisecond, 2500 * time.Microsecond, 5 * time.Millisecond, 10 * time.Millisecond, 25 * time.Millisecond,
	50 * time.Millisecond, 100 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond,
	time.Second, 2500 * time.Millisecond, 5 * time.Second, 10 * time.Second,
}

// Observe counts one duration.
func (h *Histogram) Observe(d time.Duration) {
	i := 0
	for i < len(histogramBounds) && d > histogramBounds[i] {
		i++
	}
	h.buckets[i].Add(1)
	h.nanos.Add(int64(d))
}

// Snapshot returns the number of observations, their sum in seconds, and for
// each upper bound in seconds how many of them were at most that.
func (h *Histogram) Snapshot() (count uint64, sum float64, buckets map[float64]uint64) {
	buckets = make(map[float64]uint64, len(histogramBounds))
	for i, bound := range histogramBounds {
		count += h.buckets[i].Load()
		buckets[bound.Seconds()] = count
	}
	count += h.buckets[len(histogramBounds)].Load()
	return count, time.Duration(h.nanos.Load()).Seconds(), buckets
}
