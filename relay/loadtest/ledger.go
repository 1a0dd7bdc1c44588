package main

import "slices"

// maxHoles bounds what one client remembers of missing messages; beyond it a late one counts as doubled.
const maxHoles = 64

// A verdict is what a ledger says about one message.
type verdict uint8

const (
	inOrder verdict = iota
	doubled
	reordered
)

// A ledger follows the sequence numbers of one channel over one connection. The zero value with floor set is ready.
type ledger struct {
	// floor is the newest sequence that had begun to be published when the client was served. What comes after must be
	// heard; the first message may be older, since it may have been on its way.
	floor uint64

	first, last uint64 // from the first message on: the range that is accounted for
	told        bool   // a gap notice came since the last message: what is missing before the next is excused
	holes       []hole // missing now, ascending
}

// A hole is what was skipped, from first to last; it is empty if last < first.
type hole struct {
	first, last uint64
	excused     bool
}

// size is the number of messages in the hole.
func (h hole) size() uint64 {
	if h.last < h.first {
		return 0
	}
	return h.last - h.first + 1
}

// hear takes the next message as it comes, and returns what it is and a hole: the one that it leaves before it if it is
// in order, or the one that it fills if it is reordered; empty in the ordinary case.
func (l *ledger) hear(sequence uint64) (verdict, hole) {
	none := hole{first: 1}
	if l.first == 0 {
		l.last = min(l.floor, sequence-1)
		l.first = l.last + 1
	}
	switch {
	case sequence == l.last+1:
		l.last, l.told = sequence, false
		return inOrder, none
	case sequence > l.last:
		h := hole{first: l.last + 1, last: sequence - 1, excused: l.told}
		if len(l.holes) < maxHoles {
			l.holes = append(l.holes, h)
		}
		l.last, l.told = sequence, false
		return inOrder, h
	case sequence < l.first: // it was overtaken on its way
		return reordered, none
	}
	if filled, ok := l.fill(sequence); ok {
		return reordered, filled
	}
	return doubled, none
}

// fill takes a late message out of the hole that it left, and returns it as a hole of one.
func (l *ledger) fill(sequence uint64) (hole, bool) {
	for i, h := range l.holes {
		if sequence < h.first || sequence > h.last {
			continue
		}
		var parts []hole
		if h.first < sequence {
			parts = append(parts, hole{h.first, sequence - 1, h.excused})
		}
		if sequence < h.last {
			parts = append(parts, hole{sequence + 1, h.last, h.excused})
		}
		l.holes = slices.Replace(l.holes, i, i+1, parts...)
		return hole{sequence, sequence, h.excused}, true
	}
	return hole{}, false
}

// tail returns what is missing at the end, if final is the newest sequence that the client should have heard.
func (l *ledger) tail(final uint64) hole {
	h := hole{first: l.floor + 1, last: final, excused: l.told}
	if l.first != 0 {
		h.first = l.last + 1
	}
	return h
}
