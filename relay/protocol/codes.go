package protocol

// A Code is the error of a command, as a client sees it.
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
	CodeUnknownType:     {"unknown_type", "unknown type: send subscribe, unsubscribe, publish, auth or ping"},
	CodeBadChannel:      {"bad_channel", "not a channel name, or a reserved one"},
	CodeUnauthorized:    {"unauthorized", "log in again"},
	CodeForbidden:       {"forbidden", "this is not open to you"},
	CodeTooManyChannels: {"too_many_channels", "more channels than a session may have"},
	CodeRateLimited:     {"rate_limited", "too many commands"},
	CodeTooLarge:        {"too_large", "the payload is too large"},
	CodeUnavailable:     {"unavailable", "this cannot be done now; try again later"},
	CodeNotSubscribed:   {"not_subscribed", "the session has not joined this channel"},
}

// String returns the code as it appears on the wire and in metrics.
func (c Code) String() string { return codes[c].name }

// Message returns the fixed error message of the code, or "" for CodeOK.
func (c Code) Message() string { return codes[c].message }

// Codes returns all codes.
func Codes() (all [NumResults]Code) {
	for i := range all {
		all[i] = Code(i)
	}
	return all
}

// A GapReason is the reason why messages may be missing.
type GapReason uint8

// The reasons of a gap.
const (
	GapRedis    GapReason = iota // the connection to Redis was down
	GapTooLarge                  // a message was larger than MAX_PAYLOAD_BYTES
	GapHistory                   // the missed messages left the history before they were sent to the client
	GapTrimmed                   // the stream no longer has all entries after the last one that the client has
	GapReset                     // the stream is a different one than that of the last entry that the client has
	NumGapReasons
)

var gapReasons = [NumGapReasons]string{"redis", "too_large", "history", "trimmed", "reset"}

// String returns the reason as it appears on the wire and in metrics.
func (r GapReason) String() string { return gapReasons[r] }

// GapReasons returns all reasons.
func GapReasons() (all [NumGapReasons]GapReason) {
	for i := range all {
		all[i] = GapReason(i)
	}
	return all
}

// An EndReason is the reason why a subscription has ended.
type EndReason uint8

// The reasons of the end of a subscription.
const (
	EndAsked   EndReason = iota // the client asked for it
	EndExpired                  // the signature that opened the channel has expired
	EndRevoked                  // the client's new login does not open the channel
	EndControl                  // the application asked for it
	NumEndReasons
)

var endReasons = [NumEndReasons]string{"", "expired", "revoked", "control"}

// String returns the reason as it appears on the wire, or "" for EndAsked.
func (r EndReason) String() string { return endReasons[r] }
