package relay_test

import (
	"bytes"
	"slices"
)

// A durableMutant changes what a client got into what a broken relay might have sent. It returns nil where there is nothing
// to break.
type durableMutant struct {
	name   string
	mutate func(s *scene) []dated
}

// removing is a mutant that leaves out a frame that satisfies ok.
func removing(name string, ok func(s *scene, i int) bool) durableMutant {
	return durableMutant{name, func(s *scene) []dated {
		i := s.pick(func(i int) bool { return ok(s, i) })
		if i < 0 {
			return nil
		}
		return s.without(i)
	}}
}

// altering is one that changes a frame that satisfies ok.
func altering(name string, ok func(s *scene, i int) bool, change func(s *scene, i int, h *dated)) durableMutant {
	return durableMutant{name, func(s *scene) []dated {
		i := s.pick(func(i int) bool { return ok(s, i) })
		if i < 0 {
			return nil
		}
		return s.changed(i, func(h *dated) { change(s, i, h) })
	}}
}

// adding is one that puts a frame behind one that satisfies ok.
func adding(name string, ok func(s *scene, i int) bool, frame func(s *scene, i int) *dated) durableMutant {
	return durableMutant{name, func(s *scene) []dated {
		i := s.pick(func(i int) bool { return ok(s, i) && frame(s, i) != nil })
		if i < 0 {
			return nil
		}
		return s.with(i+1, *frame(s, i))
	}}
}

// swapping is one that exchanges a frame that satisfies ok with the next of its channel.
func swapping(name string, ok func(s *scene, i, next int) bool) durableMutant {
	return durableMutant{name, func(s *scene) []dated {
		i := s.pick(func(i int) bool { k := s.next(i); return k > 0 && s.list[i].channel != "" && ok(s, i, k) })
		if i < 0 {
			return nil
		}
		return s.swapped(i, s.next(i))
	}}
}

func isMessage(s *scene, i int) bool { return s.message(i) }

// answersPlace reports whether frame i recovers a place with an entry.
func answersPlace(s *scene, i int) *record {
	h := s.list[i]
	if h.kind != "subscribed" || !h.recovered {
		return nil
	}
	p, _ := (&audit{vault: s.vault}).find(h.channel, h.cursor, h.moment)
	if p == nil || p.record == nil || p.blank || p.record.entry.TooLarge {
		return nil
	}
	return p.record
}

// ofChannel returns any record of the channel of frame i that fits.
func (s *scene) ofChannel(i int) *dated {
	for _, r := range s.vault.log {
		if r.channel == s.list[i].channel && !r.entry.TooLarge {
			return new(s.of(r, i))
		}
	}
	return nil
}

// isLast reports whether frame i carries the last entry of a channel in which the client is to the end.
func isLast(s *scene, i int) bool {
	r := s.entry(i)
	return r != nil && r.gone == 0 && r.by != s.story.id && s.next(i) < 0 && s.entry(s.before(i)) != nil
}

// lied returns what was asked for where frame i says that it was not recovered, and something that is there was missed.
func lied(s *scene, i int) string {
	h, next := s.list[i], s.entry(s.next(i))
	if h.kind != "subscribed" || h.recovered || next == nil {
		return ""
	}
	q := s.story.asked[h.ref-1]
	after := q.after[slices.Index(q.channels, h.channel)]
	was, _ := (&audit{vault: s.vault}).find(h.channel, after, h.moment)
	if was == nil || was.record == nil || was.floor >= next.number {
		return ""
	}
	for _, r := range s.vault.log[was.floor : next.number-1] {
		if r.channel == h.channel && s.lasts(r) {
			return after
		}
	}
	return ""
}

var durableMutants = []durableMutant{
	removing("drops a message", func(s *scene, i int) bool { return s.message(i) && s.vital(i) }),
	removing("does not say that an entry was too large", func(s *scene, i int) bool { return !s.message(i) && s.vital(i) }),
	removing("does not tell of a gap", (*scene).broken),
	removing("does not tell where it begins", func(s *scene, i int) bool {
		h, next := s.list[i], s.next(i)
		return h.kind == "gap" && h.reason == "redis" && h.channel != "" && (next < 0 || s.message(next))
	}),
	removing("does not answer", func(s *scene, i int) bool { return s.list[i].ref > 0 }),
	removing("loses the end", isLast),
	removing("resumes one too late", func(s *scene, i int) bool {
		r, k := s.entry(i), s.before(i)
		if k < 0 || r == nil || s.next(i) < 0 {
			return false
		}
		was, next := answersPlace(s, k), s.entry(s.next(i))
		return was != nil && next != nil && s.lasts(r) && was.line == r.line && next.line == r.line
	}),
	adding("resumes one too early", func(s *scene, i int) bool { return answersPlace(s, i) != nil }, func(s *scene, i int) *dated {
		return new(s.of(answersPlace(s, i), i))
	}),
	adding("sends a message twice", isMessage, func(s *scene, i int) *dated { return &s.list[i] }),
	adding("sends what the client has left", func(s *scene, i int) bool { return s.list[i].kind == "unsubscribed" }, (*scene).ofChannel),
	adding("tells of a gap that was none", func(s *scene, i int) bool {
		gone := func(r *record) bool { return r.by == s.story.id || r.gone > 0 && r.channel == s.list[i].channel }
		return s.message(i) && s.entry(i).gone == 0 && !slices.ContainsFunc(s.vault.log[s.entry(i).number:], gone)
	}, func(s *scene, i int) *dated {
		gap := s.list[i]
		gap.kind, gap.reason, gap.payload = "gap", "trimmed", nil
		return &gap
	}),
	swapping("swaps two messages", func(s *scene, i, next int) bool { return s.message(i) && s.message(next) }),
	swapping("tells of a gap after the next message", func(s *scene, i, next int) bool { return s.broken(i) && s.message(next) }),
	swapping("sends a message before the answer", func(s *scene, i, next int) bool {
		return s.list[i].kind == "subscribed" && s.message(next)
	}),
	altering("sends it on another channel", isMessage, func(_ *scene, _ int, h *dated) { h.channel += "x" }),
	altering("changes a byte", isMessage, func(s *scene, _ int, h *dated) {
		h.payload = bytes.Clone(h.payload)
		h.payload[s.random.IntN(len(h.payload))] ^= 0x80
	}),
	altering("sends another's cursor", func(s *scene, i int) bool { k := s.before(i); return s.message(i) && k >= 0 && s.message(k) },
		func(s *scene, i int, h *dated) { h.cursor = s.list[s.before(i)].cursor }),
	altering("says that it recovered what it did not", func(s *scene, i int) bool { return lied(s, i) != "" },
		func(s *scene, i int, h *dated) { h.recovered, h.cursor = true, lied(s, i) }),
}
