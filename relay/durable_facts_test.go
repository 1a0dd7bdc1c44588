package relay_test

import "slices"

// durableFacts say where a mutant must be noticed on durable channels.
type durableFacts struct {
	store *store
	*story
}

// find returns the spot of the cursor of event i, or of another one.
func (f durableFacts) find(i int, cursor string) *spot {
	p, _ := (&durableRules{store: f.store}).find(f.events[i].channel, cursor, f.events[i].moment)
	return p
}

// entry returns the record that event i carries or stands for, or nil.
func (f durableFacts) entry(i int) *record {
	switch {
	case i < 0 || !isDurable(f.events[i].channel):
	case f.isMessage(i):
		return f.store.byPayload[string(f.events[i].payload)]
	case f.events[i].kind == "gap" && f.events[i].reason == "too_large":
		return f.find(i, f.events[i].cursor).record
	}
	return nil
}

// event returns the event of a record, sent when event i was.
func (f durableFacts) event(r *record, i int) *event {
	cursor, _ := r.entry.AppendText(nil)
	return &event{kind: "message", channel: r.channel, cursor: string(cursor), payload: r.entry.Payload, moment: f.events[i].moment}
}

// inexcusable reports whether nothing excuses that a client does not receive a
// record.
func (f durableFacts) inexcusable(r *record) bool {
	return r != nil && r.by != f.id && (r.removed == 0 || r.removal == removalTrim)
}

// between reports whether a channel has such a record later than was and before
// next.
func (f durableFacts) between(was, next int, channel string) bool {
	return was < next && slices.ContainsFunc(f.store.log[was:next-1], func(r *record) bool {
		return r.channel == channel && f.inexcusable(r)
	})
}

func (f durableFacts) required(i int) bool {
	r, was, next := f.entry(i), f.entry(f.preceding(i)), f.entry(f.following(i))
	return f.inexcusable(r) && was != nil && next != nil && was.generation == r.generation && next.generation == r.generation
}

// gapNeeded: in the gap, something was lost for certain.
func (f durableFacts) gapNeeded(i int) bool {
	e := f.events[i]
	if e.kind != "gap" || e.channel == "" || e.reason == "redis" {
		return false
	}
	if e.reason == "too_large" {
		return f.required(i)
	}
	was, next := f.entry(f.preceding(i)), f.entry(f.following(i))
	return was != nil && next != nil && (was.generation != next.generation || f.between(was.number, next.number, e.channel))
}

func (f durableFacts) gapBefore(i, _ int) bool { return f.gapNeeded(i) }

func (f durableFacts) endNeeded(i int) bool {
	r := f.entry(i)
	return r != nil && r.removed == 0 && r.by != f.id && f.following(i) < 0 && f.entry(f.preceding(i)) != nil
}

func (f durableFacts) falseGap(i int) *event {
	r := f.entry(i)
	if !f.isMessage(i) || r.removed > 0 || slices.ContainsFunc(f.store.log[r.number:], func(later *record) bool {
		return later.by == f.id || later.removed > 0 && later.channel == r.channel
	}) {
		return nil
	}
	gap := f.events[i]
	gap.kind, gap.reason, gap.payload = "gap", "trimmed", nil
	return &gap
}

func (f durableFacts) sent(i int) *event {
	for _, r := range f.store.log {
		if r.channel == f.events[i].channel && !r.entry.TooLarge {
			return f.event(r, i)
		}
	}
	return nil
}

// recoveredAt returns the record after which the client resumes by event i, or
// nil.
func (f durableFacts) recoveredAt(i int) *record {
	if i < 0 || f.events[i].kind != "subscribed" || !isDurable(f.events[i].channel) || !f.events[i].recovered {
		return nil
	}
	p := f.find(i, f.events[i].cursor)
	if p == nil || p.record == nil || p.blank || p.record.entry.TooLarge {
		return nil
	}
	return p.record
}

// refusedCursor returns the cursor that the client sent, if event i says that
// it was not recovered and the client missed something that exists.
func (f durableFacts) refusedCursor(i int) string {
	e, gap := f.events[i], f.following(i)
	if e.kind != "subscribed" || !isDurable(e.channel) || e.recovered || gap < 0 || f.events[gap].kind != "gap" {
		return ""
	}
	next := f.entry(f.following(gap))
	if next == nil {
		return ""
	}
	cmd := f.commands[e.ref-1]
	after := cmd.after[slices.Index(cmd.channels, e.channel)]
	if was := f.find(i, after); was == nil || was.record == nil || !f.between(was.floor, next.number, e.channel) {
		return ""
	}
	return after
}

// mutants returns those that apply to durable channels only.
func (f durableFacts) mutants(s *subject) []mutant {
	return []mutant{
		s.remove("does not report where a subscription begins", func(i int) bool {
			e, next := f.events[i], f.following(i)
			return isDurable(e.channel) && e.kind == "gap" && e.reason == "redis" && (next < 0 || f.isMessage(next))
		}),
		s.remove("resumes one too late", func(i int) bool {
			r, was, next := f.entry(i), f.recoveredAt(f.preceding(i)), f.entry(f.following(i))
			return f.inexcusable(r) && was != nil && next != nil && was.generation == r.generation && next.generation == r.generation
		}),
		s.insert("resumes one too early", func(i int) *event {
			if r := f.recoveredAt(i); r != nil {
				return f.event(r, i)
			}
			return nil
		}),
		s.alter("sends the cursor of another message", func(i int) bool { return f.entry(i) != nil && f.isMessage(i) && f.isMessage(f.preceding(i)) },
			func(i int, e *event) { e.cursor = f.events[f.preceding(i)].cursor }),
		s.mutant("says that it recovered what it did not", func(i int) bool { return f.refusedCursor(i) != "" }, func(i int) []event {
			list := slices.Clone(s.events)
			list[i].recovered, list[i].cursor = true, f.refusedCursor(i)
			gap := s.following(i)
			return slices.Delete(list, gap, gap+1)
		}),
	}
}
