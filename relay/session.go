package relay

import (
	"crypto/rand"
	"encoding/base32"
	"log/slog"
	"runtime/debug"
	"slices"
	"sync/atomic"
	"time"

	"sidecast/relay/access"
	"sidecast/relay/history"
	"sidecast/relay/outbox"
	"sidecast/relay/protocol"
)

// A Client describes one connection to the hub that it joins.
type Client struct {
	Transport protocol.Transport
	Protocol  protocol.Protocol
	Outbox    *outbox.Outbox
	access.Principal

	PublishTo string // the channel for messages without one; empty if there is none
	NoEcho    bool   // the client does not receive the messages that it publishes
	GapClose  bool   // a gap closes the connection, for protocols without a gap notice
	// Last is how many of the newest messages [Session.SubscribeOwn] requests on
	// each channel: LastBySetting, or a number.
	Last int
	// Began is when the relay began to determine the principal and its rights;
	// zero: not known.
	Began time.Time
	// Signatures are those that the client presents before the session begins,
	// by channel.
	Signatures map[string]access.Signature
	NoPongs    bool // the client cannot answer pings: it is alive as long as it acknowledges bytes

	grants grants // set by [Hub.Admit]
}

// LastBySetting is a [Client.Last] that stands for [HubConfig.Last].
const LastBySetting = -1

// Newest returns how many of the newest messages a client with that
// [Client.Last] gets when it joins a channel.
func (h *Hub) Newest(last int, channel string) int {
	switch {
	case last != LastBySetting:
		return last
	case h.cfg.Last == nil:
		return 0
	}
	return h.cfg.Last(channel)
}

// A Session is one connected client: its protocol, its outbox and its
// subscriptions. [Session.Subscribe], [Session.SubscribeOwn], [Session.Handle]
// and [Session.Leave] must not be called concurrently: the transport calls them
// for one frame of the client after the other. Other methods may be called
// concurrently. It has many fields, because an idle session must not cost more
// than one allocation.
type Session struct {
	// These do not change.
	id        sessionID
	transport protocol.Transport
	last      int8 // as in Client
	noEcho    bool
	gapClose  bool
	noPongs   bool
	ended     bool   // guarded by the shard's mu: its subscriptions are being removed
	number    uint32 // in the black box; 0 if it has no number
	hub       *Hub
	shard     *shard
	protocol  protocol.Protocol
	outbox    *outbox.Outbox

	// Used only by the methods that must not be called concurrently.
	publishTo string          // as in Client
	subs      []*Subscription // changed under the shard's mu, so that others may read it
	limiter   limiter
	principal access.Principal // its Identity is changed under the shard's mu, so that others may read it
	admitted  grants           // the application's answers before the session began

	turns *turns // of its resumes; nil if there never was one; guarded by the resumer's mu

	// Guarded by the shard's mu.
	existsSince  history.Seq // items up to this sequence number are not for it
	liveSince    history.Seq // the newest sequence number at which a subscription became live
	nextPing     int64
	pingSent     int64     // when the unanswered ping was sent, or was last seen on its way; 0 if there is none
	pingEnd      int64     // where that ping ends in all bytes that were sent
	acknowledged int64     // bytes that the client had received when the relay last looked
	together     *together // the subscriptions that share a cursor; nil if there are none
	index        int32     // in shard.sessions
	pendingSubs  int32     // subscriptions that are not live yet
	liveChannels int32     // subscriptions to live channels

	closeCode atomic.Uint32
	lastSeen  atomic.Int64 // when the client last sent anything
	expires   atomic.Int64 // when the session ends with 4401; 0 for never
	echoes    atomic.Pointer[echoes]
	exclusive atomic.Uint32 // who uses what must not be used concurrently: see exclusiveTaken
	lacks     atomic.Uint32 // a channel: a lackState
}

