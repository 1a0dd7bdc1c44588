package relay

import (
	"context"
	"testing/synctest"

	"sidecast/relay/protocol"
)

// SetRingLimits bounds the entries held of one durable channel and of all. It
// must be called before a client subscribes.
func (h *Hub) SetRingLimits(one, all int) { h.readers.SetLimits(one, all) }

// RingBytes returns how many bytes of durable channels are held.
func (h *Hub) RingBytes() int64 {
	if h.readers == nil {
		return 0
	}
	return h.readers.Bytes()
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
	r.step(true)
	synctest.Wait()
	pause()
	for r.step(true) != stepDone {
		synctest.Wait()
	}
}

// RefreshStream waits for a read of a durable channel that has subscribers.
func (h *Hub) RefreshStream(ctx context.Context, channel string) error {
	return h.streamReader([]byte(channel)).Refresh(ctx)
}

// Scratch returns the memory in which a shard collects one client's frames.
func (h *Hub) Scratch(shard int) [][]byte {
	s := h.shards[shard]
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.frames[:cap(s.frames)]
}
