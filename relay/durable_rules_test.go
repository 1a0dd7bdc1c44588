package relay_test

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"sidecast/relay/protocol"
	"sidecast/relay/stream"
)

// durableRules are those of durable channels. They compare a story with what
// was in the streams, and when.
type durableRules struct {
	*story
	store  *store
	spots  map[string]*spot
	counts map[string]int // of what happened
}

// A spot is where a client is in a stream.
type spot struct {
	record  *record // the last that it has; nil: there was no stream, or nothing is known
	owes    *record // the client has everything before this one
	blank   bool    // no entry was left: the stream was empty, and this was its last id
	floor   int     // the highest number that it ever had
	id      stream.ID
	foreign bool // its cursor is of another channel, or was never there, or it named an id
	unsaid  bool // its subscribe was not recovered: the gap must follow
	hole    bool // after a gap: it gets every entry with a higher id that still exists
	pending bool // it got no cursor: it must get a gap before anything else
	unknown bool // raw: it never got a cursor
}

func newDurableRules(c *actorClient, s *story) *durableRules {
	return &durableRules{story: s, store: c.relay.world.store, spots: map[string]*spot{}, counts: c.relay.world.counts}
}

func (r *durableRules) subscribe(a answer) { r.spots[a.channel] = &spot{unknown: true} }

func (r *durableRules) answered(a answer, e *event) error {
	switch {
	case e.kind == "error" && a.kind == "subscribed":
		r.counts["unavailable"]++
	case e.kind == "unsubscribed":
		delete(r.spots, e.channel)
	case e.kind == "subscribed":
		return r.subscribed(e, a)
	}
	return nil
}

func (r *durableRules) subscribed(e *event, a answer) error {
	after := a.after
	switch {
	case a.last > 0:
		r.counts["durable last"]++
	case a.since != "" && !e.recovered:
		return r.sinceNotRecovered(e, a)
	case a.since != "":
		after = e.cursor
		if c, ok := stream.ParseCursor(e.cursor); !ok || c.ID.String() != a.since {
			return fmt.Errorf("recovered at %v", c)
		}
		r.counts["since recovered"]++
	}
	was, _ := r.find(e.channel, after, e.moment)
	if e.recovered && was == nil {
		was = r.findDeleted(e, after)
	}
	now, err := r.find(e.channel, e.cursor, e.moment)
	switch {
	case e.recovered && (after == "" || e.cursor != after || was == nil):
		return fmt.Errorf("recovered at %q what the client never had, after %q", e.cursor, after)
	case e.recovered:
		r.spots[e.channel] = was
		r.counts["recovered"]++
		return nil
	case after != "" && e.cursor == after:
		if was == nil { // the cursor of another channel
			was = &spot{id: idOf(after), foreign: true}
		}
		was.unsaid = true
		r.spots[e.channel] = was
		r.counts["not recovered"]++
		return nil
	case e.cursor == "":
		r.spots[e.channel] = &spot{pending: true}
		r.counts["begun without a cursor"]++
		return nil
	case err != nil:
		return err
	}
	r.spots[e.channel] = now
	r.counts["begun"]++
	return nil
}

// sinceNotRecovered makes a client continue after an id of which the relay
// found no entry. It may have looked at any time from the request to the answer.
// So an entry that was added in between is new to the client, and its application
// has read at most the entries that existed when the client asked.
func (r *durableRules) sinceNotRecovered(e *event, a answer) error {
	id, _ := stream.ParseID(a.since)
	spot := &spot{id: id, foreign: true, unsaid: true}
	for _, rec := range r.store.log {
		switch {
		case rec.channel != e.channel || rec.entry.ID != id || rec.added > a.asked:
		case !rec.removedBy(e.moment):
			return fmt.Errorf("record %d still exists", rec.number)
		default:
			spot.floor = rec.number
		}
	}
	if text := (stream.Cursor{ID: id}).Text(); e.cursor != string(text) {
		return fmt.Errorf("not recovered, with a cursor other than %s", text)
	}
	r.counts["since not recovered"]++
	r.counts["not recovered"]++
	r.spots[e.channel] = spot
	return nil
}

// idOf returns the id of a client with a cursor.
func idOf(cursor string) stream.ID {
	if c, ok := stream.ParseBefore(cursor); ok {
		return previousID(c.ID)
	}
	c, _ := stream.ParseCursor(cursor)
	return c.ID
}

// previousID returns the highest id before one.
func previousID(id stream.ID) stream.ID {
	if id.Seq > 0 {
		return stream.ID{Ms: id.Ms, Seq: id.Seq - 1}
	}
	return stream.ID{Ms: id.Ms - 1, Seq: math.MaxUint64}
}

// findDeleted returns the spot of a cursor of another channel, if the last entry
// of this one had the same id and was deleted: Redis does not know more of it.
func (r *durableRules) findDeleted(e *event, cursor string) *spot {
	c, _ := stream.ParseCursor(cursor)
	for _, rec := range slices.Backward(r.store.log) {
		if rec.channel == e.channel && rec.added <= e.moment && rec.removedBy(e.moment) && rec.entry.ID == c.ID {
			return &spot{record: rec, blank: true, floor: rec.number, id: rec.entry.ID}
		}
	}
	return nil
}

