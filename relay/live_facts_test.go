package relay_test

import (
	"slices"
)

// liveFacts say where a mutant must be noticed on live channels.
type liveFacts struct {
	relay *worldRelay
	log   []entry
	*story
}

// messageOf is the event of the message with this number.
func messageOf(log []entry, number int) event {
	e := log[number-1]
	return event{kind: "message", channel: e.channel, payload: []byte(e.payload), number: number}
}

// counting reports whether event i is a message, or a gap, of a channel of
// which the client had received a message before in the same subscription, and
// nothing since then excuses that another one is missing.
func (f liveFacts) counting(i int) bool {
	e := f.events[i]
	if e.kind != "message" && e.kind != "gap" || e.channel == "" {
		return false
	}
	for k := f.preceding(i); k >= 0; k = f.preceding(k) {
		if f.events[k].kind != "gap" {
			return f.events[k].kind == "message"
		}
		if f.events[k].reason != "too_large" {
			return false
		}
	}
	return false
}

// resumed reports whether the client resumed the channel before event i: what
// missed messages may be sent before new ones, and messages may be missing if
// it was notified of a gap that does not stand for one message.
func (f liveFacts) resumed(i int, channel string) bool {
	return slices.ContainsFunc(f.events[:i], func(e event) bool {
		return e.channel == channel && (e.recovered || f.wantedNewest(&e) || e.kind == "gap" && e.reason != "too_large")
	})
}

// wantedNewest reports whether an event answers a subscribe that asked for the
// newest messages.
func (f liveFacts) wantedNewest(e *event) bool {
	if e.kind != "subscribed" || e.ref == 0 {
		return false
	}
	cmd := f.commands[e.ref-1]
	return cmd.last != nil && cmd.last[slices.Index(cmd.channels, e.channel)] > 0
}

// required: a later message in the same subscription shows that something is
// missing, or the end does.
func (f liveFacts) required(i int) bool {
	if !f.counting(i) {
		return false
	}
	for k := f.following(i); k >= 0; k = f.following(k) {
		if e := f.events[k]; e.kind != "subscribed" && (e.kind != "gap" || e.reason != "too_large") {
			return e.kind == "message"
		}
	}
	return true
}

// gapNeeded: before the first message, the client may have joined after the gap
// was sent to all.
func (f liveFacts) gapNeeded(i int) bool {
	e := f.events[i]
	switch {
	case e.kind != "gap":
		return false
	case e.channel == "":
		return slices.ContainsFunc(f.events[:i], func(e event) bool { return e.kind == "message" && !isDurable(e.channel) })
	}
	return f.required(i) && !f.resumed(i+1, e.channel)
}

func (f liveFacts) gapBefore(i, next int) bool {
	e, later := f.events[i], f.events[next].channel
	return e.kind == "gap" && (e.channel == "" && !isDurable(later) && !f.resumed(i, later) || f.counting(i))
}

func (f liveFacts) endNeeded(i int) bool {
	for _, e := range f.events[i+1:] {
		if e.kind != "heartbeat" && e.kind != "ping" {
			return false
		}
	}
	switch e := f.events[i]; e.kind {
	case "heartbeat", "ping":
		return false
	case "gap": // if nothing precedes it, the client may have joined after a gap that was sent to all
		return f.isMessage(i-1) && !isDurable(f.events[i-1].channel) && !f.resumed(i, f.events[i-1].channel)
	}
	return true
}

func (f liveFacts) falseGap(i int) *event {
	e, next := f.events[i], f.following(i)
	if next < 0 || !f.isMessage(i) || !f.isMessage(next) || slices.ContainsFunc(f.log[e.number:f.events[next].number], func(l entry) bool {
		return l.channel == e.channel && l.kind == entryOversize
	}) {
		return nil
	}
	return &event{kind: "gap", channel: e.channel, reason: "too_large"}
}

func (f liveFacts) sent(i int) *event {
	for k, e := range f.log {
		if e.kind == entryMessage && e.channel == f.events[i].channel {
			return new(messageOf(f.log, k+1))
		}
	}
	return nil
}

// mutants returns those that apply to live channels only.
func (f liveFacts) mutants(s *subject) []mutant {
	return []mutant{s.insert("reports an outage twice", func(i int) *event {
		if e := f.events[i]; e.kind != "gap" || e.channel != "" {
			return nil
		}
		return &f.events[i]
	})}
}
