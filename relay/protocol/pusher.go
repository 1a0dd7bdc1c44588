package protocol

import (
	"cmp"
	"encoding/base64"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Pusher is protocol 7 of Pusher Channels, which pusher-js and Laravel Echo
// speak: each text frame is a JSON object with an event, in both directions, and
// the data of the relay's events is a string with JSON
// (https://pusher.com/docs/channels/library_auth_reference/pusher-websockets-protocol/).
// The zero value is ready for use.
type Pusher struct{}

var _ Protocol = Pusher{}

// MinPusherVersion and MaxPusherVersion bound the version of the protocol that a
// client may name.
const (
	MinPusherVersion = 5
	MaxPusherVersion = 7
)

// activityTimeout is after how many seconds without a message a client sends a
// ping.
const activityTimeout = 30

// ID implements [Protocol].
func (Pusher) ID() ID { return PusherID }

// Message returns the event in a payload that is an [Envelope]. It returns any
// other payload as the event `message`, whose data is the payload as a string,
// or an object with "base64" if it is not UTF-8.
func (Pusher) Message(channel string, _, payload []byte) []byte {
	channel = validUTF8(channel)
	event, data, user := pusherMessage(payload)
	size := len(`{"event":,"channel":,"data":}`) + len(event) + quotedSize(channel) + data.size()
	if user != nil {
		size += len(pusherUser) + len(user)
	}
	b := append(append(NewFrame(OpText, size), `{"event":`...), event...)
	b = appendQuoted(append(b, `,"channel":`...), channel)
	b = data.append(append(b, `,"data":`...))
	if user != nil {
		b = append(append(b, pusherUser...), user...)
	}
	return append(b, '}')
}

const (
	pusherUser   = `,"user_id":`
	base64Before = `"{\"base64\":\"`
	base64After  = `\"}"`
)

// A pusherText is the data of a message.
type pusherText struct {
	text []byte
	form pusherForm
}

type pusherForm uint8

const (
	pusherQuoted pusherForm = iota // a text that must be quoted
	pusherString                   // a JSON string
	pusherBinary                   // bytes that are not text
)

func (t pusherText) size() int {
	switch t.form {
	case pusherString:
		return len(t.text)
	case pusherBinary:
		return len(base64Before) + base64.StdEncoding.EncodedLen(len(t.text)) + len(base64After)
	}
	return quotedSize(t.text)
}

func (t pusherText) append(b []byte) []byte {
	switch t.form {
	case pusherString:
		return append(b, t.text...)
	case pusherBinary:
		return append(base64.StdEncoding.AppendEncode(append(b, base64Before...), t.text), base64After...)
	}
	return appendQuoted(b, t.text)
}

// pusherMessage returns the event in a payload, in JSON; its data; and the member
// who sent it, in JSON, or nil.
func pusherMessage(payload []byte) (event []byte, data pusherText, user []byte) {
	e, ok := ParseEnvelope(payload)
	switch {
	case !ok && utf8.Valid(payload):
		return messageEvent, pusherText{payload, pusherQuoted}, nil
	case !ok:
		return messageEvent, pusherText{payload, pusherBinary}, nil
	}
	if e.IsClientEvent() {
		user = e.User
	}
	switch {
	case e.Data == nil:
		return e.Event, pusherText{noData, pusherQuoted}, user
	case e.Data[0] == '"':
		return e.Event, pusherText{e.Data, pusherString}, user
	}
	return e.Event, pusherText{e.Data, pusherQuoted}, user
}

var messageEvent, noData = []byte(`"message"`), []byte("null")

// Ping returns a ping frame, which pages cannot see. Clients that receive nothing
// send pings themselves.
func (Pusher) Ping([]byte) []byte { return pingFrame }

// Event implements [Protocol].
func (Pusher) Event(e Event) []byte {
	name, data := pusherEvent(e)
	if name == "" {
		return nil
	}
	channel := validUTF8(e.Channel)
	if name == pusherErrorEvent {
		channel = "" // it is about the connection
	}
	size := len(`{"event":,"data":}`) + quotedSize(name) + quotedSize(data)
	if channel != "" {
		size += len(`,"channel":`) + quotedSize(channel)
	}
	b := appendQuoted(append(NewFrame(OpText, size), `{"event":`...), name)
	b = appendOptional(b, "channel", channel)
	return append(appendQuoted(append(b, `,"data":`...), data), '}')
}

// pusherEvent returns the name of an event, and its data as JSON; or no name if
// clients are not sent such events. The channel is not a part of the data.
func pusherEvent(e Event) (name string, data []byte) {
	switch e.Type {
	case EventWelcome:
		b := appendQuoted([]byte(`{"socket_id":`), e.SocketID)
		b = strconv.AppendInt(append(b, `,"activity_timeout":`...), activityTimeout, 10)
		return "pusher:connection_established", append(b, '}')
	case EventSubscribed:
		return "pusher_internal:subscription_succeeded", pusherMembers(e)
	case EventUnsubscribed:
		if e.Ended == EndAsked {
			return "", nil
		}
		e.Code, e.Message = CodeForbidden, endTexts[e.Ended]
		return subscriptionError, pusherRefusal(e)
	case EventGap:
		if e.Channel == "" {
			return "", nil // each channel gets its own
		}
		b := appendQuoted([]byte(`{"reason":`), e.Reason.String())
		return "sidecast:gap", append(appendSpread(b, e.Spread), '}')
	case EventOffline:
		return "sidecast:offline", []byte(`{"reason":"redis"}`)
	case EventPong:
		return "pusher:pong", []byte("{}")
	case EventError:
		return pusherError(e)
	case EventJoin, EventLeave, EventMembers:
		return pusherPresence(e)
	case EventSignedIn:
		return "pusher:signin_success", append(appendQuoted([]byte(`{"user_data":`), e.UserData), '}')
	case EventCacheMiss:
		return "pusher:cache_miss", []byte("{}")
	case EventSubscriptionCount:
		return "pusher_internal:subscription_count", append(strconv.AppendInt([]byte(`{"subscription_count":`), int64(e.Count), 10), '}')
	}
	return "", nil
}

const (
	subscriptionError = "pusher:subscription_error"
	pusherErrorEvent  = "pusher:error"
)

// endTexts say what clients can do about a subscription that has ended.
var endTexts = [NumEndReasons]string{
	EndExpired: "the permission for this channel has expired: subscribe again",
	EndRevoked: "the login no longer opens this channel",
	EndControl: "the application has ended this subscription",
}

// pusherError returns the event for a command that was refused.
func pusherError(e Event) (name string, data []byte) {
	if e.Command == CommandSubscribe && e.Channel != "" {
		return subscriptionError, pusherRefusal(e)
	}
	b := appendQuoted([]byte(`{"message":`), cmp.Or(e.Message, e.Code.Message()))
	b = append(b, `,"code":`...)
	switch {
	case e.Code == CodeRateLimited:
		b = append(b, "4301"...)
	case e.Command == CommandSignin:
		b = append(b, "4009"...)
	default:
		b = append(b, "null"...)
	}
	return pusherErrorEvent, append(b, '}')
}

// pusherRefusal returns the data of an event about a subscription that was
// refused or has ended.
func pusherRefusal(e Event) []byte {
	b := appendQuoted([]byte(`{"type":"AuthError","error":`), cmp.Or(e.Message, e.Code.Message()))
	return append(strconv.AppendInt(append(b, `,"status":`...), int64(e.Code.status()), 10), '}')
}

// status returns the HTTP status that has the meaning of the code.
func (c Code) status() int {
	switch c {
	case CodeUnauthorized:
		return 401
	case CodeForbidden:
		return 403
	case CodeRateLimited:
		return 429
	case CodeTooLarge:
		return 413
	case CodeUnavailable:
		return 503
	}
	return 400
}

// pusherPresence returns the event about the members of a channel. A client
// replaces all that it knows by those of a second subscription_succeeded. There
// is no event for a channel with too many members for a list.
func pusherPresence(e Event) (name string, data []byte) {
	switch {
	case e.Type == EventJoin:
		b := appendQuoted([]byte(`{"user_id":`), e.User)
		return "pusher_internal:member_added", append(append(append(b, `,"user_info":`...), infoOrNull(e.Info)...), '}')
	case e.Type == EventLeave:
		return "pusher_internal:member_removed", append(appendQuoted([]byte(`{"user_id":`), e.User), '}')
	case e.Members != nil:
		return "pusher_internal:subscription_succeeded", pusherMembers(e)
	}
	return "", nil
}

// pusherMembers returns the data of an answer to a subscribe, or {} if the client
// has not asked for the members.
func pusherMembers(e Event) []byte {
	if !strings.HasPrefix(e.Channel, "presence-") {
		return []byte("{}")
	}
	count := 0
	ids := make([]byte, 0, len(e.Members))
	b := make([]byte, 0, 2*len(e.Members)+64)
	for user := range membersOf(e.Members) {
		if count++; count > 1 {
			ids = append(ids, ',')
		}
		ids = append(ids, user...)
	}
	b = appendCountField(append(b, `{"presence":{`...), max(e.Count, count))
	b = append(append(append(b, `,"ids":[`...), ids...), `],"hash":{`...)
	for user, info := range membersOf(e.Members) {
		b = append(append(append(append(b, user...), ':'), infoOrNull(info)...), ',')
	}
	if count > 0 {
		b = b[:len(b)-1]
	}
	return append(b, "}}}"...)
}

func appendCountField(b []byte, count int) []byte {
	return strconv.AppendInt(append(b, `"count":`...), int64(count), 10)
}

func infoOrNull(info []byte) []byte {
	if len(info) == 0 {
		return []byte("null")
	}
	return info
}

// Close returns a close frame with a code of the protocol. A client does not
// reconnect after 4000-4099; it waits for a second after 4100-4199, and does not
// wait after 4200-4299. So codes that say that something is over for good are in
// the first range, and no others.
func (Pusher) Close(code CloseCode) []byte {
	frame := CloseFrame(code)
	if number := pusherCode(code); number != code.Number() {
		frame[2], frame[3] = byte(number>>8), byte(number)
	}
	return slices.Clip(frame)
}

// pusherCode returns the number of a code. Those of WebSocket itself stay.
func pusherCode(code CloseCode) uint16 {
	switch code.Plain() {
	case CloseGoingAway, CloseRestart:
		return 4200
	case CloseTryLater, CloseSlow, ClosePolicy, CloseGap:
		return 4100
	case CloseUnauthorized:
		if code == CloseUnauthorized.Because(ReasonExpired) {
			return 4200
		}
		return 4009
	case CloseForbidden, CloseKicked:
		return 4009
	case CloseUnknownApp:
		return 4001
	case CloseVersion:
		return 4007
	}
	return code.Number()
}
