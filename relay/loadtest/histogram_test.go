package main

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

func TestHistogramBucketsTouch(t *testing.T) {
	for i := range nBuckets - 1 {
		edge := upperEdge(i)
		if bucketOf(edge) != i || bucketOf(edge+1) != i+1 {
			t.Fatalf("bucket %d ends at %d, but %d is in %d and %d in %d", i, edge, edge, bucketOf(edge), edge+1, bucketOf(edge+1))
		}
	}
}

func TestHistogramIsRightToOnePercent(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	var h histogram
	var all []int64
	for range 50_000 {
		v := int64(math.Exp(random.Float64() * 25)) // 1 ns to 72 s
		h.record(v)
		all = append(all, v)
	}
	slices.Sort(all)
	for _, q := range []float64{0, 0.01, 0.5, 0.9, 0.99, 0.999, 1} {
		want := all[max(int(math.Ceil(q*float64(len(all))))-1, 0)]
		if got := h.quantile(q); got < want || float64(got) > float64(want)*1.008 {
			t.Errorf("quantile(%v) = %d, of %d", q, got, want)
		}
	}
	if h.quantile(1) != all[len(all)-1] {
		t.Errorf("the largest is %d, not %d", h.quantile(1), all[len(all)-1])
	}
}

func TestHistogramQuantiles(t *testing.T) {
	tests := []struct {
		values []int64
		q      float64
		want   int64
	}{
		{nil, 0.5, 0},                        // nothing recorded
		{[]int64{7}, 0.5, 7},                 // one value is every quantile
		{[]int64{7}, 1, 7},                   //
		{[]int64{1, 2}, 0.5, 1},              // the lower half
		{[]int64{1, 2}, 0.51, 2},             // and one more
		{[]int64{-5}, 0.5, 0},                // a clock that went back
		{[]int64{1 << 60}, 0.5, 1<<42 - 1},   // longer than is told apart
		{[]int64{1, 1, 1, 100_000}, 0.75, 1}, // the tail begins after
		{[]int64{1, 1, 1, 100_000}, 1, 100_000},
	}
	for _, test := range tests {
		var h histogram
		for _, v := range test.values {
			h.record(v)
		}
		if got := h.quantile(test.q); got != test.want {
			t.Errorf("quantile(%v) of %v = %d, want %d", test.q, test.values, got, test.want)
		}
	}
}

func TestHistogramAddsAndSubtracts(t *testing.T) {
	var a, b, both histogram
	for i := range int64(1000) {
		a.record(i * 1000)
		b.record(i * 3000)
		both.record(i * 1000)
		both.record(i * 3000)
	}
	sum := a
	sum.add(&b)
	if sum != both {
		t.Error("adding differs from recording into one")
	}
	rest := sum.since(&a)
	if rest.counts != b.counts || rest.total != b.total || rest.sum != b.sum || rest.largest != b.largest {
		t.Error("subtracting what was there before does not leave the rest")
	}
	if mean := b.mean(); mean != 999*3000/2.0 {
		t.Errorf("the mean is %v", mean)
	}
}

func TestHistogramDoesNotAllocate(t *testing.T) {
	h := new(histogram)
	if n := testing.AllocsPerRun(100, func() { h.record(123_456) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkHistogramRecord(b *testing.B) {
	h := new(histogram)
	for v := int64(0); b.Loop(); v += 997 {
		h.record(v & (1<<30 - 1))
	}
}
