package trace

import "time"

// An EventKind is what happened at a relay.
type EventKind string

// The kinds of events.
const (
	EventStart    EventKind = "start"     // the relay follows the channel from now on
	EventMessage  EventKind = "message"   // a message was delivered to those who listen
	EventTooLarge EventKind = "too_large" // a message was dropped, and those who listen got a gap
	EventDropped  EventKind = "dropped"   // a message was dropped
	EventNudge    EventKind = "nudge"     // a PUBLISH on a durable channel
	EventJoin     EventKind = "join"
	EventLeave    EventKind = "leave"
	EventRefused  EventKind = "refused" // a client may not use the channel
	EventEvicted  EventKind = "evicted" // a client on the channel read too slowly
	EventGap      EventKind = "gap"     // clients on the channel may have missed messages
	EventLinkUp   EventKind = "link_up"
	EventLinkDown EventKind = "link_down"
	EventMissed   EventKind = "missed" // more happened than could be followed
)

// An Event is one thing that happened at a relay and concerns a channel. The
// relay sends it as JSON, in a stream of events.
type Event struct {
	Kind    EventKind `json:"kind"`
	At      time.Time `json:"at"`
	Channel string    `json:"channel,omitempty"`
	How     Likeness  `json:"how,omitempty"` // Channel is not the one that is traced, but one whose name is near

	Size      int            `json:"size,omitempty"`      // message, too_large: bytes
	Listeners int            `json:"listeners"`           // message, too_large: clients that were subscribed
	Protocols map[string]int `json:"protocols,omitempty"` // message: how many of them use which protocol, if that is known

	User     string `json:"user,omitempty"`
	Session  string `json:"session,omitempty"`
	Protocol string `json:"protocol,omitempty"` // join, leave
	Reason   string `json:"reason,omitempty"`   // refused: the error code; dropped, gap
	Command  string `json:"command,omitempty"`  // refused: subscribe, publish, or connect if there is no session
}
