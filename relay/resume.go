package relay

import (
	"context"
	"time"

	"sidecast/relay/history"
	"sidecast/relay/protocol"
	"sidecast/relay/stats"
)

// catchUpTimeout is longer than the link needs to detect that it is broken,
// which also ends the wait.
const catchUpTimeout = 30 * time.Second

// resume answers a subscribe and makes sub live: with the messages after the
// place that the client names, if all of them are held, or from the newest
// message on. If the code is not CodeOK, there was no answer.
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
		// The client's previous relay may have been ahead of this one. After
		// catching up, this relay has the same messages. A gap before that
		// would be followed by messages that the client has.
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

// catchUp waits until the hub has received everything that Redis published
// before, and reports whether it has.
func (h *Hub) catchUp(s *Session) bool {
	h.mu.Lock()
	offline := h.offline
	h.mu.Unlock()
	if offline || h.cfg.CatchUp == nil {
		return !offline
	}
	defer s.block()()
	ctx, cancel := context.WithTimeout(context.Background(), catchUpTimeout)
	defer cancel()
	return h.cfg.CatchUp(ctx) == nil
}

// A deferredSubscribe makes a subscription live whose client resumed while
// there was no link to Redis. The client may have received the first messages
// of the next link from another relay already. So the subscription waits until
// that link has caught up, and gets a gap in the same step.
type deferredSubscribe struct {
	hub *Hub
	sub *Subscription
}

// answer answers the command, and leaves the rest to the session's replay
// queue.
func (d *deferredSubscribe) answer(ref []byte) {
	s := d.sub.session
	s.send(protocol.Event{Type: protocol.EventSubscribed, Ref: ref, Channel: d.sub.channel.Name(), Cursor: d.hub.unknownCursor()})
	s.enqueueReplay(d)
}

// step implements [task].
func (d *deferredSubscribe) step(ctx context.Context) stepResult {
	if !d.hub.caughtUp(ctx) {
		return stepWait
	}
	(&replay{hub: d.hub, sub: d.sub}).giveUp(protocol.GapRedis)
	return stepDone
}

// caughtUp reports whether there is a link that has caught up. If there is a
// link, it waits for that.
func (h *Hub) caughtUp(ctx context.Context) bool {
	h.lockSequenced()
	offline := h.online != nil
	h.mu.Unlock()
	return !offline && (h.cfg.CatchUp == nil || h.cfg.CatchUp(ctx) == nil)
}

// unknownCursor returns a cursor that no relay knows, so that no client can
// resume from it; nothing if the history is off.
func (h *Hub) unknownCursor() []byte {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.history.UnknownCursor()
}
