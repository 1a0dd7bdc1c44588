package relay

import (
	"crypto/rand"
	"math"
	"slices"
	"time"
)

// A point is a place in a channel: its message number index since the mark that came as number ord. Points of one channel
// have one order. check is not part of it: it says what was said up to there since the mark.
type point struct {
	ord   uint64
	index uint64
	check uint32
}

// before reports whether p comes before q.
func (p point) before(q point) bool { return p.ord < q.ord || p.ord == q.ord && p.index < q.index }

// beyond is the point behind everything that was said before mark number ord+1.
func beyond(ord uint64) point { return point{ord: ord, index: math.MaxUint64} }

// maxMarks bounds how many marks are known: more than come in any age that makes sense, unless somebody floods.
const maxMarks = 1 << 16

// A mark is a place in everything that comes in.
type mark struct {
	id    MarkID
	seq   uint64 // of what came in
	at    int64  // when
	local bool   // no other relay knows it
}

// marks are those of this epoch, in the order in which they came. Numbers never come twice, not even in another epoch.
type marks struct {
	first  uint64 // number of list[0]
	list   []mark
	number map[MarkID]uint64
}

// reset forgets all marks and begins an epoch, or its end, with a local one.
func (m *marks) reset(seq uint64, at int64) {
	m.first += uint64(len(m.list))
	m.list = nil
	m.number = make(map[MarkID]uint64)
	m.local(seq, at)
}

// local adds a mark that no other relay knows.
func (m *marks) local(seq uint64, at int64) {
	var id MarkID
	_, _ = rand.Read(id[:]) // it never fails: crypto/rand says so
	m.add(mark{id: id, seq: seq, at: at, local: true})
}

// add adds a mark, unless it is known.
func (m *marks) add(mark mark) {
	if _, known := m.number[mark.id]; known {
		return
	}
	m.number[mark.id] = m.first + uint64(len(m.list))
	m.list = append(m.list, mark)
}

// current is the number of the newest mark.
func (m *marks) current() uint64 { return m.first + uint64(len(m.list)) - 1 }

// id returns the id of mark number ord, which is known.
func (m *marks) id(ord uint64) MarkID { return m.list[ord-m.first].id }

// passed returns the newest mark that came at seq or before, if other relays know it too. An older one would lead back
// behind what clients were given since, whose cursors mean nothing elsewhere.
func (m *marks) passed(seq uint64) (id MarkID, ok bool) {
	behind, _ := slices.BinarySearchFunc(m.list, seq, func(m mark, seq uint64) int {
		if m.seq <= seq {
			return -1
		}
		return 1
	})
	if behind == 0 || m.list[behind-1].local {
		return id, false
	}
	return m.list[behind-1].id, true
}

// expire forgets marks whose time was over before the given one, and those that are too many, but none that is still
// needed for a message with number ord or later.
func (m *marks) expire(before int64, needed uint64) {
	for len(m.list) > 1 && (m.list[1].at < before && m.first < needed || len(m.list) > maxMarks) {
		delete(m.number, m.list[0].id)
		m.list = m.list[1:]
		m.first++
	}
}

// age is a time of the hub's clock in seconds, rounded down: as much as a stored message keeps of it.
func age(at int64) uint32 { return uint32(at / int64(time.Second)) }
