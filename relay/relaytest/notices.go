package relaytest

import (
	"fmt"
	"slices"
	"time"
)

// checkNotices checks how often a session received gap and offline, and whether
// a fault was the cause.
func (c *checker) checkNotices(s Session) {
	n := c.notices(s)
	for _, e := range n.gaps {
		c.report.Gaps++
		expected := c.during(e.At, e.Channel, s.Relay, func(f Fault) bool { return f.Gap != Never })
		if !expected && !c.durable(e.Channel) && !n.replay[e.N] {
			c.report.add(Violation{Rule: CauselessGap, Client: s.Client, Channel: e.Channel, At: e.At,
				Text: fmt.Sprintf("a gap (%q) without a fault", e.Text)})
		}
	}
	for _, e := range n.offlines {
		c.report.Offlines++
		if !c.during(e.At, "", s.Relay, func(f Fault) bool { return f.Offline != Never }) {
			c.report.add(Violation{Rule: CauselessNotice, Client: s.Client, At: e.At, Text: "offline without a fault"})
		}
	}
	for _, w := range c.windows {
		if !w.concerns(s.Relay) {
			continue
		}
		least, most := w.expect(func(f Fault) Expect { return f.Gap })
		if !n.needsGap(w) {
			least = 0
		}
		c.count(GapCount, "gaps", s, w, n.gaps, least, most)
		if w.channel != "" {
			continue
		}
		least, most = w.expect(func(f Fault) Expect { return f.Offline })
		if !n.needsOffline(w) {
			least = 0
		}
		c.count(OfflineCount, "offline notices", s, w, n.offlines, least, most)
	}
}

// count compares the number of events in the window with the expected one; most
// is -1 if it is not bounded. If there must be none, only the rules of causeless
// events apply, because another fault at the same time may have caused one.
func (c *checker) count(rule Rule, what string, s Session, w window, events []Event, least, most int) {
	if most == 0 {
		return
	}
	n := 0
	for _, e := range events {
		if w.channel == e.Channel && w.holds(e.At) {
			n++
		}
	}
	if n < least || most >= 0 && n > most {
		c.report.add(Violation{Rule: rule, Client: s.Client, Channel: w.channel, At: w.from,
			Text: fmt.Sprintf("%d %s because of %s, want %d to %d", n, what, w.name(), least, most)})
	}
}

// notices has the gaps and offlines of one session, and when the session could
// receive them.
type notices struct {
	Session
	gaps, offlines []Event
	replay         map[int]bool // the gaps, by N, that arrived during a replay and need no fault
	opened         time.Time    // the welcome, or on raw the handshake
	subscribed     []Event      // the subscribed of each subscription to a live channel at this point of the log
	ended          time.Time    // when the session ended or its client stopped reading; zero if neither happened
}

func (c *checker) notices(s Session) notices {
	n := notices{Session: s, replay: make(map[int]bool)}
	for _, e := range s.Events {
		switch {
		case e.Kind == KindWelcome, e.Kind == KindOpened && s.Protocol == Raw:
			n.opened = e.At
		case e.Kind == KindSubscribed:
			if !c.durable(e.Channel) {
				n.subscribed = append(n.subscribed, e)
			}
		case e.Kind == KindUnsubscribed:
			n.subscribed = slices.DeleteFunc(n.subscribed, func(s Event) bool { return s.Channel == e.Channel })
		case e.Kind == KindGap, e.Kind == KindClose && e.Code == closeGap && s.GapClose:
			n.gaps = append(n.gaps, e)
			n.replay[e.N] = n.duringReplay(e)
		case e.Kind == KindOffline:
			n.offlines = append(n.offlines, e)
		}
		switch e.Kind {
		case KindStoppedReading, KindClosing, KindAborted, KindEnd:
			if n.ended.IsZero() {
				n.ended = e.At
			}
		}
	}
	return n
}

// duringReplay reports whether a gap belongs to the replay of a subscription
// that exists at this point of the log.
func (n *notices) duringReplay(gap Event) bool {
	return gap.Text == gapHistory && slices.ContainsFunc(n.subscribed, func(s Event) bool {
		return s.Channel == gap.Channel && s.Recovered
	})
}

// outlived reports whether the session was open and its client reading when the
// fault had healed.
func (n *notices) outlived(w window) bool { return n.ended.IsZero() || after(n.ended, w.to) }

// needsGap reports whether the session was subscribed to a channel of the
// faults before they were undone, and outlived them.
func (n *notices) needsGap(w window) bool {
	undone := w.undone()
	switch {
	case undone.IsZero(), w.to.IsZero(), !n.outlived(w), n.opened.IsZero():
		return false
	case n.Protocol == Raw:
		return n.GapClose && n.opened.Before(w.from)
	}
	for _, s := range n.subscribed {
		if w.channel == "" && s.At.Before(undone) || w.channel == s.Channel && s.At.Before(w.from) {
			return true
		}
	}
	return false
}

// needsOffline reports whether the session was open when the faults began, and
// outlived them.
func (n *notices) needsOffline(w window) bool {
	return n.Protocol == V1 && !n.opened.IsZero() && n.opened.Before(w.from) && n.outlived(w)
}
