package relay

import (
	"sync"

	"sidecast/relay/access"
)

// A userIndex has the sessions of each user. Anonymous sessions are not in it.
type userIndex struct {
	mu    sync.Mutex // guards the map
	users map[string]userSessions
}

// userSessions are the sessions of one user, who has one as a rule.
type userSessions struct {
	first *Session
	more  map[*Session]struct{} // without first; nil until there are two
}

func (x *userIndex) add(user string, s *Session) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.users == nil {
		x.users = make(map[string]userSessions)
	}
	known := x.users[user]
	switch {
	case known.first == nil:
		known.first = s
	case known.more == nil:
		known.more = map[*Session]struct{}{s: {}}
	default:
		known.more[s] = struct{}{}
	}
	x.users[user] = known
}

func (x *userIndex) remove(user string, s *Session) {
	x.mu.Lock()
	defer x.mu.Unlock()
	known := x.users[user]
	if known.first != s {
		delete(known.more, s)
		return
	}
	known.first = nil
	for next := range known.more {
		known.first = next
		delete(known.more, next)
		break
	}
	if known.first == nil {
		delete(x.users, user)
		return
	}
	x.users[user] = known
}

// sessions returns the sessions of a user.
func (x *userIndex) sessions(user string) []*Session {
	x.mu.Lock()
	defer x.mu.Unlock()
	known := x.users[user]
	if known.first == nil {
		return nil
	}
	list := append(make([]*Session, 0, 1+len(known.more)), known.first)
	for s := range known.more {
		list = append(list, s)
	}
	return list
}

// find returns the sessions that an application means.
func (h *Hub) find(subject access.Subject) []*Session {
	if subject.Kind == access.SubjectUser {
		return h.users.sessions(subject.Name)
	}
	return h.scan([]access.Subject{subject})
}

// scan returns the sessions that any of these subjects names, which are tokens
// and sessions. It looks at all sessions, because an index would cost each of
// them memory for something that is rare.
func (h *Hub) scan(subjects []access.Subject) (found []*Session) {
	if len(subjects) == 0 {
		return nil
	}
	tokens, ids := make(map[string]bool), make(map[sessionID]bool)
	for _, subject := range subjects {
		if id, ok := parseSessionID(subject.Name); ok && subject.Kind == access.SubjectSession {
			ids[id] = true
		}
		if subject.Kind == access.SubjectToken && subject.Name != "" {
			tokens[subject.Name] = true
		}
	}
	for _, shard := range h.shards {
		shard.enter()
		for _, s := range shard.sessions {
			if id := s.principal.Identity; ids[s.id] || id != nil && tokens[id.TokenID] {
				found = append(found, s)
			}
		}
		shard.exit()
	}
	return found
}
