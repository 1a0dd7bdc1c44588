package relay

import (
	"context"
	"math"
	"math/rand/v2"
	"time"

	"sidecast/relay/protocol"
)

// sweepEvery is the longest time between two looks at a session, so a deadline is met within half of it.
const sweepEvery = time.Second

// sweep is the one clock of all sessions: pings, pongs that did not come, deadlines, and bytes that wait for too long.
func (h *Hub) sweep(ctx context.Context) {
	every := sweepEvery
	if h.cfg.PongTimeout > 0 {
		every = min(every, max(h.cfg.PongTimeout/4, 10*time.Millisecond))
	}
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			h.expireHistory()
			for _, s := range h.shards {
				s.sweep()
			}
			h.cfg.Budget.Sweep(time.Now())
		}
	}
}

// age lets go of what is too old to be told again.
func (h *Hub) expireHistory() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.history.Expire(h.now())
}

func (s *shard) sweep() {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.hub.now()
	b := pingRound{shard: s}
	for _, session := range s.sessions {
		session.tick(now, &b)
	}
}

// A beat is the pings of one sweep: sessions that are equally far share a frame.
type pingRound struct {
	shard  *shard
	read  bool
	delivered uint64
	at     []byte // newest place that everything up to passed is behind; empty if there is none
	frames [2][protocol.NumProtocols][]byte
}

// ping returns what a session gets for a ping. The shard is locked.
func (b *pingRound) frame(s *Session) []byte {
	if !b.read {
		b.read = true
		b.delivered = b.shard.deliveredUpTo()
		b.at = b.shard.hub.markerCursor(b.delivered)
	}
	at, kind := b.at, 1
	if !s.isCurrent(b.delivered) {
		at, kind = nil, 0
	}
	frame := &b.frames[kind][s.protocol.ID()]
	if *frame == nil {
		*frame = s.protocol.Ping(at)
	}
	return *frame
}

// place returns the cursor of the newest mark at or before a sequence that other relays know too, or nothing.
func (h *Hub) markerCursor(seq uint64) []byte {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.history.MarkerCursor(seq)
}

// knows reports whether the session has everything up to a sequence, of everything that it listens to. The shard is
// locked.
func (s *Session) isCurrent(passed uint64) bool { return s.pendingSubs == 0 && passed >= s.liveSince }

// place returns where the session is, or nothing, for its last word. The shard is locked, and hands nothing out.
func (s *Session) position() []byte {
	passed := s.shard.deliveredUpTo()
	if !s.isCurrent(passed) {
		return nil
	}
	return s.hub.markerCursor(passed)
}

// tick pings the client when it is time, and gives it up when the last ping was not answered. The shard is locked.
func (s *Session) tick(now int64, b *pingRound) {
	if until := s.expires.Load(); until != 0 && now >= until-int64(sweepEvery/2) {
		s.closeLocked(protocol.CloseUnauthorized)
	}
	timeout := int64(s.hub.cfg.PongTimeout)
	if s.pingSent != 0 && timeout > 0 && now-s.pingSent >= timeout {
		if s.lastSeen.Load() < s.pingSent && !s.blocked.Load() {
			s.outbox.Abort()
			return
		}
		s.pingSent = 0
	}
	if s.nextPing != 0 && now >= s.nextPing {
		s.nextPing = now + s.hub.pingAfter()
		if s.pingSent == 0 { // else an earlier one still waits for its answer
			s.pingSent = now
		}
		s.outbox.Send(b.frame(s))
	}
}

// pingAfter returns the time to the next ping: the interval +-10 %, so that clients that came together spread.
func (h *Hub) pingAfter() int64 {
	interval := int64(h.cfg.PingInterval)
	if interval <= 0 {
		return int64(100 * 365 * 24 * time.Hour)
	}
	return interval - interval/10 + rand.Int64N(interval/5+1)
}

// Drain closes all sessions with code, in random order and at a constant rate over about the given time (but at least 20 a
// second), so that their clients do not come back all at once. From its begin on [Hub.Admit] refuses everybody with code,
// and who was admitted before and joins later is closed at once. It returns when no session is left, or ctx ends; then it
// gives up those that are left.
func (h *Hub) Drain(ctx context.Context, over time.Duration, code protocol.CloseCode) {
	h.draining.Store(uint32(code))
	const step = 50 * time.Millisecond
	ticker := time.NewTicker(step)
	defer ticker.Stop()
	deadline, due := time.Now().Add(over), 0.0
	for {
		left := h.openSessions()
		if len(left) == 0 && h.Sessions() == 0 {
			return
		}
		rounds := max(float64(time.Until(deadline))/float64(step), 1)
		due += max(float64(len(left))/rounds, 1) // a few need not wait
		rand.Shuffle(len(left), func(i, k int) { left[i], left[k] = left[k], left[i] })
		for _, s := range left[:min(int(due), len(left))] {
			s.Close(code)
		}
		due -= math.Floor(due)
		select {
		case <-ticker.C:
		case <-ctx.Done():
			for _, s := range h.shards {
				for _, session := range s.list() {
					session.outbox.Abort()
				}
			}
			return
		}
	}
}

// open returns the sessions that nobody closes yet.
func (h *Hub) openSessions() (list []*Session) {
	for _, s := range h.shards {
		for _, session := range s.list() {
			if session.closeCode.Load() == 0 {
				list = append(list, session)
			}
		}
	}
	return list
}

// Sessions returns how many sessions there are.
func (h *Hub) Sessions() (n int) {
	for _, s := range h.shards {
		s.mu.Lock()
		n += len(s.sessions)
		s.mu.Unlock()
	}
	return n
}
