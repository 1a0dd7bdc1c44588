package relay

import (
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"

	"sidecast/relay/access"
	"sidecast/relay/protocol"
)

// The methods of this file carry out an application's actions on sessions. They
// may be called concurrently, and wait for no client. Each returns how many
// sessions of this relay it concerns.

// Disconnect closes sessions with 4409: their clients do not return.
func (h *Hub) Disconnect(who access.Subject) int {
	return h.closeAll(h.find(who), protocol.CloseKicked)
}

// Refresh closes sessions with 4401: their clients return with their present
// credentials, and the application is asked again.
func (h *Hub) Refresh(who access.Subject) int {
	list := h.askAgain(who)
	return h.closeAll(list, protocol.CloseUnauthorized.Because(protocol.ReasonExpired))
}

func (h *Hub) closeAll(list []*Session, code protocol.CloseCode) (n int) {
	for _, s := range list {
		if s.closeIf(code, func(*access.Identity) bool { return true }) {
			n++
		}
	}
	return n
}

// SubscribeFor subscribes sessions to a channel, whatever their rights are, for
// as long as they exist. It returns an error code if the channel is not relayed.
// Event streams are left out, because their channels are those of the URL.
func (h *Hub) SubscribeFor(who access.Subject, channel string) (int, protocol.Code) {
	if code := h.cfg.Access.Relayed(channel); code != protocol.CodeOK {
		return 0, code
	}
	n := 0
	for _, s := range h.find(who) {
		if s.protocol.ID().IsEventStream() || s.closeCode.Load() != 0 {
			continue
		}
		if s.act(func() { s.subscribeFor(channel) }) {
			n++
		}
	}
	return n, protocol.CodeOK
}

// subscribeFor subscribes the session to a channel that the application chose.
func (s *Session) subscribeFor(channel string) {
	s.removeFailed()
	switch i := s.subscription(channel); {
	case s.closeCode.Load() != 0, i >= 0:
	case len(s.subs) >= s.hub.cfg.MaxChannels:
		s.send(protocol.Event{Type: protocol.EventError, Command: protocol.CommandSubscribe, Channel: channel, Code: protocol.CodeTooManyChannels})
	default:
		request := protocol.ChannelRequest{Channel: channel, Last: s.hub.Newest(int(s.last), channel)}
		s.join(protocol.Command{Type: protocol.CommandSubscribe}, request, &grant{code: protocol.CodeOK})
	}
}

// UnsubscribeFor unsubscribes sessions from a channel. An event stream, whose
// channels do not change, is closed with 4401 instead, so that the client
// returns and its rights are determined again.
func (h *Hub) UnsubscribeFor(who access.Subject, channel string) int {
	n := 0
	for _, s := range h.askAgain(who) {
		if s.closeCode.Load() == 0 && s.act(func() { s.unsubscribeFor(channel) }) {
			n++
		}
	}
	return n
}

func (s *Session) unsubscribeFor(channel string) {
	i := s.subscription(channel)
	if i < 0 {
		return
	}
	if s.protocol.ID().IsEventStream() {
		s.Close(protocol.CloseUnauthorized.Because(protocol.ReasonExpired))
		return
	}
	sub := s.subs[i]
	s.removeSub(i)
	s.hub.removeSubscription(sub, subscribeEnded, s.protocol.Event(protocol.Event{
		Type: protocol.EventUnsubscribed, Channel: channel, Ended: protocol.EndControl,
	}))
	if sub.grant != nil {
		s.setDeadline()
	}
}

// askAgain returns the sessions that an application means, and makes its answers
// about their users stale that were asked for before now. A session that is
// not found because it begins meanwhile is closed by [Session.closeIfRefreshed].
func (h *Hub) askAgain(who access.Subject) []*Session {
	h.refreshed.mark(who)
	list := h.find(who)
	if who.Kind == access.SubjectUser {
		return list
	}
	for _, s := range list {
		s.shard.enter()
		user := s.principal.Identity.UserID()
		s.shard.exit()
		if user != "" {
			h.refreshed.mark(access.Subject{Kind: access.SubjectUser, Name: user})
		}
	}
	return list
}

// closeIfRefreshed closes a session whose login and rights may be older than a
// refresh of its user or its token: the relay began to determine them at that
// time, if it is not zero. The client returns, and they are determined again.
func (s *Session) closeIfRefreshed(began time.Time) {
	id, r := s.principal.Identity, &s.hub.refreshed
	if began.IsZero() {
		return
	}
	if r.after(access.Subject{Kind: access.SubjectUser, Name: id.User}, began) ||
		id.TokenID != "" && r.after(access.Subject{Kind: access.SubjectToken, Name: id.TokenID}, began) {
		s.Close(protocol.CloseUnauthorized.Because(protocol.ReasonExpired))
	}
}

// IsStale reports whether the answer to a question about a user, which was asked
// at that time, must not be used any more. user may be empty.
func (h *Hub) IsStale(user string, asked time.Time) bool {
	subject := access.Subject{Kind: access.SubjectUser, Name: user}
	if h.refreshed.after(subject, asked) {
		return true
	}
	ms, revoked := h.revoked.at(subject)
	return revoked && unixMs(asked) <= ms
}

// maxRefreshes is how many users and tokens a [refreshes] names.
const maxRefreshes = 1 << 16

// Refreshes are when the application ended logins so that it is asked again. If
// there are too many to name the users, that applies to all users.
type refreshes struct {
	seed maphash.Seed // does not change
	size atomic.Int64 // of the map, so that a relay without refreshes takes no lock

	// Guarded by mu.
	mu  sync.Mutex
	at  map[uint64]time.Time // by hash of the subject
	all time.Time
}

func newRefreshes() refreshes {
	return refreshes{seed: maphash.MakeSeed(), at: make(map[uint64]time.Time)}
}

// mark records a refresh. Sessions are not named: a session that exists cannot
// begin once more.
func (r *refreshes) mark(subject access.Subject) {
	if subject.Kind == access.SubjectSession {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	if len(r.at) >= maxRefreshes {
		clear(r.at)
		r.all = now
	}
	r.at[maphash.Comparable(r.seed, subject)] = now
	r.size.Store(int64(len(r.at)))
}

// after reports whether there was a refresh at or after that time.
func (r *refreshes) after(subject access.Subject, asked time.Time) bool {
	if r.size.Load() == 0 {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return !r.all.Before(asked) || !r.at[maphash.Comparable(r.seed, subject)].Before(asked)
}
