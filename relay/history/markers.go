package history

import (
	"crypto/rand"
	"slices"
	"time"
)

// maxMarkers bounds how many markers are known. There are fewer within any
// reasonable age, unless a client of Redis floods the marker channel.
const maxMarkers = 1 << 16

// A marker is a place in the order of all incoming messages.
type marker struct {
	id      MarkerID
	seq     Seq   // number of the last item up to and including the marker
	arrived int64 // by History.clock
	local   bool  // no other relay knows it
}

// markers holds the markers of this epoch in their order. A marker number is
// never used twice, not even in another epoch.
type markers struct {
	firstOrd uint64 // number of list[0]
	list     []marker
	ordByID  map[MarkerID]uint64
}

// reset drops all markers and adds a local one, because an epoch begins.
func (m *markers) reset(seq Seq, at int64) {
	m.firstOrd += uint64(len(m.list))
	m.list = nil
	m.ordByID = make(map[MarkerID]uint64)
	m.addLocal(seq, at)
}

// addLocal adds a marker that no other relay knows.
func (m *markers) addLocal(seq Seq, at int64) {
	var id MarkerID
	_, _ = rand.Read(id[:]) // never fails
	m.add(marker{id: id, seq: seq, arrived: at, local: true})
}

// add adds a marker unless its id is known.
func (m *markers) add(added marker) {
	if _, known := m.ordByID[added.id]; known {
		return
	}
	m.ordByID[added.id] = m.firstOrd + uint64(len(m.list))
	m.list = append(m.list, added)
}

// current returns the number of the newest marker.
func (m *markers) current() uint64 { return m.firstOrd + uint64(len(m.list)) - 1 }

// id returns the id of marker number ord, which must be known.
func (m *markers) id(ord uint64) MarkerID { return m.list[ord-m.firstOrd].id }

// before returns the number of the newest marker at or before seq. ok is false
// if there is none.
func (m *markers) before(seq Seq) (ord uint64, ok bool) {
	n, _ := slices.BinarySearchFunc(m.list, seq, func(m marker, seq Seq) int {
		if m.seq <= seq {
			return -1
		}
		return 1
	})
	return m.firstOrd + uint64(n) - 1, n > 0
}

// sharedBefore returns the newest marker at or before seq if other relays know
// it. It does not look for an older one: messages between that and a local
// marker have cursors that other relays do not know.
func (m *markers) sharedBefore(seq Seq) (id MarkerID, ok bool) {
	ord, ok := m.before(seq)
	if !ok || m.list[ord-m.firstOrd].local {
		return id, false
	}
	return m.id(ord), true
}

// expire drops markers that were followed by another one earlier than before,
// unless a held message is counted from them: needed is the marker number of
// the oldest held message. It also drops the oldest markers above maxMarkers.
func (m *markers) expire(before int64, needed uint64) {
	for len(m.list) > 1 && (m.list[1].arrived < before && m.firstOrd < needed || len(m.list) > maxMarkers) {
		delete(m.ordByID, m.list[0].id)
		m.list = m.list[1:]
		m.firstOrd++
	}
}

// seconds converts nanoseconds to seconds, rounded down. Entries store times
// with this precision.
func seconds(at int64) uint32 { return uint32(at / int64(time.Second)) }
