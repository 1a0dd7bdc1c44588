package events

import (
	"bytes"
	"encoding/json"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"sidecast/relay/protocol"
)

// A Format is the format of a webhook's body.
type Format string

// The formats.
const (
	FormatJSON   Format = "json"
	FormatPusher Format = "pusher"
)

// PusherKey is the key that requests in Pusher's format name.
const PusherKey = "sidecast"

// An Event is one entry of the stream, as a webhook contains it.
type Event struct {
	Entry   string `json:"entry"` // its id in the stream
	Kind    string `json:"kind"`
	MS      int64  `json:"ms"` // when it happened, in unix milliseconds
	User    string `json:"user,omitempty"`
	Session string `json:"session,omitempty"`
	Channel string `json:"channel,omitempty"`
	Code    string `json:"code,omitempty"`
	Cursor  string `json:"cursor,omitempty"`
	ID      string `json:"id,omitempty"`
	Count   *int64 `json:"count,omitempty"`
}

// parse converts entries. Fields that are not known are ignored.
func parse(messages []redis.XMessage) []Event {
	events := make([]Event, len(messages))
	for i, m := range messages {
		text := func(name string) string { s, _ := m.Values[name].(string); return s }
		events[i] = Event{
			Entry: m.ID, Kind: text("kind"), User: text("user"), Session: text("session"), Channel: text("channel"),
			Code: text("code"), Cursor: text("cursor"), ID: text("id"),
		}
		events[i].MS, _ = strconv.ParseInt(text("ms"), 10, 64)
		if count, err := strconv.ParseInt(text("count"), 10, 64); err == nil {
			events[i].Count = &count
		}
	}
	return events
}

// body returns the body of a request.
func (f Format) body(batch []Event, now time.Time) []byte {
	var body any = struct {
		Events []Event `json:"events"`
	}{batch}
	if f == FormatPusher {
		body = pusherBody(batch, now)
	}
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(body) // there is nothing in it that cannot be encoded
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

// A pusherEvent is an event in the form of Pusher's webhooks. Pusher has names
// for two kinds; the others keep theirs after a prefix, with all their fields.
type pusherEvent struct {
	Name   string `json:"name"`
	UserID string `json:"user_id,omitempty"`
	*Event
}

var pusherNames = map[string]string{
	protocol.ReportJoined.String(): "member_added",
	protocol.ReportLeft.String():   "member_removed",
}

func pusherBody(batch []Event, now time.Time) any {
	events := make([]any, len(batch))
	for i, e := range batch {
		if name, ok := pusherNames[e.Kind]; ok {
			events[i] = struct {
				Name    string `json:"name"`
				Channel string `json:"channel"`
				UserID  string `json:"user_id"`
			}{name, e.Channel, e.User}
			continue
		}
		events[i] = pusherEvent{Name: "sidecast:" + e.Kind, UserID: e.User, Event: &e}
	}
	return struct {
		TimeMS int64 `json:"time_ms"`
		Events []any `json:"events"`
	}{now.UnixMilli(), events}
}
