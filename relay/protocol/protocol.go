package protocol

// A Protocol encodes and decodes the frames of one subprotocol, or the blocks of
// an event stream. One value serves all sessions concurrently. The frames that
// it returns are complete (with WebSocket framing if that is the transport), are
// never changed afterwards, and may be sent to any number of clients.
type Protocol interface {
	ID() ID
	// Message returns the frame of a message, in a single allocation. cursor is
	// in its wire form, or empty if the message has no cursor. cursor and
	// payload are only valid during the call.
	Message(channel string, cursor, payload []byte) []byte
	// Event returns the frame of an event, or nil if the protocol cannot
	// express it.
	Event(Event) []byte
	// Ping returns the frames that keep a connection alive and make the client
	// answer. at is a cursor that is valid for everything that the client is
	// subscribed to, or empty.
	Ping(at []byte) []byte
	// Close returns the close frame, which is the last frame of a connection.
	Close(CloseCode) []byte
	// Decode decodes one message of a client; text says that it was a text
	// message. A CloseCode other than 0 means that the connection must be
	// closed with that code. The Command may share data's memory.
	Decode(data []byte, text bool) (Command, CloseCode)
}

// A PlaceLister is a [Protocol] whose clients have one cursor for several
// channels.
type PlaceLister interface {
	Protocol
	// WithPlaces returns a copy of a frame, which may be nil, after which the
	// client is at these places, one for each channel, and not at the frame's
	// own cursor.
	WithPlaces(frame []byte, places []Place) []byte
}

// A Place is a client's place on one channel. The cursor is in its wire form.
type Place struct {
	Channel string
	Cursor  []byte
}

// An EventType is the type of an [Event].
type EventType uint8

// The types of events.
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
	EventJoin
	EventLeave
	EventMembers
	EventSignedIn
	EventCacheMiss
	EventSubscriptionCount
)

// An Event is anything that the relay sends to one client, except a message.
// The comments of the fields name the types that use them.
type Event struct {
	Type      EventType
	Ref       []byte // the ref of the client's command as JSON, or nil if it has no ref
	Channel   string
	Session   string      // welcome: the session's id
	SocketID  string      // welcome: the session's socket id, or empty
	User      string      // welcome: the user's id, or empty for an anonymous client; join, leave: the member
	Heartbeat int         // welcome: seconds between two heartbeats
	Offline   bool        // welcome: Redis is unavailable now
	Resumed   bool        // subscribed: the client named the place where it had been before
	Recovered bool        // subscribed: the client missed nothing, or will receive all that it missed
	Durable   bool        // subscribed: the channel is durable
	Spread    int         // subscribed, gap: milliseconds over which clients spread the load on the application, or 0
	All       bool        // subscribed: Channel is only that of the cursor, and the client subscribed to several
	GapNext   bool        // subscribed: a gap follows that says why messages are missing
	Cursor    []byte      // subscribed, gap, heartbeat: a cursor in its wire form, or empty; valid during the call
	Reason    GapReason   // gap
	Ended     EndReason   // unsubscribed
	Code      Code        // error
	Command   CommandType // error: that of the command
	Message   string      // error: a text in place of the code's usual one, or empty
	Members   []byte      // subscribed, members: a JSON list of members, or nil
	Count     int         // subscribed, join, leave, members: the number of members; subscription count: of subscriptions; 0 if it is unknown
	Info      []byte      // join: the user's info as JSON, or empty
	UserData  string      // signed in: the text that the application signed
}

// A Command is a request of a client. The comments of the fields name the types
// that use them.
type Command struct {
	Type      CommandType
	Ref       []byte           // the ref as the client wrote it, in JSON, or nil if the command has no ref
	Subscribe []ChannelRequest // subscribe
	Channel   string           // unsubscribe, publish; of a subscribe that names only one, it may be that
	Data      []byte           // publish: the payload
	Event     string           // publish, by a client of the Pusher protocol: the name of the event; Data is JSON then
	Token     string           // auth
	Auth      string           // signin: the signature
	UserData  string           // signin: the text that the application signed
	NoEcho    bool             // publish: the sender does not want to receive the message
	Fault     Code             // if not CodeOK, the command is invalid: send this error and do nothing
	Problem   string           // a text about what is wrong, in place of the usual one of the error; or empty
}

// A ChannelRequest is a request to subscribe to one channel.
type ChannelRequest struct {
	Channel string
	After   string // the last cursor that the client received on this channel, or empty
	At      string // the cursor of the last heartbeat since then, or empty
	Since   string // without After, on a durable channel: the id of the last entry that the application has read, or empty
	Last    int    // without any of these: how many of the newest messages to send first, at most MaxLast
	Sig     string // a signature that opens the channel, or empty
	User    string // the user that it was made for, or empty
	// Cached says that of the messages that Last names the client wants the newest
	// one that no client has sent, or the notice that there is none.
	Cached bool
	// Presence says that the client wants to know the members of the channel.
	Presence bool
	// Auth is a signature as in the Pusher protocol, and ChannelData the text
	// about the user that is a part of what was signed. Both may be empty.
	Auth        string
	ChannelData string
}
