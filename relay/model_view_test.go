package relay_test

import (
	"fmt"
	"maps"
	"slices"

	"sidecast/relay/protocol"
)

// A view is how far one client is in the log.
type view struct {
	log  []entry
	life *life

	place    int   // of the last entry seen
	outages  []int // places of what is still to be told to everybody
	commands []answer
	joined   map[string]*place
	known    map[string]*place // channels that the client has left, and what it has heard on them
}

// An answer is one that is still to come.
type answer struct {
	kind, channel  string
	resumed        bool
	ref            int
	before, behind int
}

// A place is where a client is in one channel.
type place struct {
	before, behind int   // the first entry for it lies behind before, and at or before the first behind behind
	rest           []int // entries of the channel behind before that it has not seen
	begun          bool  // it has seen one: now none may be missing
	gaps           int   // gaps seen before the first message: which they were is not known yet
	again          bool  // the client came back to it: what it missed comes late, beside what is new elsewhere
	late           bool  // the client came back to it, and was told that messages may be missing
	loose          bool  // any may be missing before the next: it was told so
}

// newView is a client that was welcomed by somebody who knew the outages up to known.
func newView(log []entry, l *life, known int) *view {
	v := &view{log: log, life: l, joined: make(map[string]*place), known: make(map[string]*place)}
	for channel, p := range l.known {
		v.known[channel] = new(*p)
	}
	for i, e := range log {
		if at := i + 1; at > known && (e.kind == entryOffline || e.kind == entryOnline) {
			v.outages = append(v.outages, at)
		}
	}
	for ref, c := range l.commands {
		for i, channel := range c.channels {
			a := answer{kind: c.kind, channel: channel, ref: ref + 1, before: c.before, behind: c.behind}
			a.resumed = i < len(c.resumed) && c.resumed[i]
			if l.protocol == protocol.RawID {
				v.join(a)
			} else {
				v.commands = append(v.commands, a)
			}
		}
	}
	return v
}

// join makes the client hear a channel. Joining again changes nothing.
func (v *view) join(a answer) {
	if v.joined[a.channel] != nil {
		return
	}
	p := &place{before: a.before, behind: a.behind}
	for i, e := range v.log[a.before:] {
		message := e.kind == entryMessage || (e.kind == entryOversize || e.kind == entryMissed) && v.life.protocol == protocol.V1ID
		if message && e.channel == a.channel {
			p.rest = append(p.rest, a.before+i+1)
		}
	}
	v.joined[a.channel] = p
}

// checkAll checks what the client heard, one by one, and that nothing is missing where it has to have heard everything.
func (v *view) checkAll(list []heard) error {
	for i := range list {
		if err := v.hear(&list[i]); err != nil {
			return fmt.Errorf("frame %d, %s %s %d: %w", i, list[i].kind, list[i].channel, list[i].place, err)
		}
	}
	if v.life.end != endAlive {
		return nil
	}
	if len(v.commands) > 0 {
		return fmt.Errorf("command %d was not answered", v.commands[0].ref)
	}
	if v.life.protocol == protocol.V1ID && len(v.outages) > 0 {
		return fmt.Errorf("the outage at %d was not told", v.outages[0])
	}
	for channel, p := range v.joined {
		if err := v.complete(p); err != nil {
			return fmt.Errorf("%s: %w", channel, err)
		}
	}
	return nil
}

func (v *view) hear(h *heard) error {
	switch h.kind {
	case "message":
		return v.message(h)
	case "gap":
		if h.channel != "" {
			return v.gap(h)
		}
		return v.outage(entryOnline, h)
	case "offline":
		return v.outage(entryOffline, h)
	case "heartbeat", "ping":
		return nil
	case "subscribed", "unsubscribed", "pong":
		return v.answer(h)
	}
	return fmt.Errorf("not in the model: %.80q", h.payload)
}

func (v *view) message(h *heard) error {
	if h.place < 1 || h.place > len(v.log) {
		return fmt.Errorf("there is no entry %d", h.place)
	}
	e := v.log[h.place-1]
	if v.life.protocol == protocol.RawID {
		h.channel = e.channel
	}
	switch p := v.joined[h.channel]; {
	case e.kind != entryMessage || e.channel != h.channel || e.payload != string(h.payload):
		return fmt.Errorf("got %.60q, published was %.60q on %s", h.payload, e.payload, e.channel)
	case p == nil:
		return fmt.Errorf("the client does not listen to %s", h.channel)
	case h.place <= v.place && !p.again:
		return fmt.Errorf("came after %d", v.place)
	case v.life.end == endLeft && h.place > v.life.endedBy:
		return fmt.Errorf("was published after the client had left, at %d", v.life.endedBy)
	case p.again:
		return p.advance(v.log, h.place)
	case v.life.protocol == protocol.V1ID && len(v.outages) > 0 && v.outages[0] < h.place:
		return fmt.Errorf("before the client was told of the outage at %d", v.outages[0])
	default:
		v.place = h.place
		return p.advance(v.log, h.place)
	}
}

