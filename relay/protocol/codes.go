package protocol

// CloseCode is a WebSocket close code as sent to a client (RFC 6455 section 7.4). The reason that goes with each is a
// fixed string: a browser's console never shows a Go error, an address or a path.
type CloseCode uint16

// The close codes that Sidecast sends, and no others.
const (
	CloseNormal       CloseCode = 1000 // the client closed, and is answered
	CloseGoingAway    CloseCode = 1001 // the relay leaves for good
	CloseProtocol     CloseCode = 1002 // not WebSocket (RFC 6455): framing, masking, opcodes
	CloseBadData      CloseCode = 1007 // text that is not UTF-8, or JSON that is none
	ClosePolicy       CloseCode = 1008 // a rule or a rate was broken
	CloseTooBig       CloseCode = 1009 // a message larger than MAX_INBOUND_BYTES
	CloseRestart      CloseCode = 1012 // the relay restarts: reconnect
	CloseTryLater     CloseCode = 1013 // overloaded, or Redis is away: reconnect later
	CloseUnauthorized CloseCode = 4401 // log in again
	CloseForbidden    CloseCode = 4403 // stop
	CloseSlow         CloseCode = 4408 // slow consumer: reconnect
	CloseKicked       CloseCode = 4409 // thrown out: stop
	CloseGap          CloseCode = 4410 // raw with gap=close: something may be missing
)

var closeCodes = [...]struct {
	code   CloseCode
	reason string
}{
	{CloseNormal, ""},
	{CloseGoingAway, "going away"},
	{CloseProtocol, "protocol error"},
	{CloseBadData, "bad data"},
	{ClosePolicy, "policy violation"},
	{CloseTooBig, "message too big"},
	{CloseRestart, "restarting"},
	{CloseTryLater, "try again later"},
	{CloseUnauthorized, "unauthorized"},
	{CloseForbidden, "forbidden"},
	{CloseSlow, "slow consumer"},
	{CloseKicked, "disconnected"},
	{CloseGap, "gap"},
}

// numCloseSlots counts the codes that we send and the two slots behind them.
const (
	slotAbnormal  = len(closeCodes)     // the connection broke without a close frame from either side
	slotOther     = len(closeCodes) + 1 // a code that only clients send
	NumCloseSlots = len(closeCodes) + 2
)

// CloseAbnormal stands for a connection that broke without a close frame; it is never sent.
const CloseAbnormal CloseCode = 1006

// Reason returns the fixed text that goes with the code.
func (c CloseCode) Reason() string {
	if i := c.Slot(); i < len(closeCodes) {
		return closeCodes[i].reason
	}
	return ""
}

// slot is the code's index in [Stats.Closed].
func (c CloseCode) Slot() int {
	for i := range closeCodes {
		if closeCodes[i].code == c {
			return i
		}
	}
	if c == CloseAbnormal {
		return slotAbnormal
	}
	return slotOther
}

// CloseSlots are the values of the label `code`, by index in [Stats.Closed].
func CloseSlots() [NumCloseSlots]CloseCode {
	var slots [NumCloseSlots]CloseCode
	for i := range closeCodes {
		slots[i] = closeCodes[i].code
	}
	slots[slotAbnormal] = CloseAbnormal
	return slots // the last one, 0, is every code that we never send
}

// Code is an error as a client sees it.
type Code uint8

// The error codes of sidecast.v1.
const (
	CodeOK Code = iota // no error
	CodeBadRequest
	CodeUnknownType
	CodeBadChannel
	CodeUnauthorized
	CodeForbidden
	CodeTooManyChannels
	CodeRateLimited
	CodeTooLarge
	CodeUnavailable
	CodeNotSubscribed
	NumResults
)

var codes = [NumResults]struct{ name, message string }{
	CodeOK:              {"ok", ""},
	CodeBadRequest:      {"bad_request", "the command is incomplete or contradicts itself"},
	CodeUnknownType:     {"unknown_type", "there is no command of this type"},
	CodeBadChannel:      {"bad_channel", "this is not a channel name"},
	CodeUnauthorized:    {"unauthorized", "log in again"},
	CodeForbidden:       {"forbidden", "this is not open to you"},
	CodeTooManyChannels: {"too_many_channels", "the session has as many channels as it may have"},
	CodeRateLimited:     {"rate_limited", "too many commands"},
	CodeTooLarge:        {"too_large", "the payload is too large"},
	CodeUnavailable:     {"unavailable", "this cannot be done now; try again later"},
	CodeNotSubscribed:   {"not_subscribed", "the session has not joined this channel"},
}

// String returns the code as it stands on the wire and in metrics.
func (c Code) String() string { return codes[c].name }

// Message returns the fixed sentence that goes with the code.
func (c Code) Message() string { return codes[c].message }

// Codes are all codes, for metrics.
func Codes() (all [NumResults]Code) {
	for i := range all {
		all[i] = Code(i)
	}
	return all
}

// GapReason says why messages may be missing.
type GapReason uint8

// The reasons of a gap.
const (
	GapRedis    GapReason = iota // the link to Redis was down
	GapTooLarge                  // a message was larger than the relay carries
	GapHistory                   // what was missed left the history before the client had read up to it
	GapTrimmed                   // the stream no longer has all that came after the last message
	GapReset                     // the stream is not the one that the last message was in
	NumGapReasons
)

var gapReasons = [NumGapReasons]string{"redis", "too_large", "history", "trimmed", "reset"}

// String returns the reason as it stands on the wire and in metrics.
func (r GapReason) String() string { return gapReasons[r] }

// GapReasons are all reasons, for metrics.
func GapReasons() (all [NumGapReasons]GapReason) {
	for i := range all {
		all[i] = GapReason(i)
	}
	return all
}

// ProtocolID numbers the protocols, so that a message can hold one encoded frame for each.
type ID uint8

// The protocols.
const (
	RawID ID = iota
	V1ID
	NumProtocols
)

var protocolNames = [NumProtocols]string{"raw", "v1"}

// String returns the protocol as metrics and logs name it.
func (p ID) String() string { return protocolNames[p] }

// Protocols are all protocols, for metrics.
func IDs() [NumProtocols]ID { return [NumProtocols]ID{RawID, V1ID} }

// TransportID numbers the ways in which a browser connects.
type Transport uint8

// The transports.
const (
	WebSocket Transport = iota
	NumTransports
)

var transportNames = [NumTransports]string{"websocket"}

// String returns the transport as metrics and logs name it.
func (t Transport) String() string { return transportNames[t] }

// Transports are all transports, for metrics.
func Transports() [NumTransports]Transport { return [NumTransports]Transport{WebSocket} }

// CommandType is what a client asks for.
type CommandType uint8

// The commands.
const (
	CommandUnknown CommandType = iota
	CommandSubscribe
	CommandUnsubscribe
	CommandPublish
	CommandPing
	CommandAuth
	NumCommands
)

var commandNames = [NumCommands]string{"unknown", "subscribe", "unsubscribe", "publish", "ping", "auth"}

// String returns the command as it stands on the wire and in metrics.
func (c CommandType) String() string { return commandNames[c] }

// Commands are all command types, for metrics.
func Commands() (all [NumCommands]CommandType) {
	for i := range all {
		all[i] = CommandType(i)
	}
	return all
}
