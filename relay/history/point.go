package history

import "math"

// A Point is a place in a channel: message number Index since marker number
// Ord. The points of one channel are ordered by Ord and Index. Check is the CRC
// of the messages between the marker and the point.
type Point struct {
	Ord   uint64
	Index uint64
	Check uint32
}

// Before reports whether p is before q.
func (p Point) Before(q Point) bool { return p.Ord < q.Ord || p.Ord == q.Ord && p.Index < q.Index }

// lastBefore returns a point that is not before any message before marker
// number ord+1.
func lastBefore(ord uint64) Point { return Point{Ord: ord, Index: math.MaxUint64} }
