package relaytest

import (
	"fmt"
	"time"
)

// sequence judges a track whose payloads tell their numbers.
type sequence struct {
	*track
	lag time.Duration

	high    int             // the highest place received, -1 before the first
	since   []boundary      // those behind it
	seen    []bool          // by place
	unsure  map[string]bool // those of unknown fate that came
	missing []loss
	gaps    []int // items that are gaps
}

// loss is a message that was not there when a later one came.
type loss struct {
	place int
	item  int  // the later one in the track, or its end
	early bool // a gap stood between, but it had come before the message was published
	other bool // something stood between that does not explain it
}

func (t *track) judgeSequence() {
	s := &sequence{track: t, lag: t.l.j.lag, high: -1, seen: make([]bool, len(t.channel.sent))}
	for i, it := range t.items {
		if it.boundary == nil {
			s.take(i, it)
			continue
		}
		s.passed(*it.boundary, s.high+1)
		s.since = append(s.since, *it.boundary)
		if it.boundary.gap {
			s.gaps = append(s.gaps, i)
		}
	}
	s.skip(len(s.channel.sent), len(s.items))
	s.tell()
}

// take puts a message at its place.
func (s *sequence) take(i int, it item) {
	c, e := s.channel, it.message
	place := c.unique[e.Data]
	switch {
	case place < 0 && s.unsure[e.Data], place >= 0 && s.seen[place]:
		s.fault(Duplicate, e.At, "%s came again", describe(e.Data))
		return
	case place < 0:
		if s.unsure == nil {
			s.unsure = make(map[string]bool)
		}
		s.unsure[e.Data] = true
		return
	}
	s.seen[place] = true
	s.cursor(e, place)
	if c.heard.Before(c.sent[place].Before) {
		c.heard = c.sent[place].Before
	}
	s.inTime(place, it)
	if place < s.high {
		s.fault(Reorder, e.At, "%s came behind seq %d", describe(e.Data), c.sent[s.high].Seq)
		return
	}
	for _, b := range s.since {
		if b.stale(c, place, s.lag) {
			s.fault(Stale, e.At, "%s was answered %v before the session asked to join",
				describe(e.Data), b.ask.Sub(c.sent[place].After))
		}
	}
	s.skip(place, i)
	s.high, s.since = place, nil
}

func (s *sequence) inTime(place int, it item) {
	p := s.channel.sent[place]
	took := it.message.At.Sub(p.After)
	if took > s.l.j.latency && !s.channel.inFault(place, "") && !it.live.IsZero() && p.Before.After(it.live) {
		s.fault(Late, it.message.At, "%s came %v after it was published", describe(it.message.Data), took)
	}
}

// skip asks why the places from the highest one to this one were left out.
func (s *sequence) skip(place, i int) {
	for p := s.high + 1; p < place; p++ {
		if !s.excused(p) && !(i == len(s.items) && s.pending(p)) {
			m := loss{place: p, item: i, other: len(s.since) > 0}
			for _, b := range s.since {
				m.early = m.early || b.gap && s.channel.inFault(p, b.relay)
			}
			s.missing = append(s.missing, m)
		}
	}
}

func (s *sequence) excused(place int) bool {
	for _, b := range s.since {
		if b.excuses(s.channel, place, s.lag) {
			if b.gap {
				s.l.j.report.Lost++
			}
			return true
		}
	}
	if s.deaf && s.channel.inFault(place, "") {
		s.l.j.report.Lost++
		return true
	}
	return false
}

// tell reports what never came, neighbours in one line.
func (s *sequence) tell() {
	var first, last loss
	run := 0
	flush := func() {
		if run > 0 {
			s.lost(first, last, run)
		}
		run = 0
	}
	for _, m := range s.missing {
		if s.seen[m.place] {
			continue // it came late, which was told
		}
		if run == 0 || m.place != last.place+1 || s.rule(m) != s.rule(first) {
			flush()
			first = m
		}
		last = m
		run++
	}
	flush()
}

func (s *sequence) lost(first, last loss, n int) {
	sent := s.channel.sent
	from, to := sent[first.place], sent[last.place]
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
		text += "; what stands between explains only what was published before it, and a gap only what a fault's time explains"
	}
	s.fault(s.rule(first), at, "%s", text)
}

// rule says which clause a loss breaks.
func (s *sequence) rule(m loss) Rule {
	if !s.channel.inFault(m.place, "") {
		return Hole
	}
	if m.early {
		return EarlyGap
	}
	for _, i := range s.gaps {
		if i > m.item && s.sameFault(m.place, s.items[i].boundary.to) {
			return LateGap
		}
	}
	return MissingGap
}

// sameFault reports whether the fault that explains the loss explains this gap, too.
func (s *sequence) sameFault(place int, gap time.Time) bool {
	for _, w := range s.l.j.windows {
		if w.touches(s.name) && w.holds(gap) && w.explains(s.channel.sent[place], s.lag) {
			return true
		}
	}
	return false
}
