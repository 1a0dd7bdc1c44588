package protocol

import (
	"encoding/json"
	"strings"
)

// A pusherFrame holds the fields that a client of the Pusher protocol may send.
type pusherFrame struct {
	Event   *string         `json:"event"`
	Channel string          `json:"channel"`
	Data    json.RawMessage `json:"data"`
}

// pusherData holds the fields of the data of the protocol's own events.
type pusherData struct {
	Channel     string `json:"channel"`
	Auth        string `json:"auth"`
	ChannelData string `json:"channel_data"`
	UserData    string `json:"user_data"`
}

// maxEventName bounds the name of an event that a client sends, in bytes.
const maxEventName = 200

// Problems with what clients send.
const (
	notPusherObject    = `a message must be a JSON object, like {"event":"pusher:subscribe","data":{"channel":"NAME"}}`
	unknownPusherEvent = "unknown event: send pusher:subscribe, pusher:unsubscribe, pusher:ping, pusher:signin, or an event whose name begins with client-"
	wrongPusherData    = "data must be an object whose fields are strings"
)

// Decode decodes one event of a client. What is not a valid event has a Fault.
func (Pusher) Decode(data []byte, text bool) (Command, CloseCode) {
	var f pusherFrame
	if !text || !isObject(data) || json.Unmarshal(data, &f) != nil {
		return pusherFault(CommandUnknown, notPusherObject), 0
	}
	if f.Event == nil {
		return pusherFault(CommandUnknown, "event is missing"), 0
	}
	if strings.HasPrefix(*f.Event, ClientEventPrefix) {
		return f.clientEvent(), 0
	}
	kind, known := pusherCommands[*f.Event]
	if !known {
		return pusherFault(CommandUnknown, unknownPusherEvent), 0
	}
	return f.command(kind), 0
}

var pusherCommands = map[string]CommandType{
	"pusher:subscribe":   CommandSubscribe,
	"pusher:unsubscribe": CommandUnsubscribe,
	"pusher:ping":        CommandPing,
	"pusher:pong":        CommandPong,
	"pusher:signin":      CommandSignin,
}

// pusherFault returns a command that is answered with an error.
func pusherFault(kind CommandType, problem string) Command {
	return Command{Type: kind, Fault: CodeBadRequest, Problem: problem}
}

// clientEvent returns the publish for an event of a client.
func (f *pusherFrame) clientEvent() Command {
	cmd := Command{Type: CommandPublish, Channel: f.Channel, Event: *f.Event, Data: f.Data, NoEcho: true}
	switch {
	case f.Channel == "":
		cmd.Fault, cmd.Problem = CodeBadRequest, "channel is missing"
	case len(*f.Event) > maxEventName:
		cmd.Fault, cmd.Problem = CodeBadRequest, "the name of an event has 200 bytes at most"
	case len(f.Data) == 0:
		cmd.Data = []byte("null")
	}
	return cmd
}

// command returns the command for one of the protocol's own events.
func (f *pusherFrame) command(kind CommandType) Command {
	d, ok := f.data()
	switch {
	case kind == CommandPing, kind == CommandPong:
		return Command{Type: kind}
	case !ok:
		return pusherFault(kind, wrongPusherData)
	case kind == CommandSignin:
		return Command{Type: kind, Auth: d.Auth, UserData: d.UserData}
	case d.Channel == "":
		return pusherFault(kind, "data.channel is missing")
	case kind == CommandUnsubscribe:
		return Command{Type: kind, Channel: d.Channel}
	}
	request := ChannelRequest{
		Channel: d.Channel, Auth: d.Auth, ChannelData: d.ChannelData, Presence: strings.HasPrefix(d.Channel, "presence-"),
	}
	if isCacheChannel(d.Channel) {
		request.Cached, request.Last = true, MaxLast
	}
	return Command{Type: kind, Channel: d.Channel, Subscribe: []ChannelRequest{request}}
}

// isCacheChannel reports whether a new subscriber of a channel first receives its
// last event.
func isCacheChannel(channel string) bool {
	for _, prefix := range []string{"private-encrypted-", "private-", "presence-"} {
		if rest, ok := strings.CutPrefix(channel, prefix); ok {
			channel = rest
			break
		}
	}
	return strings.HasPrefix(channel, "cache-")
}

// data returns the fields of an event's data, which some clients send as a string
// with JSON.
func (f *pusherFrame) data() (d pusherData, ok bool) {
	data := []byte(f.Data)
	if len(data) > 0 && data[0] == '"' {
		var inner string
		if json.Unmarshal(data, &inner) != nil {
			return d, false
		}
		data = []byte(inner)
	}
	if !isObject(data) {
		return d, false
	}
	return d, json.Unmarshal(data, &d) == nil
}
