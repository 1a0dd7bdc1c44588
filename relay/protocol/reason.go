package protocol

// A CloseReason is a fixed text in a close frame that says what the client, or
// the operator, can do. It contains no names: the log has them.
type CloseReason uint16

// The reasons, in addition to the usual one of each code.
const (
	ReasonUsual           CloseReason = iota // the usual reason of the code
	ReasonNoChannel                          // a raw client's URL names no channel, and there is no default channel
	ReasonChannels                           // more channels than a session may have
	ReasonQuery                              // the URL's query cannot be parsed
	ReasonLast                               // the URL's last is no number of messages
	ReasonLogin                              // the channel is open to logged-in clients only
	ReasonChannel                            // the client may not receive the channel
	ReasonName                               // a text that is not a channel name, or a reserved one
	ReasonPattern                            // a name with *
	ReasonComma                              // a name with a comma
	ReasonBlank                              // a name that begins or ends with white space
	ReasonParameter                          // a parameter whose name is probably misspelt
	ReasonToken                              // a token in the URL
	ReasonExpired                            // a login or permission of an open connection expired
	ReasonRevoked                            // a login that the application has ended
	ReasonSignature                          // the signature does not open the channel
	ReasonSignatureUser                      // the signature was made for another user
	ReasonSignatureOld                       // the signature has expired
	ReasonSignatures                         // more signatures in the URL than channels
	ReasonAuth                               // what the application signed for the client is for something else
	ReasonNoAuth                             // a private channel, and the client presents nothing that its application has signed
	ReasonNotRelayed                         // a channel that the application has signed, and that the relay does not relay
	ReasonNotPublic                          // a channel without such a prefix that is not public, in the Pusher protocol
	ReasonChannelData                        // the channel_data of a presence channel names no user
	ReasonOtherUser                          // auth with the token of another user, or with an invalid one
	ReasonPublish                            // the client may not publish to the channel
	ReasonPublishName                        // the channel to publish to has no valid name
	ReasonPublishSeveral                     // a raw client with several channels sent a message
	ReasonPublishNone                        // a raw client whose URL names no channel sent a message
	ReasonPublishTooLarge                    // the payload is too large
	ReasonCommand                            // a raw client sent a command of sidecast.v1
	ReasonRedis                              // Redis does not accept the message now
	ReasonRate                               // too many messages or commands
	ReasonControl                            // too many control frames
	ReasonFragments                          // a message in too many frames
	ReasonMessageTime                        // a message that was not complete in time
	ReasonJSON                               // not a JSON object
	numReasons
)

var reasonTexts = [numReasons]string{
	ReasonNoChannel:       "no channel named: add ?channel=NAME or set SIDECAST_DEFAULT_CHANNELS",
	ReasonChannels:        "too many channels: name fewer, or increase SIDECAST_MAX_CHANNELS_PER_SESSION",
	ReasonQuery:           "the query of the URL is invalid: escape each value with encodeURIComponent",
	ReasonLast:            "last must be a whole number from 0 to 100",
	ReasonLogin:           "receiving this channel needs a login",
	ReasonChannel:         "receiving this channel is not allowed",
	ReasonName:            "not a channel name, or a reserved one",
	ReasonPattern:         "a channel name is not a pattern: name each channel",
	ReasonComma:           "a comma does not separate channels: name each one on its own, like ?channel=a&channel=b",
	ReasonBlank:           "a channel name must not begin or end with white space",
	ReasonParameter:       "a parameter of the URL is misspelt: the parameters are channel, publish, echo, gap, last, sig and user",
	ReasonToken:           "tokens go in the subprotocol list: new WebSocket(url, ['sidecast.v1', 'sidecast.token.' + token])",
	ReasonExpired:         "the login, or the permission for a channel, has expired: log in again",
	ReasonRevoked:         "the application has ended this login: log in again",
	ReasonSignature:       "the signature does not open this channel: sign exactly this name and user",
	ReasonSignatureUser:   "the signature was made for another user than the one who is logged in",
	ReasonSignatureOld:    "the signature has expired: get a new one",
	ReasonSignatures:      "more sig or user than channels: the n-th belongs to the n-th channel",
	ReasonAuth:            "auth does not sign this channel for this socket: check SIDECAST_PUSHER_KEY and SIDECAST_PUSHER_SECRET",
	ReasonNoAuth:          "this channel needs the permission of your application: let the page send auth, from its authEndpoint",
	ReasonNotRelayed:      "this relay does not relay this channel: SIDECAST_CHANNELS must match it",
	ReasonNotPublic:       "this channel is not public: SIDECAST_CHANNELS and SIDECAST_PUBLIC_CHANNELS must match it",
	ReasonChannelData:     "channel_data needs a user_id of at most 128 bytes, and a user_info of at most 1 KiB",
	ReasonOtherUser:       "the new token is invalid or another user's: reconnect with it",
	ReasonPublish:         "publishing to this channel is not allowed",
	ReasonPublishName:     "publishing to this channel is not possible: its name is invalid or reserved",
	ReasonPublishSeveral:  "several channels: add &publish=NAME",
	ReasonPublishNone:     "no channel to publish to: add ?publish=NAME",
	ReasonPublishTooLarge: "the message is larger than SIDECAST_MAX_PAYLOAD_BYTES allows",
	ReasonCommand:         "commands need a subprotocol: new WebSocket(url, 'sidecast.v1')",
	ReasonRedis:           "the message may not have been published: try again later",
	ReasonRate:            "too many messages: send fewer, or increase SIDECAST_COMMAND_RATE",
	ReasonControl:         "too many pings or pongs: send fewer",
	ReasonFragments:       "a message in too many frames: send larger frames",
	ReasonMessageTime:     "a message did not arrive in time: send it in one piece",
	ReasonJSON:            "sidecast.v1 takes one JSON object in each text frame",
}

// String returns the text, or "" for ReasonUsual.
func (r CloseReason) String() string {
	if r < numReasons {
		return reasonTexts[r]
	}
	return ""
}

// CloseReasons returns all reasons.
func CloseReasons() (all [numReasons]CloseReason) {
	for i := range all {
		all[i] = CloseReason(i)
	}
	return all
}
