package relay

import (
	"sidecast/relay/history"
	"sidecast/relay/protocol"
)

// searchSteps is how many messages a search passes while it holds the hub's
// lock.
const searchSteps = 4096

// locate resolves the later of the two places that the client names, searches
// for it from the newest message backwards, and reports whether everything that
// follows it is held.
func (r *replay) locate(after history.Cursor, named bool, at history.Cursor, pinged bool) bool {
	h := r.hub.history
	r.hub.lockSequenced()
	defer r.hub.mu.Unlock()
	p, known := history.Point{}, false
	for _, c := range []struct {
		history.Cursor
		named bool
	}{{after, named}, {at, pinged}} {
		if q, ok := h.Resolve(c.Cursor); c.named && ok && (!known || p.Before(q)) {
			p, known = q, true
		}
	}
	ch := r.sub.channel
	if !known || r.hub.offline || p.Before(ch.Floor()) {
		return false
	}
	r.epoch, r.from, r.last = h.Epoch(), p, ch.Newest()
	r.cursor = h.AppendCursor(nil, p)
	if ch.At().Before(p) {
		return p.Index == 0 // a marker without later messages; otherwise messages that this relay has not received
	}
	return r.search(p)
}

// search searches for p, which is not after the newest message. The hub is
// locked, except for moments between steps.
func (r *replay) search(p history.Point) bool {
	h, ch := r.hub.history, r.sub.channel
	offset := ch.Newest()
	for steps := 1; offset != 0; steps++ {
		e := h.Entry(offset)
		if !p.Before(e.Point) {
			r.last = offset
			return follows(p, e.Point)
		}
		if e.Empty {
			return false
		}
		offset = h.Previous(offset, e)
		if steps%searchSteps == 0 && offset != 0 {
			r.hub.mu.Unlock()
			r.hub.lockSequenced()
			if h.Epoch() != r.epoch || !h.Holds(offset) {
				return false
			}
		}
	}
	r.last = 0
	return follows(p, ch.Floor())
}

// follows reports whether p is the place after last, which is the newest
// message that is not after p: the place is that message itself, or a marker
// after it. If not, this relay received other messages than the client.
func follows(p, last history.Point) bool { return p.Index == 0 || p == last }

// startFresh answers the command and makes the subscription live from the
// newest message on.
func (r *replay) startFresh() {
	s := r.sub.session
	s.shard.mu.Lock()
	defer s.shard.mu.Unlock()
	r.hub.lockSequenced()
	now := r.hub.history.AppendCursor(nil, r.hub.history.Now(r.sub.channel))
	r.hub.joinLive(r.sub)
	r.hub.mu.Unlock()
	s.send(protocol.Event{Type: protocol.EventSubscribed, Ref: r.ref, Channel: r.sub.channel.Name(), Cursor: now})
}

// giveUp ends a replay that has begun with a gap, and makes the subscription
// live: some of the messages that were to be sent next are missing.
func (r *replay) giveUp(reason protocol.GapReason) {
	s := r.sub.session
	s.shard.mu.Lock()
	defer s.shard.mu.Unlock()
	if r.sub.state == subscriptionRemoved {
		return
	}
	r.hub.lockSequenced()
	now := r.hub.history.AppendCursor(nil, r.hub.history.Now(r.sub.channel))
	r.hub.joinLive(r.sub)
	r.hub.mu.Unlock()
	s.forgetEchoes(r.sub.channel.Name())
	r.hub.cfg.Stats.Gaps[reason].Add(1)
	s.send(protocol.Event{Type: protocol.EventGap, Channel: r.sub.channel.Name(), Reason: reason, Cursor: now})
}
