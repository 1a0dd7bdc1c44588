package stats

import (
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"sidecast/relay/protocol"
)

// TestHistogram checks that a duration that equals a bound counts in the bucket
// of that bound, as with `le` in Prometheus.
func TestHistogram(t *testing.T) {
	for i, bound := range histogramBounds {
		var h Histogram
		h.Observe(bound)
		h.Observe(bound + 1)
		count, sum, buckets := h.Snapshot()
		if count != 2 || sum != (2*bound+1).Seconds() {
			t.Errorf("%v: count %d, sum %v", bound, count, sum)
		}
		for k, b := range histogramBounds {
			want := uint64(0)
			switch {
			case k == i:
				want = 1
			case k > i:
				want = 2
			}
			if got := buckets[b.Seconds()]; got != want {
				t.Errorf("%v and 1 ns more: %d up to %v, want %d", bound, got, b, want)
			}
		}
	}
}

func TestHistogramBounds(t *testing.T) {
	if !slices.IsSorted(histogramBounds[:]) || histogramBounds[0] != 50*time.Microsecond ||
		histogramBounds[len(histogramBounds)-1] != 10*time.Second {
		t.Errorf("bounds %v", histogramBounds)
	}
	var h Histogram
	if count, sum, buckets := h.Snapshot(); count != 0 || sum != 0 || len(buckets) != len(histogramBounds) {
		t.Errorf("empty histogram: %d, %v, %d buckets", count, sum, len(buckets))
	}
	h.Observe(0)
	h.Observe(time.Hour)
	count, sum, buckets := h.Snapshot()
	if count != 2 || sum != 3600 || slices.Max(slices.Collect(maps.Values(buckets))) != 1 {
		t.Errorf("0 and an hour: %d, %v, %v", count, sum, buckets)
	}
}

func TestStatsConcurrently(t *testing.T) {
	var s Stats
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for i := range 1000 {
				s.Opened.Add(2)
				s.Channels.Add(1 - 2*(i%2))
				s.Fanout.Observe(time.Millisecond)
			}
		})
	}
	all.Wait()
	if count, sum, _ := s.Fanout.Snapshot(); count != 8000 || sum != 8 || s.Opened.Load() != 16000 || s.Channels.Load() != 0 {
		t.Errorf("%d observations, %v s, counter %d, gauge %d", count, sum, s.Opened.Load(), s.Channels.Load())
	}
}

// TestNilStats checks that the methods of a nil *Stats do nothing.
func TestNilStats(t *testing.T) {
	var s *Stats
	s.Evicted(EvictAge)
}

// TestLabels checks that every label value is one word and appears once.
func TestLabels(t *testing.T) {
	codes, gaps, protocols, transports, commands := protocol.Codes(), protocol.GapReasons(), protocol.IDs(), protocol.Transports(), protocol.Commands()
	lists := map[string][]string{
		"drops": DropReasons[:], "causes": Causes[:], "rejections": Rejections[:], "evictions": EvictionReasons[:],
		"auth": AuthResults[:], "resumes": ResumeResults[:],
		"codes": texts(codes[:]), "gaps": texts(gaps[:]), "protocols": texts(protocols[:]),
		"transports": texts(transports[:]), "commands": texts(commands[:]),
	}
	for list, values := range lists {
		for i, v := range values {
			if v == "" || strings.Trim(v, "abcdefghijklmnopqrstuvwxyz0123456789_") != "" {
				t.Errorf("%s: value %d is %q", list, i, v)
			}
			if slices.Index(values, v) != i {
				t.Errorf("%s: %q appears twice", list, v)
			}
		}
	}
}

func texts[T interface{ String() string }](all []T) (list []string) {
	for _, v := range all {
		list = append(list, v.String())
	}
	return list
}
