package protocol

import (
	"bytes"
	"encoding/json"
	"strings"
	"unicode/utf8"
)

// An Envelope is a message in the form in which Laravel publishes it to Redis
// (Illuminate\Broadcasting\Broadcasters\RedisBroadcaster): a JSON object with the
// fields event, data and socket. Each field is JSON text in the memory of the
// payload, or nil if it is missing.
type Envelope struct {
	Event  []byte // a string
	Data   []byte
	Socket []byte // a string: the socket id of the session that does not receive the message
	User   []byte // a string: of a message that the relay published for a client, the member who sent it
}

// ParseEnvelope returns the fields of a payload, or false if it is no JSON object
// with an event. It allocates nothing.
func ParseEnvelope(payload []byte) (e Envelope, ok bool) {
	if !isObject(payload) || !utf8.Valid(payload) || !json.Valid(payload) {
		return Envelope{}, false
	}
	rest := bytes.TrimLeft(payload, jsonSpace)[1:]
	for {
		rest = bytes.TrimLeft(rest, jsonSpace+",")
		if rest[0] == '}' {
			break
		}
		name, after := cutValue(rest)
		value, after := cutValue(bytes.TrimLeft(after, jsonSpace+":"))
		switch string(name) {
		case `"event"`:
			e.Event = onlyString(value)
		case `"data"`:
			e.Data = value
		case `"socket"`:
			e.Socket = onlyString(value)
		case `"user_id"`:
			e.User = onlyString(value)
		}
		rest = after
	}
	return e, e.Event != nil
}

// IsClientEvent reports whether a client has sent the message: the relay publishes
// what clients send under names that begin with `client-`, and no others.
func (e Envelope) IsClientEvent() bool {
	return bytes.HasPrefix(e.Event, []byte(`"`+ClientEventPrefix))
}

// ClientEventPrefix begins the name of each event that a client sends.
const ClientEventPrefix = "client-"

// AppendEnvelope appends the envelope of an event that a client sends. data is
// JSON text; socket and user may be empty.
func AppendEnvelope(b []byte, event string, data []byte, socket, user string) []byte {
	b = appendQuoted(append(b, `{"event":`...), event)
	b = append(append(b, `,"data":`...), data...)
	b = append(b, `,"socket":`...)
	if socket == "" {
		b = append(b, "null"...)
	} else {
		b = appendQuoted(b, socket)
	}
	return append(appendOptional(b, "user_id", user), '}')
}

// ClientEvent returns what a client that does not speak the Pusher protocol
// publishes as an event: the payload itself if it is an object with an event
// whose name begins with `client-`, or else `client-message` with the payload as
// a string. named is false for the latter.
func ClientEvent(payload []byte) (event string, data []byte, named bool) {
	if e, ok := ParseEnvelope(payload); ok && e.IsClientEvent() && json.Unmarshal(e.Event, &event) == nil {
		if data = e.Data; data == nil {
			data = []byte("null")
		}
		return event, data, true
	}
	return ClientEventPrefix + "message", appendQuoted(nil, payload), false
}

const jsonSpace = " \t\r\n"

// cutValue splits valid JSON text after its first value.
func cutValue(b []byte) (value, rest []byte) {
	depth := 0
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case c == '"':
			i += stringEnd(b[i:]) - 1
			if depth == 0 {
				return b[:i+1], b[i+1:]
			}
		case c == '{', c == '[':
			depth++
		case depth == 0 && strings.IndexByte(",:}]"+jsonSpace, c) >= 0: // after a number or a literal
			return b[:i], b[i:]
		case c == '}', c == ']':
			if depth--; depth == 0 {
				return b[:i+1], b[i+1:]
			}
		}
	}
	return b, nil
}

// stringEnd returns the length of the JSON string with which b begins.
func stringEnd(b []byte) int {
	for i := 1; i < len(b); i++ {
		switch b[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return len(b)
}

// onlyString returns JSON text if it is a string, or else nil.
func onlyString(value []byte) []byte {
	if len(value) == 0 || value[0] != '"' {
		return nil
	}
	return value
}