// find returns the spot that a cursor names at some moment. If there never was
// one, it returns an error. A cursor without a check names an empty stream: the
// entry with its id was the last one.
func (r *durableRules) find(channel, cursor string, moment int64) (*spot, error) {
	c, ok := stream.ParseCursor(cursor)
	if before, yes := stream.ParseBefore(cursor); yes {
		return r.findBefore(channel, before, moment)
	}
	if !ok {
		return nil, fmt.Errorf("%q is no cursor", cursor)
	}
	if c == (stream.Cursor{}) {
		return &spot{}, nil
	}
	for _, rec := range slices.Backward(r.store.log) {
		if rec.channel == channel && rec.added <= moment && rec.entry.ID == c.ID && (rec.entry.Check == c.Check || c.Check == 0 && rec.wasDeleted(moment)) {
			return &spot{record: rec, blank: c.Check == 0, floor: rec.number, id: rec.entry.ID}, nil
		}
	}
	return nil, fmt.Errorf("nothing was ever at %v", c)
}

// findBefore returns the spot before an entry.
func (r *durableRules) findBefore(channel string, c stream.Cursor, moment int64) (*spot, error) {
	for _, rec := range slices.Backward(r.store.log) {
		if rec.channel == channel && rec.added <= moment && rec.entry.Cursor == c {
			return &spot{owes: rec, floor: rec.number - 1, id: previousID(c.ID)}, nil
		}
	}
	return nil, fmt.Errorf("nothing was ever before %v", c)
}

func (r *durableRules) message(e *event) error {
	rec := r.store.byPayload[string(e.payload)]
	if rec == nil {
		return errors.New("was never added")
	}
	cursor, _ := rec.entry.AppendText(nil)
	if r.protocol == protocol.RawID {
		e.channel, e.cursor = rec.channel, string(cursor)
	}
	switch p := r.spots[e.channel]; {
	case p == nil:
		return errNotSubscribed
	case rec.channel != e.channel:
		return fmt.Errorf("was added to %s", rec.channel)
	case string(cursor) != e.cursor:
		return fmt.Errorf("has the cursor %s", cursor)
	default:
		r.counts["messages"]++
		return r.advance(e, p, rec)
	}
}

// advance continues after a record that was received.
func (r *durableRules) advance(e *event, p *spot, rec *record) error {
	switch {
	case p.pending, p.unsaid:
		return errors.New("before the client got its gap")
	case rec.number <= p.floor:
		return fmt.Errorf("record %d, after %d", rec.number, p.floor)
	case rec.added > e.moment:
		return errors.New("was not added yet")
	}
	was := *p
	*p = spot{record: rec, floor: rec.number, id: rec.entry.ID}
	if was.unknown {
		return nil
	}
	if left := r.survivor(&was, rec.number, e.moment); left != nil {
		return fmt.Errorf("record %d still exists, and was skipped, after %v", left.number, was.id)
	}
	if was.hole {
		return nil
	}
	if lost := r.missing(&was, rec, e.moment); lost != nil && !r.silent(&was, rec, e.moment) {
		return fmt.Errorf("record %d is missing before it, after %d, without a gap", lost.number, was.floor)
	}
	return nil
}

// survivor returns a record between a spot and a number that the client must
// receive, whatever happened to the others, or nil. Entries that are not sent to
// it move the relay's place as well.
func (r *durableRules) survivor(p *spot, number int, moment int64) *record {
	next, id := r.store.log[number-1], p.id
	for _, rec := range r.store.log[p.floor : number-1] {
		switch {
		case rec.channel != next.channel || rec.entry.ID.Compare(id) <= 0:
		case rec.entry.TooLarge || rec.by == r.id:
			id = rec.entry.ID
		case !rec.removedBy(moment) && !r.usedAgain(rec):
			return rec
		}
	}
	return nil
}

// usedAgain reports whether an earlier record had the same id: if the relay's
// place is after that, it cannot tell whether clients have received it.
func (r *durableRules) usedAgain(rec *record) bool {
	return slices.ContainsFunc(r.store.log[:rec.number-1], func(other *record) bool {
		return other.channel == rec.channel && other.entry.ID == rec.entry.ID
	})
}

// missing returns a record that a client misses between a spot and the record
// that it received next, or nil.
func (r *durableRules) missing(p *spot, next *record, moment int64) *record {
	if p.record != nil && p.record.generation != next.generation {
		return next
	}
	if p.record != nil && p.record.removedBy(next.added-1) && p.record.removal == removalFailover {
		return next
	}
	for _, rec := range r.store.log[p.floor : next.number-1] {
		if rec.channel == next.channel && !r.excused(p, rec, next, moment) {
			return rec
		}
	}
	return nil
}

