package protocol

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"slices"
	"strconv"
	"unicode/utf8"
)

// V1 is the subprotocol sidecast.v1: each text frame is one JSON object, in
// both directions. The zero value is ready for use.
type V1 struct{}

var _ Protocol = V1{}

// maxRef is the maximum size of a client's "ref", in bytes of JSON.
const maxRef = 64

// ID implements [Protocol].
func (V1) ID() ID { return V1ID }

const (
	messageHead   = `{"type":"message","channel":`
	messageCursor = `,"cursor":"`
	messageData   = `,"data":`
	messageBase64 = `,"base64":`
)

// Message returns {"type":"message","channel":..,"cursor":..,"data":..}. If the
// payload is not UTF-8, "base64" replaces "data". If cursor is empty, there is
// no "cursor".
func (V1) Message(channel string, cursor, payload []byte) []byte {
	channel = validUTF8(channel)
	size, text := messageSize(channel, cursor, payload)
	return appendMessage(NewFrame(OpText, size), channel, cursor, payload, text)
}

// validUTF8 returns s with U+FFFD in place of each byte that is not UTF-8.
func validUTF8(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	return string([]rune(s))
}

// messageSize returns the number of bytes that appendMessage appends, and
// whether the payload is text. channel must be valid UTF-8.
func messageSize(channel string, cursor, payload []byte) (size int, text bool) {
	size = len(messageHead) + quotedSize(channel) + 1
	if len(cursor) > 0 {
		size += len(messageCursor) + len(cursor) + 1
	}
	if utf8.Valid(payload) {
		return size + len(messageData) + quotedSize(payload), true
	}
	return size + len(messageBase64) + base64.StdEncoding.EncodedLen(len(payload)) + 2, false
}

// appendMessage appends the JSON object of a message.
func appendMessage(b []byte, channel string, cursor, payload []byte, text bool) []byte {
	b = appendQuoted(append(b, messageHead...), channel)
	if len(cursor) > 0 {
		b = append(append(append(b, messageCursor...), cursor...), '"')
	}
	if text {
		return append(appendQuoted(append(b, messageData...), payload), '}')
	}
	b = base64.StdEncoding.AppendEncode(append(append(b, messageBase64...), '"'), payload)
	return append(b, '"', '}')
}

// Ping returns a heartbeat, which pages can see, followed by a ping frame,
// which they cannot see.
func (v V1) Ping(at []byte) []byte {
	return slices.Clip(append(v.Event(Event{Type: EventHeartbeat, Cursor: at}), pingFrame...))
}

// Close implements [Protocol].
func (V1) Close(code CloseCode) []byte { return closeFrame(code) }

// Event implements [Protocol]. Some events are only for clients of the Pusher
// protocol.
func (V1) Event(e Event) []byte {
	switch e.Type {
	case EventSignedIn, EventCacheMiss, EventSubscriptionCount:
		return nil
	}
	return textFrame(appendEvent(make([]byte, 0, 160+len(e.Members)), e))
}

// appendEvent appends the JSON object of an event.
func appendEvent(b []byte, e Event) []byte {
	switch e.Type {
	case EventWelcome:
		b = appendField(append(b, `{"type":"welcome"`...), "session", e.Session)
		b = appendOptional(b, "user", e.User)
		b = appendOptional(b, "socket_id", e.SocketID)
		b = append(b, `,"heartbeat":`...)
		b = strconv.AppendInt(b, int64(e.Heartbeat), 10)
		if e.Offline {
			b = append(b, `,"offline":true`...)
		}
	case EventSubscribed:
		b = appendField(append(b, `{"type":"subscribed"`...), "channel", e.Channel)
		b = append(b, `,"recovered":`...)
		b = strconv.AppendBool(b, e.Recovered)
		if e.Durable {
			b = append(b, `,"durable":true`...)
		}
		b = appendOptional(b, "cursor", e.Cursor)
		b = appendSpread(b, e.Spread)
		if e.Count > 0 {
			b = appendMembers(b, e)
		}
	case EventUnsubscribed:
		b = appendField(append(b, `{"type":"unsubscribed"`...), "channel", e.Channel)
		b = appendOptional(b, "reason", e.Ended.String())
	case EventGap:
		b = appendOptional(append(b, `{"type":"gap"`...), "channel", e.Channel)
		b = appendField(b, "reason", e.Reason.String())
		b = appendOptional(b, "cursor", e.Cursor)
		b = appendSpread(b, e.Spread)
	case EventHeartbeat:
		b = appendOptional(append(b, `{"type":"heartbeat"`...), "at", e.Cursor)
	case EventOffline:
		b = append(b, `{"type":"offline","reason":"redis"`...)
	case EventPong:
		b = append(b, `{"type":"pong"`...)
	case EventOK:
		b = append(b, `{"type":"ok"`...)
	case EventError:
		b = appendField(append(b, `{"type":"error"`...), "code", e.Code.String())
		b = appendField(b, "message", cmp.Or(e.Message, e.Code.Message()))
		b = appendOptional(b, "channel", e.Channel)
	case EventJoin, EventLeave, EventMembers:
		b = appendPresence(b, e)
	}
	if e.Ref != nil {
		b = append(append(b, `,"ref":`...), e.Ref...)
	}
	return append(b, '}')
}

func appendSpread(b []byte, ms int) []byte {
	if ms == 0 {
		return b
	}
	return strconv.AppendInt(append(b, `,"spread":`...), int64(ms), 10)
}

// Decode decodes one command. It returns [CloseBadData] unless data is a JSON
// object in a text frame. If the object is not a valid command, the Command has
// a Fault.
func (V1) Decode(data []byte, text bool) (Command, CloseCode) {
	if !text || !json.Valid(data) || !isObject(data) {
		return Command{}, CloseBadData.Because(ReasonJSON)
	}
	f, problem := decodeFrame(data)
	cmd := Command{Type: commandTypes[f.Type], Channel: f.Channel}
	switch {
	case string(f.Ref) == "null":
	case !validRef(f.Ref):
		problem = "ref must be a number or a string of at most 64 bytes"
	default:
		cmd.Ref = f.Ref
	}
	if problem == "" {
		problem = f.fill(&cmd)
	}
	if problem != "" {
		cmd.Fault, cmd.Problem = CodeBadRequest, problem
	}
	return cmd, 0
}

// IsCommand reports whether data is a command of sidecast.v1, valid or not.
func IsCommand(data []byte) bool {
	cmd, code := V1{}.Decode(data, true)
	return code == 0 && cmd.Type != CommandUnknown
}

var commandTypes = map[string]CommandType{
	"subscribe":   CommandSubscribe,
	"unsubscribe": CommandUnsubscribe,
	"publish":     CommandPublish,
	"ping":        CommandPing,
	"auth":        CommandAuth,
}
