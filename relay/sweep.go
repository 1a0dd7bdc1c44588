package relay

import (
	"context"
	"math/rand/v2"
	"time"

	"sidecast/relay/history"
	"sidecast/relay/protocol"
)

// sweepEvery is the longest time between two sweeps, so a deadline is met
// within half of it.
const sweepEvery = time.Second

// sweep is the one clock of all sessions: it sends pings, and closes sessions
// whose pong is late, whose identity expired, or that accept no bytes.
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
			h.recordSlow()
			h.census()
			h.reportBox()
			for _, s := range h.shards {
				s.sweep()
			}
			h.cfg.Budget.Sweep(time.Now())
			h.messages.cache.Expire()
		}
	}
}

// expireHistory drops messages that are too old.
func (h *Hub) expireHistory() {
	h.enter()
	defer h.leave()
	h.history.Expire(h.now())
}

func (s *shard) sweep() {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.hub.now()
	s.endExpired(now)
	round := pingRound{shard: s}
	for _, session := range s.sessions {
		session.tick(now, &round)
	}
}

// A pingRound encodes the pings of one sweep: sessions that are equally up to
// date share a frame.
type pingRound struct {
	shard     *shard
	read      bool
	delivered history.Seq
	at        []byte // cursor for everything up to delivered; empty if there is none
	frames    [2][protocol.NumProtocols][]byte
}

// frame returns the ping for a session. The shard is locked.
func (p *pingRound) frame(s *Session) []byte {
	if !p.read {
		p.read = true
		p.delivered = p.shard.deliveredUpTo()
		p.at = p.shard.hub.markerCursor(p.delivered)
	}
	at, kind := p.at, 1
	if !s.hasPlace(p.delivered) {
		at, kind = nil, 0
	}
	frame := &p.frames[kind][s.protocol.ID()]
	if *frame == nil {
		*frame = s.protocol.Ping(at)
	}
	return *frame
}

// markerCursor returns the cursor of the newest marker at or before a sequence
// number that other relays know too, or nothing.
func (h *Hub) markerCursor(seq history.Seq) []byte {
	h.enter()
	defer h.leave()
	return h.history.MarkerCursor(seq)
}

// isCurrent reports whether the session has received everything up to a
// sequence number, on all channels. Without live channels it has no place: a
// browser would use it in place of the one from which it wants to resume, that
// of its durable channel. The shard is locked.
func (s *Session) isCurrent(passed history.Seq) bool {
	return s.liveChannels > 0 && s.pendingSubs == 0 && passed >= s.liveSince
}

// hasPlace reports whether a heartbeat may carry the cursor of a sequence number.
// The shard is locked.
func (s *Session) hasPlace(passed history.Seq) bool {
	return s.isCurrent(passed) && !s.rewinds(passed)
}

// position returns the cursor of everything that the session has received, for
// the last heartbeat before a close, or nothing. The shard is locked.
func (s *Session) position() []byte {
	passed := s.shard.deliveredUpTo()
	if !s.hasPlace(passed) {
		return nil
	}
	return s.hub.markerCursor(passed)
}

// tick pings the client when it is due, and aborts the connection if the last
// ping was not answered in time. The shard is locked.
func (s *Session) tick(now int64, round *pingRound) {
	if until := s.expires.Load(); until != 0 && now >= until-int64(sweepEvery/2) {
		s.closeLocked(protocol.CloseUnauthorized.Because(protocol.ReasonExpired))
	}
	s.returns()
	timeout := int64(s.hub.cfg.PongTimeout)
	if s.pingSent != 0 && !s.answered() && s.pingMoves() {
		s.pingSent = now
	}
	if s.pingSent != 0 && timeout > 0 && now-s.pingSent >= timeout {
		if !s.answered() && s.exclusive.Load()&exclusiveBlocked == 0 {
			s.outbox.Abort()
			return
		}
		s.pingSent = 0
	}
	if s.nextPing != 0 && now >= s.nextPing {
		s.nextPing = now + s.hub.pingAfter()
		s.outbox.Send(round.frame(s))
		if s.pingSent == 0 { // otherwise an earlier ping still waits for its answer
			s.pingSent = now
			s.acknowledged, s.pingEnd = s.outbox.Progress()
		}
	}
}

// answered reports whether the client is alive since the last ping: it has sent
// something, or, if it cannot, its kernel has acknowledged the ping. The shard
// is locked.
func (s *Session) answered() bool {
	if s.noPongs {
		acknowledged, _ := s.outbox.Progress()
		return acknowledged >= s.pingEnd
	}
	return s.lastSeen.Load() >= s.pingSent
}

// pingMoves reports whether the client still receives the bytes before the last
// ping. On a slow line, that can take longer than the time that the client has
// to answer it. The shard is locked.
func (s *Session) pingMoves() bool {
	before := s.acknowledged
	s.acknowledged, _ = s.outbox.Progress()
	return before < s.acknowledged && s.acknowledged < s.pingEnd
}

// pingAfter returns the time until the next ping: the interval +-10 %, so that
// clients that connected together spread out.
func (h *Hub) pingAfter() int64 {
	interval := int64(h.cfg.PingInterval)
	if interval <= 0 {
		return int64(100 * 365 * 24 * time.Hour)
	}
	return interval - interval/10 + rand.Int64N(interval/5+1)
}
