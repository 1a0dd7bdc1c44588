package relay

import (
	"context"

	"sidecast/relay/stream"
)

// ShrinkRings makes the bounds smaller of what is kept of one durable channel, and of all together. It is called before
// anybody joins.
func (h *Hub) ShrinkRings(one, all int) {
	h.readers.SetLimits(one, all)
}

// RingBytes returns what is kept of durable channels.
func (h *Hub) RingBytes() int64 { return h.readers.Bytes() }

// ResumeHesitantly subscribes to a durable channel and lets something happen between finding the client's place and the
// first step behind it.
func (s *Session) ResumeHesitantly(channel, after string, meanwhile func()) {
	sub := s.hub.addSubscription(s, channel)
	s.subs = append(s.subs, sub)
	r := &streamReplay{Position: stream.Position{Reader: sub.reader}, hub: s.hub, sub: sub}
	r.At, _ = stream.ParseCursor(after)
	_, _, _ = r.Find(context.Background())
	meanwhile()
	for r.step(context.Background()) != stepDone {
	}
}

// RefreshDurable waits for a read of a durable channel that somebody listens to.
func (h *Hub) RefreshDurable(ctx context.Context, channel string) error {
	return h.streamReader([]byte(channel)).Refresh(ctx)
}