// Join creates a session for a client and welcomes it. The caller must call
// [Session.Leave] when the connection ends.
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
		last:      int8(c.Last),
		noEcho:    c.NoEcho,
		gapClose:  c.GapClose,
		noPongs:   c.NoPongs,
		nextPing:  now + h.pingAfter(),
		principal: c.Principal,
		admitted:  c.grants,
	}
	s.outbox.Protocol = c.Protocol.ID()
	s.number = h.cfg.BlackBox.Begin(s.recorded())
	s.lastSeen.Store(now)
	s.setDeadline()
	if c.NoEcho {
		s.echoes.Store(new(echoes))
	}
	if s.hasSocketID() {
		h.sockets.add(s)
	}
	h.cfg.Stats.Opened.Add(1)
	h.cfg.Stats.Connections[s.transport][s.protocol.ID()].Add(1)
	s.shard.add(s, func(offline bool) {
		if s.protocol.ID() == protocol.RawID {
			return // it has no welcome
		}
		s.send(protocol.Event{
			Type: protocol.EventWelcome, Session: s.ID(), SocketID: s.socketID(), User: c.Identity.UserID(),
			Heartbeat: int(h.cfg.PingInterval / time.Second), Offline: offline,
		})
	})
	s.report(protocol.ReportConnected, "", "")
	// What began after Admit may have missed this session.
	if code := h.Leaving(); code != 0 {
		s.Close(code)
	}
	if id := c.Identity; id != nil {
		h.users.add(id.User, s)
		s.closeIfRevoked()
		s.closeIfRefreshed(c.Began)
	}
	return s
}

// Leave removes the session from its channels and from the hub. Nothing is sent
// to it afterwards.
func (s *Session) Leave() {
	s.enterExclusive()
	defer s.endExclusive()
	last := s.beginEnd()
	if s.together != nil {
		s.leaveTogether()
	}
	for _, sub := range s.subs {
		s.hub.removeSubscription(sub, subscribeEnded, nil)
	}
	s.shard.remove(s)
	s.recordEnd(last)
	s.hub.sockets.remove(s)
	if id := s.principal.Identity; id != nil {
		s.hub.users.remove(id.User, s)
	}
	stats := s.hub.cfg.Stats
	stats.Connections[s.transport][s.protocol.ID()].Add(-1)
	stats.Closed[s.CloseCode().Slot()].Add(1)
	s.reportLeft()
}

// A sessionID is 96 random bits. Few sessions ever need its text.
type sessionID [12]byte

func newSessionID() (id sessionID) {
	_, _ = rand.Read(id[:]) // it never fails: crypto/rand says so
	return id
}

// parseSessionID is the inverse of [Session.ID].
func parseSessionID(text string) (id sessionID, ok bool) {
	if len(text) != base32.StdEncoding.WithPadding(base32.NoPadding).EncodedLen(len(id)) {
		return id, false
	}
	_, err := base32.StdEncoding.WithPadding(base32.NoPadding).Decode(id[:], []byte(text))
	return id, err == nil
}

// ID returns the session's id, which cannot be guessed.
func (s *Session) ID() string {
	return base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(s.id[:])
}

// Protocol returns the protocol that the session speaks.
func (s *Session) Protocol() protocol.Protocol { return s.protocol }

// Seen records that the client sent something.
func (s *Session) Seen() { s.lastSeen.Store(s.hub.now()) }

// LogValue names the session in a log line.
func (s *Session) LogValue() slog.Value { return slog.StringValue(s.ID()) }

// LogPanic logs the value of a panic on the goroutine that handles what the
// client sends, for a transport that has recovered from it and disconnects the
// client. It must be called while that goroutine is still panicking.
func (s *Session) LogPanic(value any) {
	s.hub.cfg.Logger.Error("panic while reading from a client; the client is disconnected",
		"session", s, "panic", value, "stack", string(debug.Stack()))
}

// Close sends everything that is queued, then a close frame with code, and
// half-closes the connection. Only the first Close has an effect.
func (s *Session) Close(code protocol.CloseCode) {
	s.shard.enter()
	defer s.shard.exit()
	s.closeLocked(code)
}

