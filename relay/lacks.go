package relay

import (
	"math/rand/v2"
	"time"

	"sidecast/relay/protocol"
)

// A lackState says whether a client lacks a channel because Redis or the
// application was unavailable when it subscribed. Clients of the Pusher protocol
// subscribe again only when they reconnect.
type lackState uint32

const (
	lacksNothing lackState = iota
	lacksChannel           // until there is a new link to Redis
	mayReturn              // there is one since
)

// lack records that a subscribe was refused with a code.
func (s *Session) lack(code protocol.Code) {
	if code == protocol.CodeUnavailable && s.protocol.ID() == protocol.PusherID {
		s.lacks.Store(uint32(lacksChannel))
	}
}

// linkUp records that there is a new link to Redis.
func (s *Session) linkUp() { s.lacks.CompareAndSwap(uint32(lacksChannel), uint32(mayReturn)) }

// returns lets a client that lacks a channel reconnect, at a random time so that
// not all do so at once. It is called at each sweep, with the shard locked.
func (s *Session) returns() {
	if s.lacks.Load() != uint32(mayReturn) {
		return
	}
	sweeps := time.Duration(s.hub.spread()) * time.Millisecond / sweepEvery
	if rand.IntN(int(sweeps)+1) == 0 {
		s.closeLocked(protocol.CloseTryLater)
	}
}
