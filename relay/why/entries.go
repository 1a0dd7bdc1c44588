package why

import (
	"maps"
	"slices"

	"sidecast/relay/blackbox"
)

// Sums say what the check of a replay is that sent all entries of a stream that
// arrived: also those before the time of the question, because a client that
// catches up gets them together with later ones.
type sums struct {
	places []blackbox.Place // sorted
	before []uint32         // for each place, the sum of the hashes of those before it, and at the end of all
}

// newSums returns the sums of these places.
func newSums(places map[blackbox.Place]bool) *sums {
	s := &sums{places: slices.SortedFunc(maps.Keys(places), blackbox.Place.Compare), before: make([]uint32, 1, len(places)+1)}
	for i, p := range s.places {
		s.before = append(s.before, s.before[i]+p.Hash())
	}
	return s
}

// check returns the sum of the hashes between two places, these included.
func (s *sums) check(from, to blackbox.Place) uint32 {
	first, _ := slices.BinarySearchFunc(s.places, from, blackbox.Place.Compare)
	end, last := slices.BinarySearchFunc(s.places, to, blackbox.Place.Compare)
	if last {
		end++
	}
	return s.before[end] - s.before[first]
}