// closeLocked is Close. The shard is locked.
func (s *Session) closeLocked(code protocol.CloseCode) {
	if !s.closeCode.CompareAndSwap(0, uint32(code)) {
		return
	}
	s.hub.cfg.BlackBox.Closing(s.number, uint32(code), s.shard.reached.live, s.shard.reached.durable)
	last := s.protocol.Close(code)
	if s.protocol.ID() != protocol.RawID {
		// The last frame before it is a heartbeat with the client's position,
		// so that the client can resume elsewhere.
		last = append(s.protocol.Event(protocol.Event{Type: protocol.EventHeartbeat, Cursor: s.position()}), last...)
	}
	s.outbox.Close(last)
}

// ClientLeft records that the client has ended the connection, for transports on
// which clients send no close code.
func (s *Session) ClientLeft() { s.closeCode.CompareAndSwap(0, uint32(protocol.CloseNormal)) }

// CloseCode returns the code with which the connection ended: slow consumer
// after an eviction, otherwise the first code that was set, or abnormal if
// there is none.
func (s *Session) CloseCode() protocol.CloseCode {
	if _, evicted := s.outbox.Evicted(); evicted {
		return protocol.CloseSlow
	}
	if code := protocol.CloseCode(s.closeCode.Load()); code != 0 {
		return code
	}
	return protocol.CloseAbnormal
}

// send sends an event, and reports whether the protocol has a frame for it.
func (s *Session) send(event protocol.Event) bool {
	frame := s.protocol.Event(event)
	if frame == nil {
		return false
	}
	s.outbox.Send(frame)
	return true
}

// sendGap notifies the session that messages may be missing. The shard is
// locked.
func (s *Session) sendGap(it *item) {
	if it.channel == nil && s.liveChannels == 0 && s.protocol.ID().IsEventStream() {
		return // it concerns live channels, and a page could not know that it has none
	}
	s.hub.cfg.Stats.Gaps[it.reason].Add(1)
	if it.channel == nil && s.protocol.ID() == protocol.PusherID {
		s.sendGapOfEach(it.reason)
		return
	}
	if frame := it.frames[s.protocol.ID()]; frame != nil {
		s.outbox.Send(frame)
	} else if s.gapClose && (it.channel != nil || s.liveChannels > 0) {
		s.closeLocked(protocol.CloseGap)
	}
}

// sendGapOfEach notifies a client of the Pusher protocol, whose notices are about
// one channel each, that messages may be missing on all live channels: in one
// write, because all clients get theirs at once. The shard is locked.
func (s *Session) sendGapOfEach(why protocol.GapReason) {
	event := protocol.Event{Type: protocol.EventGap, Reason: why, Spread: s.hub.spread()}
	var frames []byte
	for _, sub := range s.subs {
		if sub.reader == nil && sub.state == subscriptionLive {
			event.Channel = sub.channel.Name()
			frames = append(frames, s.protocol.Event(event)...)
		}
	}
	if len(frames) > 0 {
		s.outbox.Send(slices.Clip(frames))
	}
}

// isEcho reports whether a message is one of the session's own that it does not
// want to receive. hash is that of the payload, or of a stream's entry.
func (s *Session) isEcho(channel string, hash uint64) bool {
	e := s.echoes.Load()
	return e != nil && e.match(channel, hash, s.hub.now())
}

// block records that a command waits for Redis or the application. Nothing is
// read from the client meanwhile, so it may have answered a ping. The function
// that block returns ends that.
func (s *Session) block() func() {
	s.exclusive.Or(exclusiveBlocked)
	return func() {
		s.Seen()
		s.exclusive.And(^exclusiveBlocked)
	}
}

// forgetEchoes removes the messages that the session published on a channel.
func (s *Session) forgetEchoes(channel string) {
	if e := s.echoes.Load(); e != nil {
		e.forget(channel)
	}
}

// clearEchoes removes the messages that the session published before the link
// broke: they may never arrive.
func (s *Session) clearEchoes() {
	if e := s.echoes.Load(); e != nil {
		e.clear()
	}
}
