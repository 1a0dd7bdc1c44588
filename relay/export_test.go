package relay

import (
	"runtime"

	"math"
	"testing/synctest"

	"sidecast/relay/protocol"
	"sidecast/relay/stream"
)

// StreamBytes returns how many bytes of durable channels are in the page cache.
func (h *Hub) StreamBytes() int64 {
	bytes, _, _ := h.messages.cache.Stats()
	h.messages.cache.Lock()
	defer h.messages.cache.Unlock()
	for _, p := range h.messages.index {
		bytes -= int64(p.charge())
	}
	return bytes
}

// ResumeWithPause subscribes to a durable channel and calls pause between
// finding the client's position and the next step of the resume. It must be
// called in a bubble.
func (s *Session) ResumeWithPause(channel, after string, pause func()) {
	s.shard.enter()
	sub := s.hub.addSubscription(s, channel, nil)
	s.shard.exit()
	s.subs = append(s.subs, sub)
	r := s.hub.newResume(sub, nil, protocol.ChannelRequest{Channel: channel, After: after})
	r.step(replayPage)
	synctest.Wait()
	pause()
	for r.step(replayPage) != stepDone {
		synctest.Wait()
	}
}

// LocateWithPause subscribes to channels that share a cursor, finds the message
// that anchor names, calls pause, and reports whether the places on all channels
// are found then. The session can only leave afterwards.
func (s *Session) LocateWithPause(requests []protocol.ChannelRequest, anchor Anchor, pause func()) bool {
	s.shard.enter()
	for _, request := range requests {
		s.subs = append(s.subs, s.hub.addSubscription(s, request.Channel, nil))
	}
	s.together = &together{s.subs}
	s.shard.exit()
	b := s.hub.newJointResume(s, true, requests, anchor).backlog.(*liveBacklog)
	at, epoch, ok := b.locateAnchor()
	pause()
	for i := range b.places {
		ok = ok && b.locateOn(&b.places[i], at, epoch)
	}
	return ok
}

// AwaitRead returns a channel that is closed when a resume that waits for a read
// of a durable channel is woken. The channel must have subscribers.
func (h *Hub) AwaitRead(channel string) (woken chan struct{}) {
	woken = make(chan struct{})
	position := stream.Position{Reader: h.streamReader([]byte(channel)), At: stream.Cursor{ID: stream.ID{Ms: math.MaxUint64}}}
	_, _, _, _ = position.Next(func() { close(woken) })
	return woken
}

// Scratch returns the memory in which a shard collects one client's frames.
func (h *Hub) Scratch(shard int) [][]byte {
	s := h.shards[shard]
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.frames[:cap(s.frames)]
}

// Waiting returns how many resumes wait for the link, or until the hub has
// caught up.
func (h *Hub) Waiting() int {
	h.resumer.mu.Lock()
	defer h.resumer.mu.Unlock()
	return len(h.resumer.forLink) + len(h.resumer.behind)
}

// Signed returns how many subscriptions end when their signature expires.
func (h *Hub) Signed() (n int) {
	for _, s := range h.shards {
		s.mu.Lock()
		n += len(s.signed)
		s.mu.Unlock()
	}
	return n
}

// Turns returns how many resumes of the session can take a step.
func (s *Session) Turns() int {
	s.hub.resumer.mu.Lock()
	defer s.hub.resumer.mu.Unlock()
	return len(s.turns.ready)
}

// IndexedUsers returns how many users have sessions.
func (h *Hub) IndexedUsers() int {
	h.users.mu.Lock()
	defer h.users.mu.Unlock()
	return len(h.users.users)
}

// WaitingActions returns for how many sessions actions of the application wait.
func (h *Hub) WaitingActions() int {
	h.actions.mu.Lock()
	defer h.actions.mu.Unlock()
	return len(h.actions.waiting)
}

// AwaitDelivered returns when nothing waits for a shard.
func (h *Hub) AwaitDelivered() {
	for _, s := range h.shards {
		for done := false; !done; runtime.Gosched() {
			s.mu.Lock()
			done = s.mailbox.empty()
			s.mu.Unlock()
		}
	}
}
