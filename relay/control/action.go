package control

import (
	"encoding/json"
	"strings"
	"unicode/utf8"

	"sidecast/relay/access"
	"sidecast/relay/stats"
)

// An action is one control message.
type action struct {
	kind    stats.ControlAction
	who     access.Subject
	channel string // subscribe, unsubscribe
	id      string // by which the application recognizes the answer; empty: no answer
}

// maxID is the longest id of an action, in bytes.
const maxID = 64

// Problems with a control message. They are constant, because the message is
// not logged.
const (
	problemObject   = "it is not a JSON object"
	problemUTF8     = "it is not UTF-8"
	problemAction   = `action must be "disconnect", "subscribe", "unsubscribe" or "refresh"`
	problemNobody   = "user, session or token is missing"
	problemSeveral  = "user, session and token: only one of them is possible"
	problemUser     = "user must be the id of a user: a string of 1 to 128 bytes, or a whole number"
	problemSession  = "session must be the id of a session, as in the frame welcome"
	problemToken    = "token must be the id of a token (jti): a string, or a number"
	problemChannel  = "channel must be the name of a channel"
	problemRelayed  = "channel is not relayed: SIDECAST_CHANNELS does not match it, or it is reserved"
	problemID       = "id must be a string of at most 64 bytes, or a number"
	problemOverflow = "too many control messages wait: this one is dropped"
)

var actionNames = map[string]stats.ControlAction{
	"disconnect": stats.ControlDisconnect, "subscribe": stats.ControlSubscribe,
	"unsubscribe": stats.ControlUnsubscribe, "refresh": stats.ControlRefresh,
}

// parseAction parses a control message, or returns the problem with it. Fields
// that it does not know are ignored.
func parseAction(payload []byte) (a action, problem string) {
	var fields map[string]json.RawMessage
	switch {
	case !utf8.Valid(payload):
		return a, problemUTF8
	case json.Unmarshal(payload, &fields) != nil || fields == nil:
		return a, problemObject
	}
	name, _ := textOf(fields["action"], false)
	kind, known := actionNames[name]
	if !known {
		return a, problemAction
	}
	a.kind = kind
	if a.who, problem = parseSubject(fields); problem != "" {
		return a, problem
	}
	if kind == stats.ControlSubscribe || kind == stats.ControlUnsubscribe {
		if a.channel, _ = textOf(fields["channel"], false); !access.ValidChannel(a.channel) {
			return a, problemChannel
		}
	}
	if isSet(fields["id"]) {
		var ok bool
		if a.id, ok = textOf(fields["id"], true); !ok || a.id == "" || len(a.id) > maxID {
			return a, problemID
		}
	}
	return a, ""
}

// parseSubject returns whom an action concerns.
func parseSubject(fields map[string]json.RawMessage) (who access.Subject, problem string) {
	found := 0
	for kind, name := range access.SubjectKinds {
		if isSet(fields[name]) {
			who.Kind = access.SubjectKind(kind)
			found++
		}
	}
	switch {
	case found == 0:
		return who, problemNobody
	case found > 1:
		return who, problemSeveral
	}
	value, wrong := fields[access.SubjectKinds[who.Kind]], [...]string{problemUser, problemSession, problemToken}[who.Kind]
	text, ok := textOf(value, who.Kind != access.SubjectSession)
	if !ok || text == "" || who.Kind == access.SubjectUser && !validUser(value, text) {
		return who, wrong
	}
	who.Name = text
	return who, ""
}

// validUser reports whether a JSON value, whose text is given, is a user's id as
// the application's logins have it.
func validUser(value json.RawMessage, text string) bool {
	if value[0] == '"' {
		return access.ValidUser(text)
	}
	return len(text) <= 20 && strings.Trim(strings.TrimPrefix(text, "-"), "0123456789") == ""
}

func isSet(value json.RawMessage) bool { return len(value) > 0 && string(value) != "null" }

// textOf returns a JSON string, or a number as it is written if that is allowed.
func textOf(value json.RawMessage, number bool) (text string, ok bool) {
	switch {
	case len(value) == 0:
		return "", false
	case value[0] == '"':
		return text, json.Unmarshal(value, &text) == nil
	}
	if isNumber := value[0] == '-' || value[0] >= '0' && value[0] <= '9'; !isNumber || !number {
		return "", false
	}
	return string(value), true
}
