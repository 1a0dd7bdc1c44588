package relay

import (
	"context"
	"time"

	"sidecast/relay/history"
	"sidecast/relay/protocol"
	"sidecast/relay/stats"
)

// catchUpTimeout is longer than the link takes to find out that it is broken, which ends the wait.
const catchUpTimeout = 30 * time.Second

// resume makes sub hear its channel, beginning behind the place that the client names: with what it missed, if that is all
// held, or with what comes next. The answer says which; with another code than CodeOK there was none.
func (h *Hub) resume(sub *Subscription, ref []byte, request protocol.ChannelRequest) protocol.Code {
	if h.isDurable(sub.channel.Name()) {
		return h.resumeDurable(sub, ref, request)
	}
	r := &replay{hub: h, sub: sub, ref: ref}
	after, named := history.ParseCursor(request.After)
	at, pinged := history.ParseCursor(request.At)
	if !named && !pinged {
		if request.After != "" || request.At != "" {
			h.cfg.Stats.Resumes[stats.ResumeGap].Add(1)
		}
		r.startFresh()
		return protocol.CodeOK
	}
	held := r.locate(after, named, at, pinged)
	if !held {
		// The relay where the client was may have been ahead of this one: what that knew has come once this one has caught
		// up. And a gap before that would begin anew with messages that the client has had.
		if !h.catchUp(sub.session) {
			h.cfg.Stats.Resumes[stats.ResumeGap].Add(1)
			(&deferredSubscribe{hub: h, sub: sub}).answer(ref)
			return protocol.CodeOK
		}
		held = r.locate(after, named, at, pinged)
	}
	if !held {
		h.cfg.Stats.Resumes[stats.ResumeGap].Add(1)
		r.startFresh()
		return protocol.CodeOK
	}
	h.cfg.Stats.Resumes[stats.ResumeRecovered].Add(1)
	r.run()
	return protocol.CodeOK
}

// catchUp waits until everything that Redis had published before was taken in, and reports whether it was.
func (h *Hub) catchUp(s *Session) bool {
	h.mu.Lock()
	away := h.offline
	h.mu.Unlock()
	if away || h.cfg.CatchUp == nil {
		return !away
	}
	defer s.block()()
	ctx, cancel := context.WithTimeout(context.Background(), catchUpTimeout)
	defer cancel()
	return h.cfg.CatchUp(ctx) == nil
}

// findSteps is how many messages are passed at once, while everything else waits.
const searchSteps = 4096

// find looks for the later of the two places that the client names, goes back to it from the newest message, and reports
// whether everything that follows it is held.
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
		return p.Index == 0 // a mark, and nothing was said since; else what is not known here, or not yet
	}
	return r.search(p)
}

// walk goes back to p, which is not beyond the newest message. The hub is locked, but now and then for a moment not.
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

// isBehind reports whether p is the place behind last, which is the last message that is not beyond it: that message, or a
// mark behind it. If not, other messages were heard here.
func follows(p, last history.Point) bool { return p.Index == 0 || p == last }

// fresh begins with what comes next, and says so.
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

// lost gives up a replay that has begun: what the client is to hear next was let go of, or is not all there is.
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
	r.hub.cfg.Stats.Gaps[reason].Add(1)
	s.send(protocol.Event{Type: protocol.EventGap, Channel: r.sub.channel.Name(), Reason: reason, Cursor: now})
}
