package relaytest

import (
	"fmt"
	"time"
)

// sequence checks a track of which the payloads have numbers.
type sequence struct {
	*track

	highest    int             // index of the newest message received, -1 before the first
	boundaries []boundary      // since that message
	seen       []bool          // by index
	seenFailed map[string]bool // payloads of failed calls that arrived
	missing    []loss
	gaps       []int // indexes of the items that are gaps
}

// A loss is a message that was missing when a later one arrived.
type loss struct {
	index int
	item  int  // the later message, or the number of items
	early bool // there was a gap, but it was sent before the message was published
	other bool // there was a boundary that does not excuse the loss
}

func (t *track) checkSequence() {
	s := &sequence{track: t, highest: -1, seen: make([]bool, len(t.channel.sent))}
	for i, it := range t.items {
		if it.boundary == nil {
			s.message(i, it)
			continue
		}
		s.checkBoundary(*it.boundary, s.highest+1)
		s.boundaries = append(s.boundaries, *it.boundary)
		if it.boundary.gap {
			s.gaps = append(s.gaps, i)
		}
	}
	s.skipTo(len(s.channel.sent), len(s.items))
	s.reportMissing()
}

// message processes the message of item i.
func (s *sequence) message(i int, it item) {
	ch, e := s.channel, it.message
	index := ch.unique[e.Data]
	switch {
	case index < 0 && s.seenFailed[e.Data], index >= 0 && s.seen[index]:
		s.violation(Duplicate, e.At, "%s arrived again", describe(e.Data))
		return
	case index < 0:
		if s.seenFailed == nil {
			s.seenFailed = make(map[string]bool)
		}
		s.seenFailed[e.Data] = true
		return
	}
	s.seen[index] = true
	s.checkCursor(e, index)
	ch.received(ch.sent[index].Before)
	s.checkLatency(index, it)
	if index < s.highest {
		s.violation(Reorder, e.At, "%s arrived after seq %d", describe(e.Data), ch.sent[s.highest].Seq)
		return
	}
	for _, b := range s.boundaries {
		if b.stale(ch, index) {
			s.violation(Stale, e.At, "%s was published %v before the session subscribed",
				describe(e.Data), b.ask.Sub(ch.sent[index].After))
		}
	}
	if n := len(s.boundaries); n > 0 && s.boundaries[n-1].tooFew(ch, index) {
		s.violation(TooFew, e.At, "%s is the first of the newest %d messages", describe(e.Data), s.boundaries[n-1].newest)
	}
	s.skipTo(index, i)
	s.highest, s.boundaries = index, nil
}

func (s *sequence) checkLatency(index int, it item) {
	p := s.channel.sent[index]
	took := it.message.At.Sub(p.After)
	if took > s.client.latency && !s.channel.inFault(index, "") && !it.since.IsZero() && p.Before.After(it.since) {
		s.violation(Late, it.message.At, "%s arrived %v after it was published", describe(it.message.Data), took)
	}
}

// skipTo notes the losses between the newest message and this one, which is
// item i.
func (s *sequence) skipTo(index, i int) {
	for p := s.highest + 1; p < index; p++ {
		if s.excused(p) || i == len(s.items) && s.pending(p) {
			continue
		}
		l := loss{index: p, item: i, other: len(s.boundaries) > 0}
		for _, b := range s.boundaries {
			l.early = l.early || b.gap && s.channel.inFault(p, b.relay)
		}
		s.missing = append(s.missing, l)
	}
}

func (s *sequence) excused(index int) bool {
	for _, b := range s.boundaries {
		if b.excuses(s.channel, index) {
			if b.gap {
				s.client.report.Lost++
			}
			return true
		}
	}
	if s.noGaps && s.channel.inFault(index, "") {
		s.client.report.Lost++
		return true
	}
	return false
}

// reportMissing reports the messages that never arrived. Adjacent ones make one
// violation.
func (s *sequence) reportMissing() {
	var first, last loss
	n := 0
	flush := func() {
		if n > 0 {
			s.reportLoss(first, last, n)
		}
		n = 0
	}
	for _, l := range s.missing {
		if s.seen[l.index] {
			continue // it arrived in the wrong order, which is another violation
		}
		if n == 0 || l.index != last.index+1 || s.rule(l) != s.rule(first) {
			flush()
			first = l
		}
		last = l
		n++
	}
	flush()
}

func (s *sequence) reportLoss(first, last loss, n int) {
	sent := s.channel.sent
	from, to := sent[first.index], sent[last.index]
	at, where := time.Time{}, "at the end"
	if first.item < len(s.items) {
		e := s.items[first.item].message
		at, where = e.At, "before "+describe(e.Data)
	}
	text := fmt.Sprintf("missing: %d, seq %d to %d, published %s to %s, %s", n, from.Seq, to.Seq,
		from.Before.Format("15:04:05.000000"), to.After.Format("15:04:05.000000"), where)
	switch {
	case from.Receivers == 0:
		text += "; PUBLISH had no receiver"
	case first.other && s.rule(first) == Hole:
		text += "; there was a gap or a new subscription, but the message was published after it or outside a fault"
	}
	s.violation(s.rule(first), at, "%s", text)
}

// rule returns the rule that a loss breaks.
func (s *sequence) rule(l loss) Rule {
	if !s.channel.inFault(l.index, "") {
		return Hole
	}
	if l.early {
		return EarlyGap
	}
	for _, i := range s.gaps {
		if i > l.item && s.sameFault(l.index, s.items[i].boundary.to) {
			return LateGap
		}
	}
	return MissingGap
}

// sameFault reports whether one fault explains both the loss and the gap.
func (s *sequence) sameFault(index int, gap time.Time) bool {
	for _, w := range s.client.windows {
		if w.touches(s.name) && w.holds(gap) && w.explains(s.channel.sent[index], s.client.lag) {
			return true
		}
	}
	return false
}
