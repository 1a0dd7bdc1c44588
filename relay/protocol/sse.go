package protocol

import (
	"bytes"
	"encoding/base64"
	"slices"
	"strconv"
	"unicode/utf8"
)

// SSE is the protocol of an event stream (Server-Sent Events, HTML section 9.2)
// of one channel: the data of each event is the payload. The zero value is
// ready for use.
//
// Each message has an id, its cursor: a browser repeats the last one when it
// reconnects. Notices are events with a name, which pages that do not listen
// for it do not see. Blocks are never merged or split, so one frame may serve
// any number of streams, over any version of HTTP.
type SSE struct{}

// SSEJSON is the protocol of an event stream of any number of channels: the data
// of each event is the JSON object that [V1] sends. The id also says to which
// channel the cursor belongs: see [AppendEventID]. The zero value is ready for
// use.
type SSEJSON struct{}

var (
	_ Protocol    = SSE{}
	_ PlaceLister = SSEJSON{}
)

const (
	sseID     = "id: "
	sseData   = "data: "
	sseBase64 = "event: base64\n"
)

// ID implements [Protocol].
func (SSE) ID() ID { return SSEID }

// ID implements [Protocol].
func (SSEJSON) ID() ID { return SSEJSONID }

// Message returns an event whose data is the payload. A payload that an event
// stream cannot contain, because it is not UTF-8 or has a carriage return,
// becomes an event named base64.
func (SSE) Message(_ string, cursor, payload []byte) []byte {
	size := 1 + len(sseData) + 1
	if len(cursor) > 0 {
		size += len(sseID) + len(cursor) + 1
	}
	if !utf8.Valid(payload) || bytes.IndexByte(payload, '\r') >= 0 {
		size += len(sseBase64) + base64.StdEncoding.EncodedLen(len(payload))
		b := append(appendIDLine(make([]byte, 0, size), cursor, ""), sseBase64...)
		b = base64.StdEncoding.AppendEncode(append(b, sseData...), payload)
		return append(b, '\n', '\n')
	}
	size += len(payload) + len(sseData)*bytes.Count(payload, newline)
	b := appendIDLine(make([]byte, 0, size), cursor, "")
	for {
		line, rest, more := bytes.Cut(payload, newline)
		b = append(append(append(b, sseData...), line...), '\n')
		if !more {
			return append(b, '\n')
		}
		payload = rest
	}
}

var newline = []byte("\n")

// Message returns an event whose data is the JSON object that [V1.Message]
// sends.
func (SSEJSON) Message(channel string, cursor, payload []byte) []byte {
	channel = validUTF8(channel)
	object, text := messageSize(channel, cursor, payload)
	size := len(sseData) + object + 2
	if len(cursor) > 0 {
		size += len(sseID) + len(cursor) + 1 + tagSize + 1
	}
	b := appendIDLine(make([]byte, 0, size), cursor, channel)
	return append(appendMessage(append(b, sseData...), channel, cursor, payload, text), '\n', '\n')
}

// appendIDLine appends the line with a cursor, or nothing if there is none: an
// empty id would make the browser forget the last one. The cursor gets the tag
// of the channel, unless the channel is empty.
func appendIDLine(b, cursor []byte, channel string) []byte {
	if len(cursor) == 0 {
		return b
	}
	b = append(append(b, sseID...), cursor...)
	if channel != "" {
		b = appendTag(append(b, '~'), channel)
	}
	return append(b, '\n')
}

// Event implements [Protocol]. The channel of a bare payload is known, so ids
// have no tag.
func (SSE) Event(e Event) []byte {
	if e.Type == EventWelcome {
		if !e.Offline {
			return nil
		}
		e = Event{Type: EventOffline}
	}
	return sseEvent(e, "")
}

// Event implements [Protocol]. A cursor of an event without a channel is valid
// for all channels, or is a complete id.
func (SSEJSON) Event(e Event) []byte { return sseEvent(e, e.Channel) }

