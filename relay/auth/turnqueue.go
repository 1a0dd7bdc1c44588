package auth

import "slices"

const (
	// placesPerSlot is how many flights may wait for each that may run.
	placesPerSlot = 8
	// shareDivisor makes the share of one requester a quarter: three others can
	// use theirs at the same time, and a client alone still gets its answers
	// quickly.
	shareDivisor = 4
	// minPlaceShare is the smallest share of the places. One client asks about
	// up to four channels at once, and it must not be busy because of itself.
	minPlaceShare = 4
)

// A turnQueue decides which flights run, which wait and which are rejected. Its
// requesters take turns, and each may use only a share of the slots and places,
// so that a requester with many questions delays and displaces its own. Within
// the queue of one requester, the oldest flight is first. A turnQueue is not
// safe for concurrent use.
type turnQueue struct {
	slots, places         int // how many flights may run, and how many may wait
	slotShare, placeShare int // how many of them one requester may use

	running, waiting int
	lines            map[requester]*line // of the requesters that have a flight here
	turns            []*line             // those in which a flight waits; the first has the next turn
}

// A line holds the flights of one requester.
type line struct {
	requester requester
	running   int
	waiting   []*flight // oldest first
}

func newTurnQueue(slots int) *turnQueue {
	places := placesPerSlot * slots
	return &turnQueue{
		slots: slots, slotShare: max(slots/shareDivisor, 1),
		places: places, placeShare: max(places/shareDivisor, minPlaceShare),
		lines: make(map[requester]*line),
	}
}

// push adds f to the flights that wait, even if there is no place. The caller
// then starts what [turnQueue.next] returns, and rejects what
// [turnQueue.shed] returns.
func (q *turnQueue) push(f *flight) {
	l := q.lines[f.requester]
	if l == nil {
		l = &line{requester: f.requester}
		q.lines[f.requester] = l
	}
	if len(l.waiting) == 0 {
		q.turns = append(q.turns, l)
	}
	l.waiting = append(l.waiting, f)
	q.waiting++
}

// next returns the flight that runs from now on, or nil if none can start. A
// requester that uses its share of the slots keeps its turn until one of its
// flights ends.
func (q *turnQueue) next() *flight {
	if q.running >= q.slots {
		return nil
	}
	i := slices.IndexFunc(q.turns, func(l *line) bool { return l.running < q.slotShare })
	if i < 0 {
		return nil
	}
	l := q.turns[i]
	q.turns = append(slices.Delete(q.turns, i, i+1), l)
	l.running++
	q.running++
	return q.take(l, 0)
}

// shed removes and returns the flight that has no place after r has pushed one,
// or returns nil. A requester that exceeds its share loses its own flight. If
// all places are taken, the requester with the most waiting flights loses its
// newest: the one that pushes, unless another has more.
func (q *turnQueue) shed(r requester) *flight {
	l := q.lines[r]
	if len(l.waiting) <= q.placeShare {
		if q.waiting <= q.places {
			return nil
		}
		for _, other := range q.turns {
			if len(other.waiting) > len(l.waiting) {
				l = other
			}
		}
	}
	return q.take(l, len(l.waiting)-1)
}

// remove removes f if it waits, and reports whether it did.
func (q *turnQueue) remove(f *flight) bool {
	l := q.lines[f.requester]
	if l == nil {
		return false
	}
	i := slices.Index(l.waiting, f)
	if i < 0 {
		return false
	}
	q.take(l, i)
	return true
}

// removeAll removes and returns all flights that wait.
func (q *turnQueue) removeAll() (removed []*flight) {
	for len(q.turns) > 0 {
		removed = append(removed, q.take(q.turns[0], 0))
	}
	return removed
}

// release frees the slot of a flight of r that has ended.
func (q *turnQueue) release(r requester) {
	l := q.lines[r]
	l.running--
	q.running--
	q.forget(l)
}

// take removes the flight at index i from those that wait in l.
func (q *turnQueue) take(l *line, i int) *flight {
	f := l.waiting[i]
	l.waiting = slices.Delete(l.waiting, i, i+1)
	q.waiting--
	if len(l.waiting) == 0 {
		turn := slices.Index(q.turns, l)
		q.turns = slices.Delete(q.turns, turn, turn+1)
	}
	q.forget(l)
	return f
}

// forget keeps no memory for a requester that has no more flights.
func (q *turnQueue) forget(l *line) {
	if l.running == 0 && len(l.waiting) == 0 {
		delete(q.lines, l.requester)
	}
}
