package relaytest

import (
	"fmt"
	"time"
	"unicode/utf8"
)

// A sessionReader reads the log of one session and fills the tracks of its
// client.
type sessionReader struct {
	*clientChecker
	session Session

	welcomed    bool      // the welcome has arrived
	notReading  bool      // the client has stopped reading
	closing     bool      // the client is closing the connection
	mayBeClosed bool      // the client has misbehaved, so the relay may end the session
	excused     time.Time // when the client first stopped reading or began to close; zero if it did neither
	closed      time.Time // when the relay's close frame arrived; zero before
}

func (r *sessionReader) read() {
	for _, e := range r.session.Events {
		r.note(e)
		switch {
		case e.Kind == KindBroken:
			r.violation(BadProtocol, e, "the relay broke the protocol: "+e.Text)
		case e.Kind == KindEnd:
			r.end(e)
		case r.session.Protocol == Raw:
			r.readRaw(e)
		default:
			r.readV1(e)
		}
	}
	if r.notReading || r.closing {
		r.leaveAll(r.excused)
	}
}

// note processes the client's own actions and the relay's close frame.
func (r *sessionReader) note(e Event) {
	switch e.Kind {
	case KindStoppedReading:
		r.notReading = true
	case KindResumedReading:
		r.notReading = false
	case KindClosing, KindAborted:
		r.closing = true
	case KindSentRaw:
		r.mayBeClosed = true
	case KindClose:
		r.closed = e.At
	}
	if r.notReading || r.closing {
		r.mayBeClosed = true
		if r.excused.IsZero() {
			r.excused = e.At
		}
	}
}

// readV1 processes an event of sidecast.v1.
func (r *sessionReader) readV1(e Event) {
	if !r.welcomed && e.Kind > KindOpened && e.Kind < KindPingFrame {
		r.welcomed = true
		if e.Kind != KindWelcome {
			r.violation(BadProtocol, e, fmt.Sprintf("the first frame is %s, not welcome", e.Kind))
		}
	}
	switch e.Kind {
	case KindSent:
		if e.Text == "subscribe" {
			r.track(e.Channel).request(e)
		}
	case KindSubscribed:
		r.track(e.Channel).join(e, r.session.Relay)
	case KindUnsubscribed:
		r.track(e.Channel).leave(e.At)
	case KindMessage:
		r.message(r.track(e.Channel), e)
	case KindGap:
		for _, t := range r.tracks {
			if t.subscribed && (e.Channel == "" && !r.durable(t.name) || e.Channel == t.name) {
				t.gap(e, r.session.Relay)
			}
		}
	}
}

// readRaw processes an event of sidecast.raw, which does not name channels or
// confirm subscriptions.
func (r *sessionReader) readRaw(e Event) {
	switch {
	case e.Kind == KindOpened:
		for _, name := range r.session.Channels {
			t := r.track(name)
			t.noGaps = !r.session.GapClose && !r.durable(name)
			t.requested, t.newest = e.At, r.session.Last
			t.join(Event{At: e.At.Add(r.lag)}, r.session.Relay)
		}
	case e.Kind == KindClose && e.Code == closeGap && r.session.GapClose:
		for _, t := range r.tracks {
			if t.subscribed {
				t.bound(boundary{gap: true, to: e.At, relay: r.session.Relay})
			}
		}
	case e.Kind == KindMessage:
		switch tracks := r.candidates(r.session, e.Data); {
		case len(tracks) == 1:
			r.message(tracks[0], e)
		case len(tracks) > 1:
			r.violation(Unproven, e, fmt.Sprintf("%q and %q have an equal payload; publish longer ones",
				tracks[0].name, tracks[1].name))
		case r.owner(e.Data) != "":
			r.violation(Leak, e, fmt.Sprintf("a message of %q: %s", r.owner(e.Data), describe(e.Data)))
		default:
			r.violation(Corrupt, e, describe(e.Data))
		}
	}
}

// closeGap is the close code that a raw client with gap=close receives instead
// of a gap.
const closeGap = 4410

func (r *sessionReader) message(t *track, e Event) {
	r.report.Deliveries++
	if !t.subscribed {
		t.violation(Leak, e.At, "the session is not subscribed to this channel: %s", describe(e.Data))
		return
	}
	if e.Binary == utf8.ValidString(e.Data) {
		t.violation(Corrupt, e.At, "binary is %v, but the payload is UTF-8: %v: %s", e.Binary, !e.Binary, describe(e.Data))
	}
	t.receive(e, r.excused.IsZero())
}

// end ends all subscriptions, at the time after which messages may be missing.
func (r *sessionReader) end(e Event) {
	when := e.At
	switch {
	case !r.excused.IsZero():
		when = r.excused
	case !r.closed.IsZero():
		when = r.closed
	}
	r.leaveAll(when)
	gapClose := r.session.GapClose && e.Code == closeGap // checkNotices checks it as a gap
	fault := r.during(e.At, "", r.session.Relay, func(f Fault) bool { return f.Ends })
	if !r.mayBeClosed && !gapClose && !fault && !r.run.Rules.AnyEnd {
		r.violation(UnexpectedEnd, e, fmt.Sprintf("the relay ended the session with code %d (%s)", e.Code, e.Text))
	}
}

func (r *sessionReader) leaveAll(when time.Time) {
	for _, t := range r.tracks {
		t.leave(when)
	}
}

func (r *sessionReader) violation(rule Rule, e Event, text string) {
	r.report.add(Violation{Rule: rule, Client: r.name, At: e.At, Text: text})
}
