package relay_test

import (
	"errors"
	"fmt"

	"sidecast/relay/protocol"
)

// recordOf returns what was added with this payload.
func (v *vault) recordOf(payload []byte) *record { return v.said[string(payload)] }

// advance goes on to a record that was heard.
func (a *audit) advance(h *dated, p *spot, r *record) error {
	switch {
	case p.owed:
		return errors.New("before the client was told of a gap")
	case r.number <= p.floor:
		return fmt.Errorf("record %d comes after %d", r.number, p.floor)
	case r.added > h.moment:
		return errors.New("was not added yet")
	}
	was := *p
	*p = spot{record: r, floor: r.number}
	if was.unsure {
		return nil
	}
	if lost := a.between(&was, r, h.moment); lost != nil && !a.mute(&was, r, h.moment) {
		return fmt.Errorf("record %d is missing before it, behind %d, and no word of it", lost.number, was.floor)
	}
	return nil
}

// between returns a record that a client misses between a place and what it has heard next, or nil.
func (a *audit) between(p *spot, next *record, moment int64) *record {
	if p.record != nil && p.record.line != next.line {
		return next
	}
	if p.record != nil && p.record.gone > 0 && p.record.fate == fateRolled && p.record.gone < next.added {
		return next
	}
	for _, r := range a.vault.log[p.floor : next.number-1] {
		if r.channel == next.channel && !a.excused(p, r, next, moment) {
			return r
		}
	}
	return nil
}

// excused reports whether nobody has to hear a record between p and next.
func (a *audit) excused(p *spot, r, next *record, moment int64) bool {
	gone := r.gone > 0 && r.gone <= moment
	switch {
	case r.by == a.story.id: // its own
		return true
	case gone && (r.fate == fateDeleted || r.fate == fateRolled):
		return true
	case r.line != next.line: // p knows of no stream: those that came and went are nothing to it
		return p.record == nil && r.line < next.line
	case gone && p.record == nil && a.vault.old: // no server told how many there were
		return true
	}
	return false
}

// mute reports whether a client that has no words for gaps may be missing something: it has been jumped.
func (a *audit) mute(p *spot, next *record, moment int64) bool {
	if a.story.protocol != protocol.RawID || a.story.gapClose {
		return false
	}
	if a.cause(p, next.channel, moment) {
		return true
	}
	for _, r := range a.vault.log[p.floor:next.number] {
		if r.channel == next.channel && (r.entry.TooLarge || r.gone > 0 && r.gone <= moment) {
			return true
		}
	}
	return false
}

func (a *audit) gap(h *dated) error {
	p := a.spots[h.channel]
	if p == nil {
		return errors.New("the client does not listen to it")
	}
	now, err := a.find(h.channel, h.cursor, h.moment)
	if err != nil {
		return err
	}
	a.counts["gap "+h.reason]++
	switch {
	case h.reason == "too_large":
		if now.record == nil || !now.record.entry.TooLarge {
			return errors.New("in place of nothing that is")
		}
		return a.advance(h, p, now.record)
	case (h.reason == "redis") != p.owed:
		return fmt.Errorf("reason %s, and a place was told: %v", h.reason, !p.owed)
	case h.reason != "trimmed" && h.reason != "reset" && h.reason != "redis":
		return fmt.Errorf("reason %s", h.reason)
	}
	a.spots[h.channel] = now
	if p.owed {
		return nil
	}
	return a.jump(h, p, now)
}

// jump judges that a client was told that something may be missing between two places.
func (a *audit) jump(h *dated, was, now *spot) error {
	if !a.cause(was, h.channel, h.moment) && !(h.kind == "gap" && a.beyond(was, h.channel, h.moment)) {
		return fmt.Errorf("a gap without a cause, at %d", was.floor)
	}
	for _, r := range a.vault.log[min(now.floor, was.floor):was.floor] {
		if r.channel == h.channel && r.gone == 0 && now.record != nil {
			return fmt.Errorf("goes back to %d, from %d", now.floor, was.floor)
		}
	}
	now.floor = max(now.floor, was.floor)
	if !a.missed(was, now, h) {
		a.counts["gap with nothing missed"]++
	}
	return nil
}

// cause reports whether there is a reason to doubt what follows a place: its own entry is not there any more.
func (a *audit) cause(p *spot, channel string, moment int64) bool {
	if p.record == nil || p.blank {
		if a.vault.old && p.record == nil {
			return true
		}
		for _, r := range a.vault.log {
			if r.channel == channel && (p.blank && r.added <= moment && r.number > p.floor || r.gone > 0 && r.gone <= moment) {
				return true
			}
		}
		return false
	}
	if p.record.gone > 0 && p.record.gone <= moment {
		return true
	}
	for _, r := range a.vault.log[p.floor:] { // what it published itself, it has without having heard it
		switch gone := r.gone > 0 && r.gone <= moment; {
		case r.channel != channel:
		case r.by == a.story.id && gone:
			return true
		case r.by != a.story.id && !gone:
			return false
		}
	}
	return false
}

// beyond reports whether the relay may have been at an entry behind the client's, which was deleted before it could be
// followed: whoever is live is jumped with it.
func (a *audit) beyond(p *spot, channel string, moment int64) bool {
	for _, r := range a.vault.log[p.floor:] {
		if r.channel == channel {
			return r.gone > 0 && r.gone <= moment
		}
	}
	return false
}

// missed reports whether anything was lost in a gap: an entry, or the stream itself.
func (a *audit) missed(was, now *spot, h *dated) bool {
	if was.record != nil && was.record.gone > 0 && was.record.fate >= fateReset {
		return true
	}
	for _, r := range a.vault.log[was.floor:max(now.floor, was.floor)] {
		if r.channel == h.channel && r.by != a.story.id && (r.gone == 0 || r.fate != fateDeleted) {
			return true
		}
	}
	return false
}

// finish checks that a client that lived to the end has everything.
func (a *audit) finish() error {
	if a.story.end != endAlive || a.closed {
		return nil
	}
	if len(a.open) > 0 {
		return fmt.Errorf("ref %d was not answered", a.refs[0])
	}
	for channel, p := range a.spots {
		if err := a.complete(channel, p); err != nil {
			a.story.where = channel
			return fmt.Errorf("%s: %w", channel, err)
		}
	}
	return nil
}

// complete checks that nothing that is there is behind where the client is.
func (a *audit) complete(channel string, p *spot) error {
	if p.owed {
		return errors.New("never told where it is")
	}
	for _, r := range a.vault.log[p.floor:] {
		unsaid := r.entry.TooLarge && a.story.protocol == protocol.RawID && !a.story.gapClose
		if r.channel == channel && r.gone == 0 && r.by != a.story.id && !unsaid {
			return fmt.Errorf("record %d is missing at the end, behind %d", r.number, p.floor)
		}
	}
	return nil
}