// WithPlaces returns the blocks with one more id at their end, which is a list:
// of the ids of a block, browsers keep the last one.
func (SSEJSON) WithPlaces(blocks []byte, places []Place) []byte {
	var id []byte
	for _, p := range places {
		id = AppendEventID(id, p.Cursor, p.Channel)
	}
	blocks = bytes.TrimSuffix(blocks, newline)
	b := append(make([]byte, 0, len(blocks)+len(sseID)+len(id)+2), blocks...)
	return append(appendIDLine(b, id, ""), '\n')
}

// sseEvent returns the block of an event, or nil if a client that sends no
// commands does not receive it. The id has the tag of the channel, unless it is
// empty.
func sseEvent(e Event, tagged string) []byte {
	b := make([]byte, 0, 192)
	switch e.Type {
	case EventWelcome:
		b = appendEventBlock(b, "welcome", e)
	case EventOffline:
		b = appendEventBlock(b, "offline", e)
	case EventGap:
		b = appendEventBlock(appendIDLine(b, e.Cursor, tagged), "gap", e)
	case EventSubscribed:
		if e.Resumed && !e.Recovered && !e.GapNext {
			b = appendUnrecovered(b, e)
		}
		if len(e.Cursor) == 0 {
			break
		}
		return append(appendIDLine(b, e.Cursor, tagged), '\n')
	case EventHeartbeat:
		if len(e.Cursor) == 0 {
			return append(b, ":\n\n"...) // a comment
		}
		return append(appendIDLine(b, e.Cursor, ""), '\n')
	}
	if len(b) == 0 {
		return nil
	}
	return b
}

// appendEventBlock appends an event with a name, whose data is v1's JSON object.
func appendEventBlock(b []byte, name string, e Event) []byte {
	b = append(append(append(b, "event: "...), name...), '\n')
	return append(appendEvent(append(b, sseData...), e), '\n', '\n')
}

// appendUnrecovered appends the gap in place of v1's "recovered":false.
func appendUnrecovered(b []byte, e Event) []byte {
	b = append(b, "event: gap\n"+sseData+`{"type":"gap"`...)
	if !e.All {
		b = appendOptional(b, "channel", e.Channel)
	}
	b = appendField(b, "reason", "unrecovered")
	b = appendSpread(appendOptional(b, "cursor", e.Cursor), e.Spread)
	return append(b, '}', '\n', '\n')
}

// Ping implements [Protocol]. An event stream has no answer to a ping.
func (SSE) Ping(at []byte) []byte { return ssePing(at) }

// Ping implements [Protocol]. An event stream has no answer to a ping.
func (SSEJSON) Ping(at []byte) []byte { return ssePing(at) }

func ssePing(at []byte) []byte {
	return slices.Clip(sseEvent(Event{Type: EventHeartbeat, Cursor: at}, ""))
}

// Close returns the last event of a stream.
func (SSE) Close(code CloseCode) []byte { return sseClose(code) }

// Close returns the last event of a stream.
func (SSEJSON) Close(code CloseCode) []byte { return sseClose(code) }

func sseClose(code CloseCode) []byte {
	b := strconv.AppendUint([]byte("event: close\n"+sseData+`{"code":`), uint64(code.Number()), 10)
	return slices.Clip(append(appendOptional(b, "reason", code.Reason()), '}', '\n', '\n'))
}

// Decode implements [Protocol]. A client of an event stream sends nothing.
func (SSE) Decode([]byte, bool) (Command, CloseCode) { return Command{}, ClosePolicy }

// Decode implements [Protocol]. A client of an event stream sends nothing.
func (SSEJSON) Decode([]byte, bool) (Command, CloseCode) { return Command{}, ClosePolicy }

// AppendRetry appends the line that tells a browser to wait for so many
// milliseconds before it reconnects. It does not end the block.
func AppendRetry(b []byte, milliseconds int) []byte {
	return append(strconv.AppendInt(append(b, "retry: "...), int64(milliseconds), 10), '\n')
}
