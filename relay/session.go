package relay

import (
	"crypto/rand"
	"encoding/base32"
	"log/slog"
	"sync/atomic"
	"time"

	"sidecast/relay/access"
	"sidecast/relay/outbox"
	"sidecast/relay/protocol"
)

// A Client is what a transport knows of one connection when it joins.
type Client struct {
	Transport protocol.Transport
	Protocol  protocol.Protocol
	Outbox    *outbox.Outbox
	access.Principal

	PublishTo string // where frames without a channel go; empty for nowhere
	NoEcho    bool   // what the client publishes does not come back to it
	GapClose  bool   // a gap closes the connection, for protocols that cannot tell it

	grants grants // filled in by [Hub.Admit]
}

// A Session is one connected client: its protocol, its outbox and what it listens to. The transport's reading goroutine
// owns it: [Session.Join], [Session.Handle] and [Session.Leave] are called by that goroutine alone. Other methods may be
// called concurrently.
type Session struct {
	id        sessionID
	hub       *Hub
	shard     *shard
	transport protocol.Transport
	protocol  protocol.Protocol
	outbox    *outbox.Outbox
	publishTo string
	noEcho    bool
	gapClose  bool

	// Owned by the reading goroutine.
	subs    []*Subscription
	limiter limiter
	principal access.Principal
	grants   grants  // what the application opened when it was asked
	queue *replayQueue // nil until one takes more than a moment

	// Guarded by the shard's mu.
	index    int    // in shard.sessions
	existsSince   uint64 // what came in up to this sequence was before it
	nextPing int64
	pingSent   int64  // when the ping was sent that nothing has answered yet; 0 for none
	pendingSubs  int    // subscriptions that are not live yet
	liveChannels int    // subscriptions to channels that are no streams
	liveSince  uint64 // the last of the sequences at which subscriptions became live

	blocked  atomic.Bool  // the client's goroutine waits for something else than the client
	lastSeen  atomic.Int64 // when the client was last heard
	expires atomic.Int64 // when the session ends with 4401; 0 for never
	closeCode  atomic.Uint32
	echoes atomic.Pointer[echoes]
}

// Join makes a session of a client and welcomes it. The caller must call [Session.Leave] when the connection ends.
func (h *Hub) Join(c Client) *Session {
	now := h.now()
	s := &Session{
		id:        newSessionID(),
		hub:       h,
		shard:     h.shards[int(h.nextShard.Add(1))%len(h.shards)],
		transport: c.Transport,
		protocol:  c.Protocol,
		outbox:    c.Outbox,
		publishTo: c.PublishTo,
		noEcho:    c.NoEcho,
		gapClose:  c.GapClose,
		limiter:   newLimiter(h.cfg.CommandRate, h.cfg.CommandBurst),
		nextPing:  now + h.pingAfter(),
		principal:   c.Principal,
		grants:     c.grants,
	}
	s.outbox.Protocol = c.Protocol.ID()
	s.lastSeen.Store(now)
	s.setDeadline()
	if c.NoEcho {
		s.echoes.Store(new(echoes))
	}
	h.cfg.Stats.Opened.Add(1)
	h.cfg.Stats.Connections[s.transport][s.protocol.ID()].Add(1)
	s.shard.add(s, func(offline bool) {
		if s.protocol.ID() == protocol.RawID {
			return // it has no words for it
		}
		s.send(protocol.Event{Type: protocol.EventWelcome, Session: s.ID(), User: c.Identity.UserID(), Heartbeat: int(h.cfg.PingInterval / time.Second), Offline: offline})
	})
	if code := h.Leaving(); code != 0 {
		s.Close(code) // a drain that began since Admit may have looked for sessions before this one was there
	}
	return s
}

// Leave takes the session out of every channel and of the hub. Nothing is sent to it afterwards.
func (s *Session) Leave() {
	for _, sub := range s.subs {
		s.hub.removeSubscription(sub, nil)
	}
	s.subs = nil
	s.queue.close()
	s.shard.remove(s)
	stats := s.hub.cfg.Stats
	stats.Connections[s.transport][s.protocol.ID()].Add(-1)
	stats.Closed[s.CloseCode().Slot()].Add(1)
}