// excused reports whether a client need not receive a record between p and
// next.
func (r *durableRules) excused(p *spot, rec, next *record, moment int64) bool {
	removed := rec.removedBy(moment)
	switch {
	case rec.by == r.id: // its own
		return true
	case removed && (rec.removal == removalDelete || rec.removal == removalFailover):
		return true
	case rec.generation != next.generation: // if p knew no stream, earlier streams do not matter
		return p.record == nil && p.owes == nil && rec.generation < next.generation
	case removed && p.record == nil && p.owes == nil && r.store.old: // the server does not count what was added
		return true
	}
	return false
}

// silent reports whether a client may be missing something without a gap,
// because its protocol has no gaps.
func (r *durableRules) silent(p *spot, next *record, moment int64) bool {
	if r.protocol != protocol.RawID || r.gapClose {
		return false
	}
	return r.cause(p, next.channel, moment) || slices.ContainsFunc(r.store.log[p.floor:next.number], func(rec *record) bool {
		return rec.channel == next.channel && (rec.entry.TooLarge || rec.removedBy(moment))
	})
}

func (r *durableRules) gap(e *event) error {
	p := r.spots[e.channel]
	if p == nil {
		return errNotSubscribed
	}
	if e.cursor == "" {
		return r.openHole(e, p)
	}
	now, err := r.find(e.channel, e.cursor, e.moment)
	if err != nil {
		return err
	}
	r.counts["gap "+e.reason]++
	switch {
	case e.reason == "too_large":
		if now.record == nil || !now.record.entry.TooLarge {
			return errors.New("no entry there is too large")
		}
		return r.advance(e, p, now.record)
	case (e.reason == "redis") != p.pending:
		return fmt.Errorf("this reason, and the client had a cursor: %v", !p.pending)
	case e.reason != "trimmed" && e.reason != "reset" && e.reason != "redis":
		return errors.New("a gap for this reason")
	}
	r.spots[e.channel] = now
	if p.pending {
		return nil
	}
	return r.jump(e, p, now)
}

// openHole checks a gap that is followed by entries that still exist, or by a
// place that the client is not told.
func (r *durableRules) openHole(e *event, p *spot) error {
	r.counts["gap "+e.reason]++
	if e.reason != "trimmed" && e.reason != "reset" || p.pending {
		return errors.New("a gap for this reason")
	}
	if p.id.IsZero() || p.foreign || r.cause(p, e.channel, e.moment) {
		p.hole, p.unsaid = true, false
		return nil
	}
	return fmt.Errorf("a gap without a cause, at %d", p.floor)
}

// jump checks a gap between two spots.
func (r *durableRules) jump(e *event, was, now *spot) error {
	if !was.foreign && !was.id.IsZero() && !r.cause(was, e.channel, e.moment) {
		return fmt.Errorf("a gap without a cause, at %d", was.floor)
	}
	for _, rec := range r.store.log[min(now.floor, was.floor):was.floor] {
		if rec.channel == e.channel && rec.removed == 0 && now.record != nil {
			return fmt.Errorf("goes back to %d, from %d", now.floor, was.floor)
		}
	}
	now.floor = max(now.floor, was.floor)
	restored := slices.ContainsFunc(r.store.log[was.floor:now.floor], func(rec *record) bool { // what exists now may not have existed then
		return rec.channel == e.channel && rec.removal == removalFailover && rec.removed > 0
	})
	if now.floor > was.floor && !restored {
		if left := r.survivor(was, now.floor, math.MaxInt64); left != nil {
			return fmt.Errorf("record %d was skipped by a gap, after %v", left.number, was.id)
		}
	}
	return nil
}

// cause reports whether there is a reason to doubt what follows a spot: its own
// entry does not exist any more.
func (r *durableRules) cause(p *spot, channel string, moment int64) bool {
	if p.owes != nil {
		return p.owes.removedBy(moment)
	}
	if p.record == nil || p.blank {
		return r.store.old && p.record == nil || slices.ContainsFunc(r.store.log, func(rec *record) bool {
			return rec.channel == channel && (p.blank && rec.added <= moment && rec.number > p.floor || rec.removedBy(moment))
		})
	}
	if p.record.removedBy(moment) {
		return true
	}
	for _, rec := range r.store.log[p.floor:] { // entries that the client published itself count as received
		switch removed := rec.removedBy(moment); {
		case rec.channel != channel:
		case rec.by == r.id && removed:
			return true
		case rec.by != r.id && !removed:
			return false
		}
	}
	return false
}

func (r *durableRules) complete() error {
	for channel, p := range r.spots {
		r.failed = channel
		if p.pending || p.unsaid {
			return fmt.Errorf("%s: the client never got its gap", channel)
		}
		for _, rec := range r.store.log[p.floor:] {
			unsaid := rec.entry.TooLarge && r.protocol == protocol.RawID && !r.gapClose
			lower := p.hole && rec.entry.ID.Compare(p.id) <= 0
			if rec.channel == channel && rec.removed == 0 && rec.by != r.id && !unsaid && !lower {
				return fmt.Errorf("%s: record %d is missing at the end, after %d", channel, rec.number, p.floor)
			}
		}
	}
	return nil
}
