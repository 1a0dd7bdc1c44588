package relaytest

import (
	"fmt"
	"time"
	"unicode/utf8"
)

// reading goes through the log of one session.
type reading struct {
	*listener
	session Session

	greeted bool      // the welcome came
	unwell  time.Time // when the client first read less than it could, or began to hang up; zero while it behaves
	provoke bool      // the client did what a relay may end a session for
	asleep  bool      // the client reads slowly or not at all
	leaving bool      // the client hangs up
	closed  time.Time // when the close frame came, behind which there is nothing; zero before
}

func (r *reading) read() {
	for _, e := range r.session.Events {
		r.deed(e)
		switch {
		case e.Kind == KindBroken:
			r.fault(BadProtocol, e, "the relay broke the protocol: "+e.Text)
		case e.Kind == KindEnd:
			r.end(e)
		case r.session.Protocol == Raw:
			r.raw(e)
		default:
			r.v1(e)
		}
	}
	if r.asleep || r.leaving {
		r.leaveAll(r.unwell)
	}
}

// deed notes what the client did to itself.
func (r *reading) deed(e Event) {
	switch e.Kind {
	case KindStopped, KindSlowed:
		r.asleep = true
	case KindResumed:
		r.asleep = false
	case KindClosing, KindAborted:
		r.leaving = true
	case KindMuted, KindSentRaw:
		r.provoke = true
	case KindClose:
		r.closed = e.At
	}
	if r.asleep || r.leaving {
		r.provoke = true
		if r.unwell.IsZero() {
			r.unwell = e.At
		}
	}
}

// v1 takes an event of sidecast.v1.
func (r *reading) v1(e Event) {
	if !r.greeted && e.Kind > KindOpened && e.Kind < KindPingFrame {
		r.greeted = true
		if e.Kind != KindWelcome {
			r.fault(BadProtocol, e, fmt.Sprintf("the first frame is %s, not welcome", e.Kind))
		}
	}
	switch e.Kind {
	case KindSent:
		if e.Text == "subscribe" {
			r.track(e.Channel).ask(e)
		}
	case KindSubscribed:
		r.track(e.Channel).join(e, r.session.Relay)
	case KindUnsubscribed:
		r.track(e.Channel).leave(e.At)
	case KindMessage:
		r.message(r.track(e.Channel), e)
	case KindGap:
		for _, t := range r.tracks {
			if t.joined && (e.Channel == "" && !r.j.durable(t.name) || e.Channel == t.name) {
				t.gap(e, r.session.Relay)
			}
		}
	}
}

// ask notes when a subscription was asked for; one with a cursor may bring what is old.
func (t *track) ask(e Event) {
	t.asked, t.resuming = e.At, e.Cursor != "" || e.Data != ""
	if t.resuming {
		t.asked = time.Time{}
	}
}

// raw takes an event of sidecast.raw, which names no channels and confirms nothing.
func (r *reading) raw(e Event) {
	switch {
	case e.Kind == KindOpened:
		for _, name := range r.session.Channels {
			t := r.track(name)
			t.deaf = !r.session.GapClose && !r.j.durable(name)
			t.asked = e.At
			t.join(Event{At: e.At.Add(r.j.lag)}, r.session.Relay)
		}
	case e.Kind == KindClose && e.Code == closeGap && r.session.GapClose:
		for _, t := range r.tracks {
			if t.joined {
				t.bound(boundary{gap: true, to: e.At, relay: r.session.Relay})
			}
		}
	case e.Kind == KindMessage:
		switch tracks := r.candidates(r.session, e.Data); {
		case len(tracks) == 1:
			r.message(tracks[0], e)
		case len(tracks) > 1:
			r.fault(Unproven, e, fmt.Sprintf("%q and %q share a payload; give them longer ones", tracks[0].name, tracks[1].name))
		case r.j.owner(e.Data) != "":
			r.fault(Leak, e, fmt.Sprintf("a message of %q: %s", r.j.owner(e.Data), describe(e.Data)))
		default:
			r.fault(Corrupt, e, describe(e.Data))
		}
	}
}

// closeGap is the code with which a raw client is closed that asked for it.
const closeGap = 4410

func (r *reading) message(t *track, e Event) {
	r.j.report.Deliveries++
	if !t.joined {
		t.fault(Leak, e.At, "the session does not listen to this channel: %s", describe(e.Data))
		return
	}
	if e.Binary == utf8.ValidString(e.Data) {
		t.fault(Corrupt, e.At, "binary is %v, but the payload is UTF-8: %v: %s", e.Binary, !e.Binary, describe(e.Data))
	}
	t.receive(e, !r.unwell.IsZero())
}

// end ends all subscriptions, at the time from which the client could not be expected to hear everything.
func (r *reading) end(e Event) {
	when := e.At
	switch {
	case !r.unwell.IsZero():
		when = r.unwell
	case !r.closed.IsZero():
		when = r.closed
	}
	r.leaveAll(when)
	gapClose := r.session.GapClose && e.Code == closeGap // the gap itself is judged with the others
	if !r.provoke && !gapClose && !r.j.run.Rules.AnyEnd && !r.j.during(e.At, "", r.session.Relay, func(f Fault) bool { return f.Ends }) {
		r.fault(UnexpectedEnd, e, fmt.Sprintf("the relay ended the session with code %d (%s)", e.Code, e.Text))
	}
}

func (r *reading) leaveAll(when time.Time) {
	for _, t := range r.tracks {
		t.leave(when)
	}
}

func (r *reading) fault(rule Rule, e Event, text string) {
	r.j.report.add(Violation{Rule: rule, Client: r.name, At: e.At, Text: text})
}
