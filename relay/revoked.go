package relay

import (
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"

	"sidecast/relay/access"
	"sidecast/relay/protocol"
)

// Revocations are the logins that the application has ended. Each costs about
// 40 bytes, because only a hash of its subject is kept. Two subjects have the
// same hash with a probability of 2^-64: then one would have to log in again.
type revocations struct {
	seed maphash.Seed // does not change
	size atomic.Int64 // of the map, so that a relay without revocations takes no lock

	mu sync.RWMutex     // guards the map
	ms map[uint64]int64 // by hash of the subject: unix time in milliseconds
}

func newRevocations() revocations {
	return revocations{seed: maphash.MakeSeed(), ms: make(map[uint64]int64)}
}

func (r *revocations) hash(subject access.Subject) uint64 {
	var h maphash.Hash
	h.SetSeed(r.seed)
	_ = h.WriteByte(byte(subject.Kind))
	_, _ = h.WriteString(subject.Name)
	return h.Sum64()
}

// add adds revocations and returns those that were not known, or with an
// earlier time. A time in the future, which locks a user out, is replaced by any
// other: the application has corrected it, or lets the user in again.
func (r *revocations) add(list []access.Revocation) (fresh []access.Revocation) {
	now := time.Now().UnixMilli()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, revoked := range list {
		hash := r.hash(revoked.Subject)
		if ms, known := r.ms[hash]; !known || ms < revoked.Ms || ms > now && ms != revoked.Ms {
			r.ms[hash] = revoked.Ms
			fresh = append(fresh, revoked)
		}
	}
	r.size.Store(int64(len(r.ms)))
	return fresh
}

// dropBefore forgets the revocations before a time.
func (r *revocations) dropBefore(ms int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for hash, at := range r.ms {
		if at < ms {
			delete(r.ms, hash)
		}
	}
	r.size.Store(int64(len(r.ms)))
}

// at returns the time of a subject's revocation, if there is one.
func (r *revocations) at(subject access.Subject) (ms int64, ok bool) {
	if r.size.Load() == 0 {
		return 0, false
	}
	r.mu.RLock()
	defer r.mu.RUnlock()
	ms, ok = r.ms[r.hash(subject)]
	return ms, ok
}

// end reports whether the application has ended a login, which may be nil.
func (r *revocations) end(id *access.Identity) bool {
	if id == nil {
		return false
	}
	if id.TokenID != "" {
		if _, ended := r.at(access.Subject{Kind: access.SubjectToken, Name: id.TokenID}); ended {
			return true
		}
	}
	ms, ended := r.at(access.Subject{Kind: access.SubjectUser, Name: id.User})
	return ended && unixMs(id.Established) <= ms
}

// unixMs returns a time in milliseconds since 1970; the zero time is 0.
func unixMs(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

// Revoke ends logins: their sessions are closed with 4409, and clients that
// present them later are rejected with 4401.
func (h *Hub) Revoke(list []access.Revocation) {
	var scan []access.Subject
	for _, revoked := range h.revoked.add(list) {
		if revoked.Kind != access.SubjectUser {
			scan = append(scan, revoked.Subject)
			continue
		}
		for _, s := range h.users.sessions(revoked.Name) {
			s.closeIf(protocol.CloseKicked, func(id *access.Identity) bool { return h.revoked.end(id) })
		}
	}
	for _, s := range h.scan(scan) {
		s.closeIf(protocol.CloseKicked, func(*access.Identity) bool { return true })
	}
}

// ForgetRevoked forgets the revocations before a time.
func (h *Hub) ForgetRevoked(before time.Time) { h.revoked.dropBefore(before.UnixMilli()) }

// Revoked returns how many revocations the hub knows.
func (h *Hub) Revoked() int64 { return h.revoked.size.Load() }

// closeIf closes the session, unless it is being closed already, if its identity
// is one that end selects. It reports whether it did.
func (s *Session) closeIf(code protocol.CloseCode, end func(*access.Identity) bool) bool {
	s.shard.enter()
	defer s.shard.exit()
	if s.closeCode.Load() != 0 || !end(s.principal.Identity) {
		return false
	}
	s.closeLocked(code)
	return true
}

// setIdentity changes the identity of a session whose client has logged in, or
// closes the session if that login was revoked or refreshed since it began.
func (s *Session) setIdentity(id *access.Identity, began time.Time) {
	anonymous := s.principal.Identity == nil
	s.shard.enter()
	s.principal.Identity = id
	s.recordUser()
	s.shard.exit()
	if anonymous {
		s.hub.users.add(id.User, s)
	}
	s.closeIfRevoked()
	s.closeIfRefreshed(began)
}

// closeIfRevoked closes a session whose login was revoked before the index of
// users named the session.
func (s *Session) closeIfRevoked() {
	if s.hub.revoked.end(s.principal.Identity) {
		s.Close(protocol.CloseUnauthorized.Because(protocol.ReasonRevoked))
	}
}
