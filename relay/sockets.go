package relay

import (
	"bytes"
	"sync"
	"sync/atomic"
	"time"

	"sidecast/relay/access"
	"sidecast/relay/outbox"
	"sidecast/relay/protocol"
)

// A socketIndex finds sessions by the number in their socket id. It is empty
// unless there is an application that uses such ids.
type socketIndex struct {
	size atomic.Int64 // of the map, so that a relay without socket ids takes no lock

	mu   sync.Mutex // guards the map
	list map[access.SocketNumber]socket
}

// A socket has the facts that the index keeps of a session.
type socket struct {
	outbox *outbox.Outbox
	began  time.Time // when the session began
}

func (x *socketIndex) add(s *Session) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.list == nil {
		x.list = make(map[access.SocketNumber]socket)
	}
	x.list[s.socketNumber()] = socket{outbox: s.outbox, began: time.Now()}
	x.size.Store(int64(len(x.list)))
}

func (x *socketIndex) remove(s *Session) {
	if x.size.Load() == 0 {
		return
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	delete(x.list, s.socketNumber())
	x.size.Store(int64(len(x.list)))
}

func (x *socketIndex) find(n access.SocketNumber) socket {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.list[n]
}

// excepted returns the outbox of the session that a message names as its socket,
// and which does not receive the message; or nil.
func (x *socketIndex) excepted(payload []byte) *outbox.Outbox {
	if x.size.Load() == 0 {
		return nil
	}
	if n := socketOf(payload); n != 0 {
		return x.find(n).outbox
	}
	return nil
}

// socketOf returns the number of the session that a message names as its socket,
// or 0.
func socketOf(payload []byte) access.SocketNumber {
	if !bytes.Contains(payload, []byte(`"socket"`)) {
		return 0
	}
	e, ok := protocol.ParseEnvelope(payload)
	if !ok || e.Socket == nil {
		return 0
	}
	return access.SocketNumberOf(bytes.Trim(e.Socket, `"`))
}

// isSocket reports whether a message that names a socket, if it is not 0, is not
// for this session.
func (s *Session) isSocket(n access.SocketNumber) bool {
	return n != 0 && s.hasSocketID() && n == s.socketNumber()
}

// hasSocketID reports whether the session has a socket id, by which an
// application can leave it out of a broadcast.
func (s *Session) hasSocketID() bool {
	id := s.protocol.ID()
	return s.hub.cfg.Access.App != nil && (id == protocol.PusherID || id == protocol.V1ID)
}

// socketNumber returns the number in the session's socket id. It is made of the
// first bits of the session's id, because a field of its own would make each
// idle session larger. The others cannot be guessed from it.
func (s *Session) socketNumber() access.SocketNumber { return access.NewSocketNumber(s.id[:]) }

// socketID returns the session's socket id, or "" if it has none.
func (s *Session) socketID() string {
	if !s.hasSocketID() {
		return ""
	}
	return s.hub.cfg.Access.App.SocketID(s.socketNumber())
}