// A sessionID is 96 random bits; there are many sessions, and few of them are ever asked for the text of it.
type sessionID [12]byte

func newSessionID() (id sessionID) {
	_, _ = rand.Read(id[:]) // it never fails: crypto/rand says so
	return id
}

// ID returns the session's id, which is unguessable.
func (s *Session) ID() string {
	return base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(s.id[:])
}

// Protocol returns the protocol that the session speaks.
func (s *Session) Protocol() protocol.Protocol { return s.protocol }

// Seen notes that the client was heard.
func (s *Session) Seen() { s.lastSeen.Store(s.hub.now()) }

// LogValue names the session in a log line.
func (s *Session) LogValue() slog.Value { return slog.StringValue(s.ID()) }

// Close sends everything that is queued, then a close frame with code, and half-closes. The first Close counts.
func (s *Session) Close(code protocol.CloseCode) {
	s.shard.mu.Lock()
	defer s.shard.mu.Unlock()
	s.closeLocked(code)
}

// end is Close. The shard is locked.
func (s *Session) closeLocked(code protocol.CloseCode) {
	if !s.Latch(code) {
		return
	}
	last := s.protocol.Close(code)
	if s.protocol.ID() != protocol.RawID {
		// The last word before it is where the client is, so that it can go on elsewhere.
		last = append(s.protocol.Event(protocol.Event{Type: protocol.EventHeartbeat, Cursor: s.position()}), last...)
	}
	s.outbox.Close(last)
}

// Latch notes with which code the connection ends, and reports whether that was not known before.
func (s *Session) Latch(code protocol.CloseCode) bool { return s.closeCode.CompareAndSwap(0, uint32(code)) }

// CloseCode returns the code with which the connection ended: the first that was latched; slow consumer after an eviction;
// abnormal if there was none.
func (s *Session) CloseCode() protocol.CloseCode {
	if _, evicted := s.outbox.Evicted(); evicted {
		return protocol.CloseSlow
	}
	if code := protocol.CloseCode(s.closeCode.Load()); code != 0 {
		return code
	}
	return protocol.CloseAbnormal
}

// send tells the client something, if its protocol has words for it.
func (s *Session) send(event protocol.Event) bool {
	frame := s.protocol.Event(event)
	if frame == nil {
		return false
	}
	s.outbox.Send(frame)
	return true
}

// gap tells the session that messages may be missing. The shard is locked.
func (s *Session) sendGap(it *item) {
	s.hub.cfg.Stats.Gaps[it.reason].Add(1)
	if frame := it.frames[s.protocol.ID()]; frame != nil {
		s.outbox.Send(frame)
	} else if s.gapClose && (it.channel != nil || s.liveChannels > 0) {
		s.closeLocked(protocol.CloseGap)
	}
}

// isEcho reports whether a message that is told again is one that the session published and does not want back.
func (s *Session) isEcho(channel string, payload []byte) bool {
	e := s.echoes.Load()
	return e != nil && e.match(channel, s.hub.hash(payload), s.hub.now())
}

// skips reports whether the message, which may have to be skipped, is such a one.
func (s *Session) skipsEcho(it *item) bool {
	e := s.echoes.Load()
	return e != nil && e.match(it.channel.Name(), it.hash, s.hub.now())
}

// wait notes that the client's goroutine waits for something else than the client, which may have answered a ping that
// nobody reads meanwhile. The function that it returns ends that.
func (s *Session) block() func() {
	s.blocked.Store(true)
	return func() {
		s.Seen()
		s.blocked.Store(false)
	}
}

// forget drops what the session published before the link broke: it may never come.
func (s *Session) clearEchoes() {
	if e := s.echoes.Load(); e != nil {
		e.clear()
	}
}
