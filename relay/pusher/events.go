package pusher

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// Limits of one request.
const (
	maxChannels  = 100 // of an event
	maxBatch     = 10  // events
	maxEventName = 200 // bytes
	maxSocketID  = 64  // bytes
)

// An eventBody describes an event as applications send it. The name and the data
// are kept as they are written, so that clients receive the very same text.
type eventBody struct {
	Name     json.RawMessage `json:"name"`
	Data     json.RawMessage `json:"data"`
	Channel  *string         `json:"channel"`
	Channels []string        `json:"channels"`
	SocketID *string         `json:"socket_id"`
	Info     string          `json:"info"`
}

// An event is published to channels.
type event struct {
	channels []string // each once
	payload  []byte   // the envelope
	info     info
}

// events publishes one event.
func (a *api) events(ctx context.Context, r request) (any, *refusal) {
	var body eventBody
	if refused := decode(r.body, &body); refused != nil {
		return nil, refused
	}
	e, refused := a.event(&body)
	if refused != nil {
		return nil, refused
	}
	answers, refused := a.publish(ctx, e)
	if refused != nil || !e.info.any() {
		return nil, refused
	}
	return map[string]any{"channels": answers[0]}, nil
}

// batch publishes several events, each to one channel.
func (a *api) batch(ctx context.Context, r request) (any, *refusal) {
	var body struct {
		Batch []eventBody `json:"batch"`
	}
	if refused := decode(r.body, &body); refused != nil {
		return nil, refused
	}
	if len(body.Batch) == 0 || len(body.Batch) > maxBatch {
		return nil, invalid("%d events in batch: write 1 to %d", len(body.Batch), maxBatch)
	}
	list, asked := make([]event, len(body.Batch)), false
	for i := range body.Batch {
		if len(body.Batch[i].Channels) > 0 {
			return nil, invalid("event %d: it has channels, but an event of a batch has one channel", i+1)
		}
		e, refused := a.event(&body.Batch[i])
		if refused != nil {
			inEvent := *refused
			inEvent.problem = fmt.Sprintf("event %d: %s", i+1, refused.problem)
			return nil, &inEvent
		}
		list[i], asked = e, asked || e.info.any()
	}
	answers, refused := a.publish(ctx, list...)
	if refused != nil || !asked {
		return nil, refused
	}
	flat := make([]attributes, len(list))
	for i, e := range list {
		flat[i] = answers[i][e.channels[0]]
	}
	return map[string]any{"batch": flat}, nil
}

// decode parses a body. Fields that it does not know are ignored.
func decode(body []byte, into any) *refusal {
	if !utf8.Valid(body) {
		return invalid("the body is not UTF-8")
	}
	err := json.Unmarshal(body, into)
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok && wrong.Field != "" {
		return invalid("%s has the wrong type", wrong.Field)
	}
	if err != nil {
		return invalid("the body is not a JSON object like {\"name\":\"event\",\"channels\":[\"channel\"],\"data\":\"{}\"}")
	}
	return nil
}

// event checks an event, and returns it as it is published.
func (a *api) event(body *eventBody) (event, *refusal) {
	if refused := checkName(body.Name); refused != nil {
		return event{}, refused
	}
	if len(body.Data) == 0 || body.Data[0] != '"' {
		return event{}, invalid("data must be a string: encode it as JSON before you encode the whole event")
	}
	socket, refused := socketOf(body)
	if refused != nil {
		return event{}, refused
	}
	var e event
	if e.channels, refused = a.channelsOf(body); refused != nil {
		return event{}, refused
	}
	if e.info, refused = parseInfo(body.Info); refused != nil {
		return event{}, refused
	}
	if e.payload = envelope(body.Name, body.Data, socket); len(e.payload) > a.MaxPayload {
		return event{}, tooLarge("the event has %d bytes with its name, more than the %d of SIDECAST_MAX_PAYLOAD_BYTES",
			len(e.payload), a.MaxPayload)
	}
	return e, nil
}

// checkName checks the name of an event, given as JSON.
func checkName(text json.RawMessage) *refusal {
	var name string
	if len(text) == 0 || text[0] != '"' || json.Unmarshal(text, &name) != nil || name == "" || len(name) > maxEventName {
		return invalid("name must be a string of 1 to %d bytes", maxEventName)
	}
	if strings.HasPrefix(name, "pusher:") || strings.HasPrefix(name, "pusher_internal:") {
		return invalid("names that begin with pusher: or pusher_internal: belong to the protocol: give the event another one")
	}
	return nil
}

// socketOf returns the id of the session that does not receive the event, or "".
// An id from another server, which a page had before, is valid: it is nobody's.
func socketOf(body *eventBody) (string, *refusal) {
	if body.SocketID == nil || *body.SocketID == "" {
		return "", nil
	}
	first, second, ok := strings.Cut(*body.SocketID, ".")
	if !ok || len(*body.SocketID) > maxSocketID || !isDigits(first) || !isDigits(second) {
		return "", invalid("socket_id must be the id of a connection, like 123.456, or be missing")
	}
	return *body.SocketID, nil
}

func isDigits(text string) bool { return text != "" && strings.Trim(text, "0123456789") == "" }

// channelsOf returns the channels of an event, each once.
func (a *api) channelsOf(body *eventBody) (list []string, refused *refusal) {
	named := body.Channels
	if body.Channel != nil {
		named = append(named, *body.Channel)
	}
	if len(named) == 0 || len(named) > maxChannels {
		return nil, invalid("%d channels: name 1 to %d in channels, or one in channel", len(named), maxChannels)
	}
	for _, channel := range named {
		if refused := a.checkChannel(channel); refused != nil {
			return nil, refused
		}
		if !slices.Contains(list, channel) {
			list = append(list, channel)
		}
	}
	return list, nil
}

// envelope returns an event as Laravel publishes it. name and data are JSON;
// socket has only digits and a dot.
func envelope(name, data json.RawMessage, socket string) []byte {
	if socket == "" {
		socket = "null"
	} else {
		socket = `"` + socket + `"`
	}
	return slices.Concat([]byte(`{"event":`), name, []byte(`,"data":`), data, []byte(`,"socket":`+socket+`}`))
}

// publish publishes events, one message after the other, and stops at the first
// that fails. It returns the attributes of the channels of each event. They are
// read first: if that fails, nothing is published.
func (a *api) publish(ctx context.Context, events ...event) ([]map[string]attributes, *refusal) {
	answers, messages := make([]map[string]attributes, len(events)), 0
	for i, e := range events {
		messages += len(e.channels)
		answers[i] = make(map[string]attributes, len(e.channels))
		for _, channel := range e.channels {
			attributes, refused := a.attributes(ctx, channel, e.info)
			if refused != nil {
				return nil, refused
			}
			answers[i][channel] = attributes
		}
	}
	published := 0
	for _, e := range events {
		for _, channel := range e.channels {
			if err := a.Publish(ctx, channel, e.payload); err != nil {
				return nil, unavailable(err, "Redis is unavailable: published %d of %d messages, and Redis has not confirmed the one on %q, "+
					"which may have been delivered; the relay's log says why", published, messages, channel)
			}
			published++
		}
	}
	return answers, nil
}
