package console

import (
	"maps"
	"math"
	"slices"

	"sidecast/relay/stats"
)

// A distribution is the contents of a histogram.
type distribution struct {
	bounds []float64 // in seconds, increasing
	counts []uint64  // of the observations up to each bound, and of all
	sum    float64
}

func newDistribution(h *stats.Histogram) distribution {
	count, sum, buckets := h.Snapshot()
	d := distribution{bounds: slices.Sorted(maps.Keys(buckets)), sum: sum}
	for _, bound := range d.bounds {
		d.counts = append(d.counts, buckets[bound])
	}
	d.counts = append(d.counts, count)
	return d
}

// since returns the observations after those of before.
func (d distribution) since(before distribution) distribution {
	later := distribution{bounds: d.bounds, counts: make([]uint64, len(d.counts)), sum: d.sum - before.sum}
	for i := range d.counts {
		// A snapshot reads its counters one after the other.
		later.counts[i] = d.counts[i] - min(before.counts[i], d.counts[i])
	}
	return later
}

func (d distribution) count() uint64 { return d.counts[len(d.counts)-1] }

// quantile returns about the value that this part of the observations does not
// exceed. Within a bucket it assumes that they are evenly spread. It returns
// [nothing] if there are no observations.
func (d distribution) quantile(part float64) number {
	if d.count() == 0 {
		return nothing
	}
	rank := part * float64(d.count())
	var low float64
	var below uint64
	for i, bound := range d.bounds {
		if upTo := d.counts[i]; float64(upTo) >= rank && upTo > below {
			return number(low + (bound-low)*math.Max(0, rank-float64(below))/float64(upTo-below))
		}
		low, below = bound, max(below, d.counts[i])
	}
	return number(low) // above the last bound
}

// mean returns the mean of the observations, or [nothing].
func (d distribution) mean() number {
	if d.count() == 0 {
		return nothing
	}
	return number(d.sum / float64(d.count()))
}
