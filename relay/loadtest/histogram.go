package main

import "math/bits"

const (
	subBits  = 7  // a bucket is at most 1/128 of its value wide: figures are right to 0.8 %
	maxBits  = 42 // the last bucket ends at 2^42 ns, 73 minutes; what is larger counts as that
	nBuckets = (maxBits - subBits + 1) << subBits
)

// A histogram counts durations in buckets whose width grows with the value, in a fixed 37 KiB: recording allocates
// nothing. The zero value is empty. It is not safe for concurrent use.
type histogram struct {
	counts  [nBuckets]uint64
	total   uint64
	sum     int64
	largest int64
}

// bucketOf returns the bucket of v nanoseconds. Below 2^7 each value has its own; above, each power of two has 128.
func bucketOf(v int64) int {
	if v < 1<<subBits {
		return int(max(v, 0))
	}
	if v >= 1<<maxBits {
		return nBuckets - 1
	}
	shift := bits.Len64(uint64(v)) - 1 - subBits
	return shift<<subBits + int(v>>shift)
}

// upperEdge returns the largest value that falls into bucket i.
func upperEdge(i int) int64 {
	if i < 2<<subBits {
		return int64(i)
	}
	shift := i>>subBits - 1
	return int64(i-shift<<subBits+1)<<shift - 1
}

// record counts one duration in nanoseconds; negative ones count as 0.
func (h *histogram) record(v int64) {
	v = max(v, 0)
	h.counts[bucketOf(v)]++
	h.total++
	h.sum += v
	h.largest = max(h.largest, v)
}

// add counts everything that other has counted.
func (h *histogram) add(other *histogram) {
	for i, n := range &other.counts {
		h.counts[i] += n
	}
	h.total += other.total
	h.sum += other.sum
	h.largest = max(h.largest, other.largest)
}

// since returns what h counted after earlier, an older copy of it. Its largest value is that of its highest bucket,
// unless that holds the largest of all.
func (h *histogram) since(earlier *histogram) *histogram {
	d := &histogram{total: h.total - earlier.total, sum: h.sum - earlier.sum}
	for i := range h.counts {
		if d.counts[i] = h.counts[i] - earlier.counts[i]; d.counts[i] > 0 {
			d.largest = min(upperEdge(i), h.largest)
		}
	}
	return d
}

// quantile returns the duration in nanoseconds that the share q of all, 0 to 1, do not exceed; 0 of an empty histogram.
func (h *histogram) quantile(q float64) int64 {
	rank := max(uint64(q*float64(h.total)+0.9999999), 1)
	var seen uint64
	for i, n := range &h.counts {
		if seen += n; seen >= rank && n > 0 {
			return min(upperEdge(i), h.largest)
		}
	}
	return h.largest
}

// mean returns the mean in nanoseconds, 0 of an empty histogram.
func (h *histogram) mean() float64 {
	if h.total == 0 {
		return 0
	}
	return float64(h.sum) / float64(h.total)
}
