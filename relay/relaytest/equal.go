package relaytest

import (
	"sort"
	"time"
)

// numbering judges a track whose payloads are equal. Nobody can tell which message was received, so it follows all
// numberings that the contract allows at once: possible[n] says that one of them has dealt with the first n messages,
// each received or excused.
type numbering struct {
	*track
	lag time.Duration

	possible []bool
	bounds   []boundary // since the last message
	got      []time.Time
	cursors  map[string]bool // heard so far
	near     bool            // the last of them came in the time of a fault
}

func (t *track) judgeEqual() {
	n := &numbering{track: t, lag: t.l.j.lag, possible: make([]bool, len(t.channel.sent)+1)}
	n.possible[0] = true
	ok := true
	for _, it := range t.items {
		switch {
		case !ok:
			return
		case it.boundary != nil:
			ok = n.deliver()
			n.passed(*it.boundary, n.most())
			n.bounds = append(n.bounds, *it.boundary)
		case n.again(it.message):
		case it.message.Data == *t.channel.equal:
			ok = n.take(it.message)
		default:
			ok = n.unique(it.message)
		}
	}
	if ok && n.deliver() {
		n.skip()
		end := len(t.channel.sent)
		for end > 0 && !n.possible[end] && t.pending(end-1) {
			end--
		}
		n.reach(end, time.Time{})
	}
}

// take adds a message. Without gaps anything may be missing between any two that came in the time of a fault.
func (n *numbering) take(e Event) bool {
	near := n.deaf && n.nearFault(e.At)
	ok := !near && !n.near || n.deliver()
	n.near = near
	n.got = append(n.got, e.At)
	return ok
}

func (n *numbering) nearFault(at time.Time) bool {
	for _, w := range n.l.j.windows {
		if w.touches(n.name) && !at.Before(w.from) && !after(at.Add(-n.lag), w.to) {
			return true
		}
	}
	return false
}

// deliver moves every numbering by the messages received since the last boundary, and reports whether one is left. A
// message cannot have come before it was published; one of unknown fate may be among those received.
func (n *numbering) deliver() bool {
	if len(n.got) == 0 {
		return true
	}
	n.skip()
	c, count := n.channel, len(n.got)
	limit := len(c.sent) // the highest number before the first of them
	for i, at := range n.got {
		limit = min(limit, c.publishedBy(at)-i-1)
	}
	next := make([]bool, len(n.possible))
	found := false
	for before, possible := range n.possible {
		for x := 0; possible && x <= min(c.unsure, count); x++ {
			if to := before + count - x; before-x <= limit && to < len(next) && c.told[to] == c.told[before] {
				next[to], found = true, true
			}
		}
	}
	if !found {
		n.fault(Duplicate, n.got[count-1], "%d equal payloads came, more than had been published by then", count)
	} else if last := n.got[count-1]; c.heard.Before(last) {
		c.heard = last // which of them it was is not known; it was not published later
	}
	n.possible, n.got = next, nil
	return found
}

// most is the highest number of messages that a numbering has dealt with.
func (n *numbering) most() int {
	for i := len(n.possible) - 1; i > 0; i-- {
		if n.possible[i] {
			return i
		}
	}
	return 0
}

// publishedBy counts the messages whose PUBLISH had begun.
func (c *channel) publishedBy(at time.Time) int {
	return sort.Search(len(c.sent), func(i int) bool { return c.sent[i].Before.After(at) })
}

// skip lets the numberings leave out what the boundaries excuse, and makes them leave out what may not come.
func (n *numbering) skip() {
	c := n.channel
	for place := range c.sent {
		if n.possible[place] && !n.possible[place+1] && n.excused(place) {
			n.possible[place+1] = true
		}
	}
	for _, b := range n.bounds {
		for place := len(c.sent) - 1; place >= 0; place-- {
			if b.stale(c, place, n.lag) {
				clear(n.possible[:place+1])
				break
			}
		}
	}
	n.bounds = nil
}

func (n *numbering) excused(place int) bool {
	for _, b := range n.bounds {
		if b.excuses(n.channel, place, n.lag) {
			return true
		}
	}
	return n.deaf && n.channel.inFault(place, "")
}

// unique takes a message that tells its number: all before it must have been dealt with.
func (n *numbering) unique(e Event) bool {
	place := n.channel.unique[e.Data]
	if place < 0 {
		return true
	}
	if !n.deliver() {
		return false
	}
	n.skip()
	if !n.reach(place, e.At) {
		return false
	}
	if sent := n.channel.sent[place].Before; n.channel.heard.Before(sent) {
		n.channel.heard = sent
	}
	clear(n.possible)
	n.possible[place+1] = true
	return true
}

// reach reports whether a numbering has dealt with exactly so many messages.
func (n *numbering) reach(want int, at time.Time) bool {
	if n.possible[want] {
		return true
	}
	most := -1 // the nearest below
	for i, possible := range n.possible[:want] {
		if possible {
			most = i
		}
	}
	switch {
	case most < 0:
		n.fault(Duplicate, at, "more equal payloads came than the %d that were published", want)
	default:
		n.fault(Hole, at, "%d of %d equal payloads are missing", want-most, want)
	}
	return false
}
