package relaytest

import (
	"fmt"
	"slices"
	"time"
)

// notices counts what one session was told of the faults, against what it should have been.
func (j *judge) notices(s Session) {
	l := j.newLife(s)
	for _, e := range l.gaps {
		j.report.Gaps++
		if !j.durable(e.Channel) && !l.replayed[e.N] && !j.during(e.At, e.Channel, s.Relay, func(f Fault) bool { return f.Gap != Never }) {
			j.report.add(Violation{Rule: CauselessGap, Client: s.Client, Channel: e.Channel, At: e.At,
				Text: fmt.Sprintf("a gap (%q) that no fault explains", e.Text)})
		}
	}
	for _, e := range l.offlines {
		j.report.Offlines++
		if !j.during(e.At, "", s.Relay, func(f Fault) bool { return f.Offline != Never }) {
			j.report.add(Violation{Rule: CauselessNotice, Client: s.Client, At: e.At, Text: "offline without a fault"})
		}
	}
	for _, w := range j.windows {
		if !w.concerns(s.Relay) {
			continue
		}
		least, most := w.expect(func(f Fault) Expect { return f.Gap })
		if !l.mustHearGap(w) {
			least = 0
		}
		j.count(GapCount, "gaps", s, w, l.gaps, least, most)
		if w.channel != "" {
			continue
		}
		least, most = w.expect(func(f Fault) Expect { return f.Offline })
		if !l.mustHearOffline(w) {
			least = 0
		}
		j.count(OfflineCount, "offline notices", s, w, l.offlines, least, most)
	}
}

// count compares how many of the events belong to the window with what is expected; most is -1 for no bound.
func (j *judge) count(rule Rule, what string, s Session, w window, events []Event, least, most int) {
	n := 0
	for _, e := range events {
		if w.channel == e.Channel && w.holds(e.At) {
			n++
		}
	}
	if n < least || most >= 0 && n > most {
		j.report.add(Violation{Rule: rule, Client: s.Client, Channel: w.channel, At: w.from,
			Text: fmt.Sprintf("%d %s about %s, want %d to %d", n, what, w.name(), least, most)})
	}
}

// life is when a session was there to be told something.
type life struct {
	Session
	gaps, offlines []Event
	replayed       map[int]bool // of the gaps, by N: it is one of a replay, and so not of a fault
	opened         time.Time    // the welcome, or on raw the handshake
	joins          []Event      // its subscriptions' beginnings
	ended          time.Time    // or when it ceased to behave; zero if neither happened
}

func (j *judge) newLife(s Session) life {
	l := life{Session: s, replayed: make(map[int]bool)}
	for _, e := range s.Events {
		switch {
		case e.Kind == KindWelcome, e.Kind == KindOpened && s.Protocol == Raw:
			l.opened = e.At
		case e.Kind == KindSubscribed:
			if !j.durable(e.Channel) {
				l.joins = append(l.joins, e)
			}
		case e.Kind == KindUnsubscribed:
			l.joins = slices.DeleteFunc(l.joins, func(join Event) bool { return join.Channel == e.Channel })
		case e.Kind == KindGap, e.Kind == KindClose && e.Code == closeGap && s.GapClose:
			l.gaps = append(l.gaps, e)
			if l.inReplay(e) {
				l.replayed[e.N] = true
			}
		case e.Kind == KindOffline:
			l.offlines = append(l.offlines, e)
		}
		switch e.Kind {
		case KindStopped, KindSlowed, KindClosing, KindAborted, KindEnd:
			if l.ended.IsZero() {
				l.ended = e.At
			}
		}
	}
	return l
}

// inReplay reports whether a gap is one of a replay of the subscriptions that there are at this place of the log.
func (l *life) inReplay(gap Event) bool {
	return gap.Text == gapHistory && slices.ContainsFunc(l.joins, func(join Event) bool {
		return join.Channel == gap.Channel && join.Recovered
	})
}

// outlived reports whether the session was still well when the fault had healed.
func (l *life) outlived(w window) bool { return l.ended.IsZero() || after(l.ended, w.to) }

// mustHearGap reports whether the session had joined a channel that the faults touch before they were undone, and stayed.
func (l *life) mustHearGap(w window) bool {
	undone := w.undone()
	switch {
	case undone.IsZero(), w.to.IsZero(), !l.outlived(w), l.opened.IsZero():
		return false
	case l.Protocol == Raw:
		return l.GapClose && l.opened.Before(w.from)
	}
	for _, join := range l.joins {
		if w.channel == "" && join.At.Before(undone) || w.channel == join.Channel && join.At.Before(w.from) {
			return true
		}
	}
	return false
}

// mustHearOffline reports whether the session was there when the faults began, and stayed.
func (l *life) mustHearOffline(w window) bool {
	return l.Protocol == V1 && !l.opened.IsZero() && l.opened.Before(w.from) && l.outlived(w)
}
