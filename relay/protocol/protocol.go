package protocol

// A Protocol turns what the relay has to say into frames, and what a client says into commands. One value serves all
// sessions, concurrently. Its frames include the transport's framing, are never changed afterwards, and are shared by all
// clients that get them.
type Protocol interface {
	ID() ID
	// Message returns the frame of one message: the one allocation that a message costs. cursor is the text of it, empty
	// where there is none. cursor and payload are only valid during the call.
	Message(channel string, cursor, payload []byte) []byte
	// Event returns the frame for anything else, or nil where the protocol has no words for it.
	Event(Event) []byte
	// Ping returns the frames that keep the connection alive and prove it alive. at is a cursor that holds for everything
	// that the client listens to, or empty.
	Ping(at []byte) []byte
	// Close returns the last frame of a connection.
	Close(CloseCode) []byte
	// Decode reads one message of a client. A code other than 0 closes the connection. The Command may share data's
	// memory.
	Decode(data []byte, text bool) (Command, CloseCode)
}

// EventType is what an [Event] says.
type EventType uint8

// The events.
const (
	EventWelcome EventType = iota
	EventSubscribed
	EventUnsubscribed
	EventGap
	EventOffline
	EventPong
	EventOK
	EventError
	EventHeartbeat
)

// An Event is anything but a message that the relay tells one client. Which fields count depends on the type.
type Event struct {
	Type      EventType
	Ref       []byte // what the client sent with its command, as JSON; nil if it sent none
	Channel   string
	Session   string    // welcome: the session's id
	User      string    // welcome: who the client is, empty for anybody
	Heartbeat int       // welcome: seconds between two heartbeats
	Offline   bool      // welcome: Redis is away now
	Recovered bool      // subscribed: nothing was missed, or what was follows
	Cursor    []byte    // subscribed, gap, heartbeat: text of a cursor, empty for none; valid during the call
	Reason    GapReason // gap
	Code      Code      // error
}

// A Command is what a client asks for.
type Command struct {
	Type      CommandType
	Ref       []byte           // as the client wrote it, JSON; nil if it wrote none
	Subscribe []ChannelRequest // subscribe
	Channel   string           // unsubscribe, publish
	Data      []byte           // publish
	Token     string           // auth
	NoEcho    bool             // publish: not back to the sender
	Fault     Code             // the command is understood as far as this error: answer it and do nothing
}

// A ChannelRequest asks for one channel.
type ChannelRequest struct {
	Channel string
	After   string // the last cursor that the client has on this channel, empty for none
	At      string // that of the last heartbeat since, empty for none
}
