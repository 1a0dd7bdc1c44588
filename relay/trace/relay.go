package trace

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"sidecast/relay/protocol"
)

// A relayCount counts what one relay did.
type relayCount struct {
	relayed, listeners int
	owed               []time.Time // messages at Redis that it has not reported
	gone               bool        // no more events follow
}

// reported says that the relay has reported a message.
func (r *relayCount) reported() {
	if len(r.owed) > 0 {
		r.owed = r.owed[1:]
	}
}

// Follow says that the events of a relay follow.
func (t *Trace) Follow(relay string, at time.Time) []Line {
	if t.relays[relay] == nil {
		t.relays[relay] = new(relayCount)
	}
	t.relays[relay].gone = false
	return []Line{t.line(at, relay, "following", t.e.Channel, Sentence{Text: "following what the relay does"})}
}

// Unfollow says that no more events of a relay follow.
func (t *Trace) Unfollow(relay string) {
	if r := t.relays[relay]; r != nil {
		r.gone, r.owed, r.listeners = true, nil, 0
	}
}

// Relay handles what happened at a relay.
func (t *Trace) Relay(relay string, e Event) []Line {
	r := t.relays[relay]
	if r == nil {
		return nil
	}
	if e.How != Unlike {
		return t.relayNear(relay, e)
	}
	says := Sentence{}
	switch e.Kind {
	case EventMessage, EventTooLarge:
		says = t.relayed(r, e)
	case EventDropped:
		r.reported()
		says = t.dropped(e)
	case EventNudge, EventStart:
		return nil
	case EventJoin:
		says.Text = e.client() + " subscribes"
	case EventLeave:
		says.Text = e.client() + " leaves"
	case EventRefused:
		says = t.isRefused(e)
	case EventEvicted:
		t.evicted++
		says = Sentence{Text: e.client() + " is disconnected: it reads too slowly", Wrong: true,
			Do: "the client resumes when it reconnects; if it happens often, send less, or see SIDECAST_OUTBOX_BYTES"}
	case EventGap:
		says = Sentence{Text: "clients may have missed messages, and are notified: " + e.Reason, Wrong: true}
	case EventLinkDown:
		says = Sentence{Text: "the relay loses its connection to Redis: what is published now does not reach it", Do: "see the relay's log", Wrong: true}
	case EventLinkUp:
		says.Text = "the relay is connected to Redis again"
	case EventMissed:
		says.Text = "more happens than can be followed: some lines are missing"
	}
	line := t.line(e.At, relay, string(e.Kind), e.Channel, says)
	line.Size, line.Event = e.Size, &e
	return []Line{line}
}

// relayed says who received a message.
func (t *Trace) relayed(r *relayCount, e Event) Sentence {
	r.relayed++
	r.listeners = e.Listeners
	r.reported()
	switch {
	case e.Kind == EventTooLarge:
		return Sentence{Text: fmt.Sprintf("too large: %s a gap in place of the message", gets(e.Listeners)), Wrong: true,
			Do: "publish less, such as an id by which the page loads the rest, or raise SIDECAST_MAX_PAYLOAD_BYTES"}
	case e.Listeners == 0:
		says := Sentence{Text: "relayed, but nobody listens", Wrong: true,
			Do: "open the page, or compare the name that it subscribes to with this one"}
		if t.refused > 0 {
			says.Text += fmt.Sprintf("; refused: %d", t.refused)
		}
		return says
	}
	text := "sent to " + count(e.Listeners, "client")
	if len(e.Protocols) > 0 {
		text += " (" + protocols(e.Protocols) + ")"
	}
	return Sentence{Text: text}
}

func gets(n int) string {
	if n == 1 {
		return "1 client gets"
	}
	return fmt.Sprintf("%d clients get", n)
}

// protocols lists how many clients use which protocol.
func protocols(m map[string]int) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(m)) {
		parts = append(parts, fmt.Sprintf("%d %s", m[name], name))
	}
	return strings.Join(parts, ", ")
}

// dropped says why a relay drops a message.
func (t *Trace) dropped(e Event) Sentence {
	switch e.Reason {
	case "nudge":
		says := t.noEntry(1)
		says.Text = "the relay finds no new entry: " + says.Text
		return says
	case "reserved":
		return Sentence{Text: "the relay drops the message, because its name is reserved", Do: "use a name that begins neither with the key prefix nor with __", Wrong: true}
	case "name":
		return Sentence{Text: "the relay drops the message, because no channel can have its name", Do: "use a name without control characters", Wrong: true}
	}
	return Sentence{Text: "the relay drops the message: " + e.Reason, Wrong: true}
}

// isRefused says why a client may not use the channel.
func (t *Trace) isRefused(e Event) Sentence {
	if e.Command == protocol.CommandPublish.String() {
		return Sentence{
			Text: fmt.Sprintf("%s may not publish: %s", e.client(), e.Reason), Wrong: true,
			Do: "SIDECAST_PUBLISH_CHANNELS, or the list publish of a login, opens a channel for publishing; most applications publish for their pages",
		}
	}
	t.refused++
	says := Sentence{Text: fmt.Sprintf("%s is refused: %s", e.client(), e.Reason), Wrong: true}
	if len(t.e.Open) == 0 {
		for _, reason := range t.e.Says {
			if reason.Wrong {
				says.Do = reason.Do
				return says
			}
		}
	}
	var list []string
	for _, o := range t.e.Open {
		list = append(list, o.sentence())
	}
	says.Do = "the channel is open to " + strings.Join(list, "; to ") + ". `sidecast check --channel NAME --cookie COOKIE` says what a user may receive"
	return says
}

// client names the client of an event.
func (e *Event) client() string {
	text := "a client"
	if e.User != "" {
		text = fmt.Sprintf("the user %q", e.User)
	}
	if e.Protocol != "" {
		text += " (" + e.Protocol + ")"
	}
	return text
}

// relayNear says that something happens on a channel with a similar name.
func (t *Trace) relayNear(relay string, e Event) []Line {
	var says Sentence
	differs := fmt.Sprintf("%q, which differs from %q by %s", e.Channel, t.e.Channel, e.How.by())
	switch e.Kind {
	case EventJoin:
		says.Text = e.client() + " subscribes to " + differs
	case EventRefused:
		says.Text = fmt.Sprintf("%s is refused %s: %s", e.client(), differs, e.Reason)
	case EventMessage:
		if t.redis.Address != "" {
			return nil // the line about Redis says it
		}
		says.Text = "a message arrives on " + differs
	default:
		return nil
	}
	says.Do, says.Wrong = "use the same name in the application and in the page", true
	line := t.line(e.At, relay, "near", e.Channel, says)
	line.Event = &e
	return []Line{line}
}
