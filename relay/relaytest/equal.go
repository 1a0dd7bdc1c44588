package relaytest

import (
	"sort"
	"time"
)

// numbering checks a track of which the payloads are equal. It cannot know
// which message was received, so it follows all assignments of numbers that the
// rules allow at the same time: possible[n] means that in one of them the first
// n messages have been received or excused.
type numbering struct {
	*track

	possible   []bool
	boundaries []boundary      // since the last message
	received   []time.Time     // the messages since the last boundary
	cursors    map[string]bool // received so far
	inFault    bool            // the last message arrived during a fault
}

func (t *track) checkEqual() {
	n := &numbering{track: t, possible: make([]bool, len(t.channel.sent)+1)}
	n.possible[0] = true
	ok := true
	for _, it := range t.items {
		switch {
		case !ok:
			return
		case it.boundary != nil:
			ok = n.advance()
			n.checkBoundary(*it.boundary, n.most())
			n.boundaries = append(n.boundaries, *it.boundary)
		case n.repeats(it.message):
		case it.message.Data == *t.channel.equal:
			ok = n.equal(it.message)
		default:
			ok = n.unique(it.message)
		}
	}
	if ok && n.advance() {
		n.skip()
		end := len(t.channel.sent)
		for end > 0 && !n.possible[end] && t.pending(end-1) {
			end--
		}
		n.reach(end, time.Time{})
	}
}

// repeats reports whether the client has received this cursor before, which is
// the only sign of a repeat.
func (n *numbering) repeats(e Event) bool {
	if e.Cursor == "" {
		return false
	}
	if n.cursors[e.Cursor] {
		n.violation(Duplicate, e.At, "the message with the cursor %s arrived again", e.Cursor)
		return true
	}
	if n.cursors == nil {
		n.cursors = make(map[string]bool)
	}
	n.cursors[e.Cursor] = true
	return false
}

// equal processes a message with the equal payload. If the protocol has no
// gaps, messages may be missing between any two that arrive during a fault.
func (n *numbering) equal(e Event) bool {
	inFault := n.noGaps && n.duringFault(e.At)
	ok := !inFault && !n.inFault || n.advance()
	n.inFault = inFault
	n.received = append(n.received, e.At)
	return ok
}

// duringFault reports whether a message that arrives at this time may have been
// under way during a fault.
func (n *numbering) duringFault(at time.Time) bool {
	for _, w := range n.client.windows {
		if w.touches(n.name) && !at.Before(w.from) && !after(at.Add(-n.client.lag), w.to) {
			return true
		}
	}
	return false
}

// advance advances every numbering by the messages received since the last
// boundary, and reports whether one remains. A message cannot arrive before it
// was published; messages of failed calls may be among those received.
func (n *numbering) advance() bool {
	if len(n.received) == 0 {
		return true
	}
	n.skip()
	ch, count := n.channel, len(n.received)
	limit := len(ch.sent) // the highest number before the first of them
	for i, at := range n.received {
		limit = min(limit, ch.publishedBy(at)-i-1)
	}
	next := make([]bool, len(n.possible))
	found := false
	for before, possible := range n.possible {
		for failed := 0; possible && failed <= min(ch.equalFailed, count); failed++ {
			to := before + count - failed
			if before-failed <= limit && to < len(next) && ch.uniqueUpTo[to] == ch.uniqueUpTo[before] {
				next[to], found = true, true
			}
		}
	}
	last := n.received[count-1]
	if found {
		ch.received(last) // it is not known which message this was; it was not published later
	} else {
		n.violation(Duplicate, last, "%d equal payloads arrived, more than had been published by then", count)
	}
	n.possible, n.received = next, nil
	return found
}

// most returns the highest number of messages that are received or excused in a
// numbering.
func (n *numbering) most() int {
	for i := len(n.possible) - 1; i > 0; i-- {
		if n.possible[i] {
			return i
		}
	}
	return 0
}

// publishedBy counts the messages of which PUBLISH had been called.
func (ch *channel) publishedBy(at time.Time) int {
	return sort.Search(len(ch.sent), func(i int) bool { return ch.sent[i].Before.After(at) })
}

// skip adds the numberings in which messages are missing that the boundaries
// excuse, and removes those in which messages arrive that are stale.
func (n *numbering) skip() {
	ch := n.channel
	for i := range ch.sent {
		if n.possible[i] && !n.possible[i+1] && n.excused(i) {
			n.possible[i+1] = true
		}
	}
	for _, b := range n.boundaries {
		for i := len(ch.sent) - 1; i >= 0; i-- {
			if b.stale(ch, i) {
				clear(n.possible[:i+1])
				break
			}
		}
	}
	n.boundaries = nil
}

func (n *numbering) excused(i int) bool {
	for _, b := range n.boundaries {
		if b.excuses(n.channel, i) {
			return true
		}
	}
	return n.noGaps && n.channel.inFault(i, "")
}

// unique processes a message with a unique payload: all before it must have
// been received or excused.
func (n *numbering) unique(e Event) bool {
	i := n.channel.unique[e.Data]
	if i < 0 {
		return true
	}
	if !n.advance() {
		return false
	}
	n.skip()
	if !n.reach(i, e.At) {
		return false
	}
	n.channel.received(n.channel.sent[i].Before)
	clear(n.possible)
	n.possible[i+1] = true
	return true
}

// reach reports whether there is a numbering in which exactly the first want
// messages are received or excused.
func (n *numbering) reach(want int, at time.Time) bool {
	if n.possible[want] {
		return true
	}
	nearest := -1
	for i, possible := range n.possible[:want] {
		if possible {
			nearest = i
		}
	}
	if nearest < 0 {
		n.violation(Duplicate, at, "more equal payloads arrived than the %d that were published", want)
	} else {
		n.violation(Hole, at, "%d of %d equal payloads are missing", want-nearest, want)
	}
	return false
}
