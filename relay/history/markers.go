package history

import (
	"crypto/rand"
	"math"
	"slices"
	"time"
)

// A Point is a place in a channel: message number Index since marker number Ord. The points of one channel are ordered by
// Ord and Index; Check covers the messages between the marker and the point.
type Point struct {
	Ord   uint64
	Index uint64
	Check uint32
}

// Before reports whether p is before q.
func (p Point) Before(q Point) bool { return p.Ord < q.Ord || p.Ord == q.Ord && p.Index < q.Index }

// lastBefore returns the point after every message before marker number ord+1.
func lastBefore(ord uint64) Point { return Point{Ord: ord, Index: math.MaxUint64} }

// maxMarkers bounds how many markers are known. In any reasonable age there are fewer, unless a client of Redis floods
// the marker channel.
const maxMarkers = 1 << 16

// A marker is a place in the order of all incoming messages.
type marker struct {
	id    MarkerID
	seq   uint64 // of the last item before it
	at    int64  // when it arrived
	local bool   // no other relay knows it
}

// markers are those of this epoch, in their order. A number is never used twice, not even in another epoch.
type markers struct {
	first  uint64 // number of list[0]
	list   []marker
	number map[MarkerID]uint64
}

// reset forgets all markers and adds a local one: an epoch begins or ends.
func (m *markers) reset(seq uint64, at int64) {
	m.first += uint64(len(m.list))
	m.list = nil
	m.number = make(map[MarkerID]uint64)
	m.local(seq, at)
}

// local adds a marker that no other relay knows.
func (m *markers) local(seq uint64, at int64) {
	var id MarkerID
	_, _ = rand.Read(id[:]) // it never fails: crypto/rand says so
	m.add(marker{id: id, seq: seq, at: at, local: true})
}

// add adds a marker, unless it is known.
func (m *markers) add(added marker) {
	if _, known := m.number[added.id]; known {
		return
	}
	m.number[added.id] = m.first + uint64(len(m.list))
	m.list = append(m.list, added)
}

// current returns the number of the newest marker.
func (m *markers) current() uint64 { return m.first + uint64(len(m.list)) - 1 }

// id returns the id of marker number ord, which must be known.
func (m *markers) id(ord uint64) MarkerID { return m.list[ord-m.first].id }

// passed returns the newest marker at seq or before, if other relays know it too. An older one would be before messages
// whose cursors mean nothing on other relays.
func (m *markers) passed(seq uint64) (id MarkerID, ok bool) {
	n, _ := slices.BinarySearchFunc(m.list, seq, func(m marker, seq uint64) int {
		if m.seq <= seq {
			return -1
		}
		return 1
	})
	if n == 0 || m.list[n-1].local {
		return id, false
	}
	return m.list[n-1].id, true
}

// expire forgets markers that are older than before, unless a held message needs them (needed is the number that the
// oldest one counts from), and any above the bound.
func (m *markers) expire(before int64, needed uint64) {
	for len(m.list) > 1 && (m.list[1].at < before && m.first < needed || len(m.list) > maxMarkers) {
		delete(m.number, m.list[0].id)
		m.list = m.list[1:]
		m.first++
	}
}

// age converts a time of the hub's clock to seconds, rounded down: the precision that a stored message keeps.
func age(at int64) uint32 { return uint32(at / int64(time.Second)) }
