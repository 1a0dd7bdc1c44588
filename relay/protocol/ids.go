package protocol

// An ID numbers the protocols, so that arrays can have an element for each.
type ID uint8

// The protocols.
const (
	RawID ID = iota
	V1ID
	SSEID
	SSEJSONID
	PusherID
	NumProtocols
)

var protocolNames = [NumProtocols]string{"raw", "v1", "sse", "sse_json", "pusher"}

// String returns the name of the protocol in metrics and logs.
func (p ID) String() string { return protocolNames[p] }

// IDs returns the ids of all protocols.
func IDs() [NumProtocols]ID { return [NumProtocols]ID{RawID, V1ID, SSEID, SSEJSONID, PusherID} }

// IsEventStream reports whether the protocol is one of an event stream.
func (p ID) IsEventStream() bool { return p == SSEID || p == SSEJSONID }

// A Transport is a way in which a client connects.
type Transport uint8

// The transports.
const (
	WebSocket Transport = iota
	ServerSentEvents
	NumTransports
)

var transportNames = [NumTransports]string{"websocket", "sse"}

// String returns the name of the transport in metrics and logs.
func (t Transport) String() string { return transportNames[t] }

// Transports returns all transports.
func Transports() [NumTransports]Transport {
	return [NumTransports]Transport{WebSocket, ServerSentEvents}
}

// A CommandType is the type of a [Command].
type CommandType uint8

// The types of commands.
const (
	CommandUnknown CommandType = iota
	CommandSubscribe
	CommandUnsubscribe
	CommandPublish
	CommandPing
	CommandAuth
	CommandSignin
	CommandPong
	NumCommands
)

var commandNames = [NumCommands]string{"unknown", "subscribe", "unsubscribe", "publish", "ping", "auth", "signin", "pong"}

// String returns the command as it appears on the wire and in metrics.
func (c CommandType) String() string { return commandNames[c] }

// Commands returns all command types.
func Commands() (all [NumCommands]CommandType) {
	for i := range all {
		all[i] = CommandType(i)
	}
	return all
}
