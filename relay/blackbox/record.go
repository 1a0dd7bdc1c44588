package blackbox

import (
	"encoding/base32"
	"time"
)

// A Kind says what a record is about.
type Kind uint8

// The kinds of records. Their comments name the fields of [Record] that they
// have in addition to At.
const (
	KindNone     Kind = iota
	KindMessage       // a message arrived: Channel, Durable, Seq, To (its place), Size, Heard, TooLarge
	KindNudge         // a PUBLISH on a durable channel: Channel, Empty
	KindBegin         // a session began: Session, ID, User, Protocol, Transport
	KindIs            // a session exists: as KindBegin, and Since
	KindJoin          // the fan-out reaches a subscription: Session, Channel, Durable, Seq (of the last message before it)
	KindOn            // as KindJoin, of a subscription that exists, after the KindIs of its session
	KindAwait         // a subscription waits for messages of the past: Session, Channel, Durable
	KindReplay        // messages of the past were sent: Session, Channel, Durable, From (the first), To (the last), Frames, Joined, Check
	KindLeave         // a subscription ended: Session, Channel, Durable, Seq (of the last message that was delivered)
	KindOwn           // a message that the session published itself was not sent to it: Session, Channel, Durable, Seq, or To (its place) in a replay
	KindClose         // the relay ends a session: Session, Code, Seq and StreamSeq (of the last messages before it)
	KindEnd           // a session ended: Session, Code, Seq and StreamSeq (of the first messages that it did not get; 0: none), LostReplays, Unacknowledged, Evicted
	KindBehind        // a session reads slowly: Session, Seq and StreamSeq (of the first messages that wait; 0: none), Size (bytes that wait)
	KindCaughtUp      // nothing waits any more: Session
	KindGap           // messages may be missing: Channel and Durable, or all live channels; Session, or all; Reason, Seq
	KindLinkUp        // the link to Redis is up: Seq
	KindLinkDown      // the link to Redis is down
	KindRefused       // a client may not do something: Session or 0, User, Channel, Code, Reason
	KindRejected      // a client got no connection: Reason
	KindDropped       // a message was dropped before it was numbered: Channel, Reason
	KindSwapped       // messages of durable channels were delivered in another order: Seq (of the first that may be concerned), StreamSeq (of the last)
	numKinds

	kindName // declares a name of a segment
	kindMark // messages are counted from a new marker
)

// A Place is that of a message on its channel. On a live channel it consists of
// the number of a marker and the number of messages since then, as
// history.Point of the relay. On a durable channel it is the id of the entry.
type Place struct{ Major, Minor uint64 }

// Compare returns -1, 0 or 1.
func (p Place) Compare(q Place) int {
	switch {
	case p == q:
		return 0
	case p.Major < q.Major || p.Major == q.Major && p.Minor < q.Minor:
		return -1
	}
	return 1
}

// Hash returns a number for the place, which hardly any other place has.
func (p Place) Hash() uint32 {
	h := (p.Major*0x9e3779b97f4a7c15 ^ p.Minor + 1) * 0xbf58476d1ce4e5b9
	return uint32(h >> 32)
}

// A SessionID is that of the session, as package relay makes it.
type SessionID [12]byte

// String returns the id as clients and the log have it.
func (id SessionID) String() string {
	return base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(id[:])
}

// A Record is one thing that happened. Which fields it has depends on its kind.
// Names of channels and users may come from a client: up to 255 bytes of
// anything.
type Record struct {
	Kind Kind
	At   time.Time // in ms

	Boot    uint32 // counts the starts of relays that used the file
	Session uint32 // number of the session since that start; 0: no session
	ID      SessionID
	User    string // "" is anonymous
	Since   time.Time

	Channel   string
	Durable   bool
	TooLarge  bool
	Empty     bool
	Evicted   bool
	Seq       uint64 // on live channels since the start, or on durable channels
	StreamSeq uint64 // on durable channels
	From, To  Place

	Joined         bool // part of the step of the record before
	Frames         int
	Check          uint32
	Size           int
	Heard          int // subscriptions at this relay
	LostReplays    int // frames of replays that were not written, the last ones
	Unacknowledged int // bytes that the client's kernel had not acknowledged

	Protocol, Transport uint8  // as in package protocol
	Code                uint32 // close code or error code, as in package protocol
	Reason              string // one of a closed list
}
