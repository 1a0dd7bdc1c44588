package relaytest

import (
	"encoding/json"
	"sync"
	"unicode/utf8"
)

// serverFrame has the fields of all frames that a relay sends in sidecast.v1.
type serverFrame struct {
	Type      string          `json:"type"`
	Ref       json.RawMessage `json:"ref"`
	Session   string          `json:"session"`
	Channel   *string         `json:"channel"`
	Recovered *bool           `json:"recovered"`
	Offline   bool            `json:"offline"`
	Cursor    string          `json:"cursor"`
	At        string          `json:"at"`
	Data      *string         `json:"data"`
	Base64    *[]byte         `json:"base64"`
	Reason    string          `json:"reason"`
	Code      string          `json:"code"`
	Message   string          `json:"message"`
	Count     int             `json:"count"`
}

var serverKinds = map[string]Kind{
	"welcome": KindWelcome, "subscribed": KindSubscribed, "unsubscribed": KindUnsubscribed, "message": KindMessage,
	"gap": KindGap, "offline": KindOffline, "heartbeat": KindHeartbeat, "pong": KindPong, "ok": KindOK, "error": KindError,
}

// decodeV1 reads one frame of sidecast.v1 and returns its event, without time
// and number. If no relay may send the frame, the error is a wireError.
func decodeV1(text []byte) (Event, error) {
	if !utf8.Valid(text) {
		return Event{}, wireErrorf("a text frame is not UTF-8: %.100q", text)
	}
	var f serverFrame
	if err := json.Unmarshal(text, &f); err != nil {
		return Event{}, wireErrorf("not a JSON object of sidecast.v1 (%v): %.100q", err, text)
	}
	e := Event{Kind: serverKinds[f.Type], Cursor: f.Cursor, Text: f.Reason, Offline: f.Offline}
	if f.Channel != nil {
		e.Channel = *f.Channel
	}
	if len(f.Ref) > 0 {
		_ = json.Unmarshal(f.Ref, &e.Ref) // a command that a test has written may have a string as its ref
	}
	switch e.Kind {
	case 0:
		e.Kind, e.Text, e.Data = KindOther, f.Type, string(text)
	case KindWelcome:
		e.Text = f.Session
	case KindHeartbeat:
		e.Cursor = f.At
	case KindError:
		e.Text, e.Data = f.Code, f.Message
	case KindSubscribed:
		if f.Recovered == nil {
			return e, wireErrorf("subscribed without recovered: %.200q", text)
		}
		e.Recovered = *f.Recovered
		if f.Count > 0 {
			e.Data = string(text)
		}
	case KindMessage:
		if (f.Data == nil) == (f.Base64 == nil) {
			return e, wireErrorf("a message needs data or base64, not both: %.100q", text)
		}
		if e.Binary = f.Base64 != nil; e.Binary {
			e.Data = string(*f.Base64)
		} else {
			e.Data = *f.Data
		}
	}
	return e, missing(e, f)
}

// missing returns an error if a field that the frame needs is missing.
func missing(e Event, f serverFrame) error {
	field := ""
	switch e.Kind {
	case KindMessage, KindSubscribed, KindUnsubscribed:
		if f.Channel == nil {
			field = "channel"
		}
	case KindGap, KindOffline:
		if f.Reason == "" {
			field = "reason"
		}
	case KindError:
		if f.Code == "" {
			field = "code"
		}
	case KindWelcome:
		if f.Session == "" {
			field = "session"
		}
	}
	if field != "" {
		return wireErrorf("%s without %s", e.Kind, field)
	}
	return nil
}

// messageCache keeps messages by their frames, so that a message that thousands
// of clients receive is decoded and kept once. The zero value is ready to use.
// It only grows, and lives as long as its [Dialer]. It may be used
// concurrently.
type messageCache struct {
	mu     sync.RWMutex
	events map[messageKey]Event
}

type messageKey struct {
	protocol Protocol
	op       byte
	frame    string
}

// decode returns the event of a text or binary message.
func (c *messageCache) decode(p Protocol, op byte, payload []byte) (Event, error) {
	c.mu.RLock()
	e, ok := c.events[messageKey{p, op, string(payload)}]
	c.mu.RUnlock()
	if ok {
		return e, nil
	}
	e, err := decode(p, op, payload)
	if err != nil || e.Kind != KindMessage {
		return e, err
	}
	key := messageKey{p, op, string(payload)}
	if p == Raw {
		e.Data = key.frame
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.events == nil {
		c.events = make(map[messageKey]Event)
	}
	if first, ok := c.events[key]; ok {
		return first, nil
	}
	c.events[key] = e
	return e, nil
}

func decode(p Protocol, op byte, payload []byte) (Event, error) {
	switch {
	case p == Raw && op == OpText && !utf8.Valid(payload):
		return Event{}, wireErrorf("a text frame is not UTF-8: %.100q", payload)
	case p == Raw:
		return Event{Kind: KindMessage, Binary: op == OpBinary, Data: string(payload)}, nil
	case op != OpText:
		return Event{}, wireErrorf("a binary frame in sidecast.v1: %.100q", payload)
	}
	return decodeV1(payload)
}
