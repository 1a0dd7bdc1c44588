package relaytest

import (
	"fmt"
	"slices"
)

// Resumes counts those who came back to a channel with a cursor, by what the relay answered.
type Resumes struct {
	Recovered int
	Gaps      int // recovered:false
	False     int // those of them who had missed nothing
}

// All is how many there were.
func (r Resumes) All() int { return r.Recovered + r.Gaps }

func (r Resumes) plus(o Resumes) Resumes {
	return Resumes{r.Recovered + o.Recovered, r.Gaps + o.Gaps, r.False + o.False}
}

// String tells the counts in a few words.
func (r Resumes) String() string {
	return fmt.Sprintf("%d of %d recovered, %d false gaps", r.Recovered, r.All(), r.False)
}

// A Return tells resumes at the relay that gave the cursor from those at another.
type Return struct{ Same, Crossed Resumes }

// ResumeBounds hold a relay to recovering people: one that always says gap breaks no other rule.
type ResumeBounds struct {
	Enough    int     // with fewer resumes of a kind, nothing is asked; 0 asks nothing of any
	Recovered float64 // least share of those who come back
	FalseGaps float64 // greatest share of gaps among them with nothing missed
}

// bounds asks whether enough were recovered, of each kind of channel, on the same relay and across.
func (j *judge) bounds() {
	limits := j.run.Rules.Resumes
	if limits.Enough == 0 {
		return
	}
	for _, kind := range []struct {
		name    string
		resumes Resumes
	}{
		{"live channels, same relay", j.report.Live.Same}, {"live channels, another relay", j.report.Live.Crossed},
		{"durable channels, same relay", j.report.Durable.Same}, {"durable channels, another relay", j.report.Durable.Crossed},
	} {
		all := float64(kind.resumes.All())
		if all < float64(limits.Enough) {
			continue
		}
		if float64(kind.resumes.Recovered) < limits.Recovered*all {
			j.report.add(Violation{Rule: FewRecovered, Text: fmt.Sprintf("%s: %v", kind.name, kind.resumes)})
		}
		if float64(kind.resumes.False) > limits.FalseGaps*all {
			j.report.add(Violation{Rule: FalseGaps, Text: fmt.Sprintf("%s: %v", kind.name, kind.resumes)})
		}
	}
}

// tally is where resumes of this track are counted.
func (t *track) tally(crossed bool) *Resumes {
	r := &t.l.j.report.Live
	if t.l.j.durable(t.name) {
		r = &t.l.j.report.Durable
	}
	if crossed {
		return &r.Crossed
	}
	return &r.Same
}

// resumed counts a resume that ended in a gap. had is how many messages of the channel had been dealt with for certain.
func (t *track) resumed(b boundary, had int) {
	if !b.resumed {
		return
	}
	r := t.tally(b.crossed)
	r.Gaps++
	if t.channel.publishedBy(b.to) <= had {
		r.False++
	}
}

// gap takes a gap of a session. One in the replay of a live channel is as if the relay had said so at once.
func (t *track) gap(e Event, relay string) {
	b := boundary{gap: true, to: e.sent(), relay: relay}
	if e.Text == gapHistory && e.Channel != "" && t.replaying && !t.l.j.durable(t.name) {
		b.history, b.resumed, b.crossed = true, true, t.crossed
		t.tally(t.crossed).Recovered--
		t.replaying = false
	}
	t.bound(b)
}

// gapHistory is the reason of a gap in a replay.
const gapHistory = "history"

// entitled reports whether a gap on a durable channel had a cause: what follows the entry where the listener was fills the
// stream, so that it was trimmed away, or a fault has changed the stream.
func (t *track) entitled(b boundary, had int) bool {
	c := t.channel
	if c.maxLen > 0 && c.publishedBy(b.to)-had >= c.maxLen {
		return true
	}
	return slices.ContainsFunc(t.l.j.windows, func(w window) bool {
		return w.touches(c.name) && w.from.Before(b.to) && slices.ContainsFunc(w.faults, func(f Fault) bool { return f.Resets })
	})
}

// passed takes a boundary: how many it cost, and whether it may be.
func (t *track) passed(b boundary, had int) {
	t.resumed(b, had)
	if t.channel.durable && (b.gap || b.resumed) && !t.entitled(b, had) {
		t.fault(CauselessGap, b.to, "the stream still had the %d entries behind the last one heard, and that one", t.channel.publishedBy(b.to)-had)
	}
}

// cursor holds that a cursor names one message of its channel, whichever relay gives it and whoever hears it.
func (t *track) cursor(e Event, place int) {
	if e.Cursor == "" {
		return
	}
	key := [2]string{t.name, e.Cursor}
	first, known := t.l.j.cursors[key]
	if !known {
		t.l.j.cursors[key] = place
		return
	}
	if first != place {
		sent := t.channel.sent
		t.fault(BadCursor, e.At, "%s stands for seq %d and for seq %d", e.Cursor, sent[first].Seq, sent[place].Seq)
	}
}

// again reports whether the listener heard this cursor before: with equal payloads nothing else tells a repeat.
func (n *numbering) again(e Event) bool {
	if e.Cursor == "" {
		return false
	}
	if n.cursors[e.Cursor] {
		n.fault(Duplicate, e.At, "the message with the cursor %s came again", e.Cursor)
		return true
	}
	if n.cursors == nil {
		n.cursors = make(map[string]bool)
	}
	n.cursors[e.Cursor] = true
	return false
}
