package relay

import (
	"context"

	"sidecast/relay/protocol"
)

// A late join makes a subscription live whose client came back while there was no link to Redis. The client may have heard,
// at another relay, what the next link brings first: a link begins in Redis, and what it brings comes later. So the
// subscription waits until that link has caught up, and is told of a gap in the same step.
type deferredSubscribe struct {
	hub *Hub
	sub *Subscription
}

// join answers the command, and leaves the rest to the session's replays.
func (l *deferredSubscribe) answer(ref []byte) {
	s := l.sub.session
	s.send(protocol.Event{Type: protocol.EventSubscribed, Ref: ref, Channel: l.sub.channel.Name(), Cursor: l.hub.unknownCursor()})
	s.enqueueReplay(l)
}

// step implements [stepper].
func (l *deferredSubscribe) step(ctx context.Context) stepResult {
	if !l.hub.caughtUp(ctx) {
		return stepWait
	}
	(&replay{hub: l.hub, sub: l.sub}).giveUp(protocol.GapRedis)
	return stepDone
}

// linked reports whether there is a link that has caught up. It waits for the latter only.
func (h *Hub) caughtUp(ctx context.Context) bool {
	h.lockSequenced()
	away := h.online != nil
	h.mu.Unlock()
	return !away && (h.cfg.CatchUp == nil || h.cfg.CatchUp(ctx) == nil)
}

// nowhere returns the cursor of a place that no relay knows, and nobody can come back to; nothing where there are no cursors.
func (h *Hub) unknownCursor() []byte {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.history.UnknownCursor()
}