// advance goes on to the entry at, which was seen.
func (p *place) advance(log []entry, at int) error {
	k := slices.Index(p.rest, at)
	if k < 0 {
		return fmt.Errorf("was published before %d, when the client asked", p.before)
	}
	skipped := p.rest[:k]
	p.rest = p.rest[k+1:]
	if p.loose {
		p.loose, p.begun = false, true
		return nil
	}
	if !p.begun {
		p.begun = true
		return p.unknown(log, skipped)
	}
	if len(skipped) > 0 {
		return fmt.Errorf("%d is missing before it", skipped[0])
	}
	return nil
}

// unknown judges what lies before the first message that was seen: the gaps seen are the last of it, and what came before
// them came before the client was in.
func (p *place) unknown(log []entry, skipped []int) error {
	if p.gaps > len(skipped) {
		return fmt.Errorf("%d gaps before it, of %d that there may be", p.gaps, len(skipped))
	}
	missed, gaps := skipped[:len(skipped)-p.gaps], skipped[len(skipped)-p.gaps:]
	for _, at := range gaps {
		if log[at-1].kind != entryOversize {
			return fmt.Errorf("a gap in place of %d", at)
		}
	}
	if len(missed) > 0 && missed[len(missed)-1] > p.behind {
		return fmt.Errorf("%d is missing before it; the client was in at %d", missed[len(missed)-1], p.behind)
	}
	return nil
}

func (v *view) gap(h *heard) error {
	p := v.joined[h.channel]
	switch {
	case p == nil:
		return fmt.Errorf("the client does not listen to %s", h.channel)
	case p.again && (h.reason == "history" || h.reason == "redis"), p.late && h.reason == "redis":
		p.loose = true // what it came back for was let go of meanwhile, or it came while there was no link
		return nil
	case h.reason != "too_large":
		return fmt.Errorf("reason %q", h.reason)
	case p.loose:
		return nil
	case !p.begun:
		p.gaps++
		return nil
	case len(p.rest) == 0 || v.log[p.rest[0]-1].kind != entryOversize:
		return fmt.Errorf("without a cause")
	case p.rest[0] <= v.place && !p.again:
		return fmt.Errorf("of %d after %d", p.rest[0], v.place)
	}
	v.place, p.rest = max(v.place, p.rest[0]), p.rest[1:]
	return nil
}

func (v *view) outage(kind entryKind, h *heard) error {
	if len(v.outages) == 0 || v.log[v.outages[0]-1].kind != kind {
		return fmt.Errorf("without a cause")
	}
	if h.reason != "redis" {
		return fmt.Errorf("reason %q", h.reason)
	}
	if v.outages[0] <= v.place {
		return fmt.Errorf("of %d after %d", v.outages[0], v.place)
	}
	v.place, v.outages = v.outages[0], v.outages[1:]
	if kind == entryOnline {
		for _, p := range v.joined {
			p.excuse(v.log, v.place)
		}
	}
	return nil
}

func (v *view) answer(h *heard) error {
	if len(v.commands) == 0 {
		return fmt.Errorf("an answer to nothing")
	}
	a := v.commands[0]
	if a.kind != h.kind || a.channel != h.channel || a.ref != h.ref {
		return fmt.Errorf("answers ref %d; the next is %s %s, ref %d", h.ref, a.kind, a.channel, a.ref)
	}
	v.commands = v.commands[1:]
	switch h.kind {
	case "subscribed":
		return v.subscribed(a, h)
	case "unsubscribed":
		v.known[a.channel] = v.joined[a.channel]
		delete(v.joined, a.channel)
	}
	return nil
}

// subscribed makes the client hear a channel: from where it was, or from now on.
func (v *view) subscribed(a answer, h *heard) error {
	before := v.known[a.channel]
	switch {
	case v.joined[a.channel] != nil:
		return nil
	case h.recovered && (!a.resumed || before == nil):
		return fmt.Errorf("recovered what nobody had")
	case h.recovered:
		before.again = true
		v.joined[a.channel] = before
	case a.resumed && before != nil && v.life.perfect && slices.ContainsFunc(v.log[:before.before], func(e entry) bool { return e.kind == entryOnline }):
		return fmt.Errorf("a gap where everything was held")
	default:
		v.join(a)
		v.joined[a.channel].late = a.resumed
	}
	return nil
}

// excuse takes what was not heard before an outage ended, of which the client was told.
func (p *place) excuse(log []entry, online int) {
	p.rest = slices.DeleteFunc(slices.Clone(p.rest), func(at int) bool { return at < online && log[at-1].kind == entryMissed })
}

// left returns what is known of each channel when the life is over.
func (v *view) left() map[string]*place {
	maps.Copy(v.known, v.joined)
	return v.known
}

// complete checks that a client that lived to the end is not missing the end.
func (v *view) complete(p *place) error {
	if p.loose {
		return nil
	}
	if !p.begun {
		return p.unknown(v.log, p.rest)
	}
	if len(p.rest) > 0 {
		return fmt.Errorf("%d is missing at the end", p.rest[0])
	}
	return nil
}
