package relay

import (
	"context"

	"sidecast/relay/stream"
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
// finding the client's position and the first step of the replay.
func (s *Session) ResumeWithPause(channel, after string, pause func()) {
	sub := s.hub.addSubscription(s, channel)
	s.subs = append(s.subs, sub)
	r := &streamReplay{Position: stream.Position{Reader: sub.reader}, hub: s.hub, sub: sub}
	r.At, _ = stream.ParseCursor(after)
	_, _, _ = r.Find(context.Background())
	pause()
	for r.step(context.Background()) != stepDone {
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
