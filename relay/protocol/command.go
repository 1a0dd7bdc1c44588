package protocol

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
)

// A clientFrame holds the fields that a client may send. Unknown fields are
// ignored.
type clientFrame struct {
	Type        string          `json:"type"`
	Ref         json.RawMessage `json:"ref"`
	Channels    channelList     `json:"channels"`
	Channel     string          `json:"channel"`
	After       string          `json:"after"` // like at, since, last and presence: of a subscribe without a list
	At          string          `json:"at"`
	Since       string          `json:"since"`
	Last        int             `json:"last"`
	Sig         string          `json:"sig"`
	User        string          `json:"user"`
	Presence    bool            `json:"presence"`
	Auth        string          `json:"auth"`
	ChannelData string          `json:"channel_data"`
	Data        *string         `json:"data"`
	Base64      *string         `json:"base64"`
	Echo        *bool           `json:"echo"`
	Token       *string         `json:"token"`
}

type channelRequest struct {
	Channel string `json:"channel"`
	After   string `json:"after"`
	At      string `json:"at"`
	Since   string `json:"since"`
	Last    int    `json:"last"`
	Sig     string `json:"sig"`
	User    string `json:"user"`

	Presence bool `json:"presence"`

	Auth        string `json:"auth"`
	ChannelData string `json:"channel_data"`
}

// decodeFrame returns the fields of a JSON object. problem is a sentence about
// the first one that has a wrong type, or empty.
func decodeFrame(data []byte) (f clientFrame, problem string) {
	err := json.Unmarshal(data, &f)
	wrong, _ := errors.AsType[*json.UnmarshalTypeError](err)
	switch {
	case wrong != nil && wrongTypes[wrong.Field] != "":
		return f, wrongTypes[wrong.Field]
	case err != nil:
		return f, CodeBadRequest.Message()
	}
	return f, f.Channels.problem
}

// wrongTypes are the problems with a field that has a wrong type.
var wrongTypes = map[string]string{
	"type":         "type must be a string",
	"channel":      "channel must be a string",
	"after":        "after must be a string",
	"at":           "at must be a string",
	"since":        "since must be a string: the id of an entry, like \"1526919030474-55\"",
	"last":         "last must be a whole number from 0 to 100",
	"sig":          "sig must be a string: the text that the application signed with SIDECAST_CHANNEL_SECRET",
	"user":         "user must be a string",
	"presence":     "presence must be true or false",
	"auth":         "auth must be a string: the one that /broadcasting/auth returns",
	"channel_data": "channel_data must be a string: the one that /broadcasting/auth returns",
	"channels":     `channels must be a list, like [{"channel":"NAME"}]`,
	"data":         "data must be a string: use JSON.stringify for other values",
	"base64":       "base64 must be a string",
	"echo":         "echo must be true or false",
	"token":        "token must be a string",
}

// fill sets the fields of a command that its type needs, or returns the problem
// with them.
func (f *clientFrame) fill(cmd *Command) (problem string) {
	switch cmd.Type {
	case CommandSubscribe:
		cmd.Subscribe, problem = f.requests()
	case CommandPublish:
		cmd.Data, problem = f.payload()
		cmd.NoEcho = f.Echo != nil && !*f.Echo
	case CommandAuth:
		if f.Token == nil {
			return "token is missing"
		}
		cmd.Token = *f.Token
	case CommandUnknown:
		if f.Type == "" {
			cmd.Problem = "type is missing"
		}
	}
	if problem == "" && cmd.Channel == "" && (cmd.Type == CommandUnsubscribe || cmd.Type == CommandPublish) {
		if len(f.Channels.entries) > 0 {
			return "only subscribe takes channels: name one channel as channel"
		}
		return "channel is missing"
	}
	return problem
}

// ownRequest returns the fields of a subscribe without a list, but not its
// channel.
func (f *clientFrame) ownRequest() channelRequest {
	return channelRequest{
		After: f.After, At: f.At, Since: f.Since, Last: f.Last, Sig: f.Sig, User: f.User, Presence: f.Presence,
		Auth: f.Auth, ChannelData: f.ChannelData,
	}
}

// requests returns the channels of a subscribe. It may name one without a list.
func (f *clientFrame) requests() (list []ChannelRequest, problem string) {
	switch {
	case len(f.Channels.entries) > 0 && f.Channel != "":
		return nil, "channel and channels: send only one of them"
	case len(f.Channels.entries) > 0 && f.ownRequest() != channelRequest{}:
		return nil, `after, at, since, last, sig, user, auth, channel_data and presence belong to a channel of the list, like [{"channel":"NAME","after":".."}]`
	case f.Channel != "":
		request := f.ownRequest()
		request.Channel = f.Channel
		f.Channels.entries = []channelRequest{request}
	case len(f.Channels.entries) == 0:
		return nil, `channels is missing: send a list, like [{"channel":"NAME"}]`
	}
	list = make([]ChannelRequest, len(f.Channels.entries))
	for i, r := range f.Channels.entries {
		if list[i] = r.request(); r.Last < 0 || r.Last > MaxLast {
			return nil, wrongTypes["last"]
		}
	}
	return list, ""
}

func (r channelRequest) request() ChannelRequest {
	return ChannelRequest{
		Channel: r.Channel, After: r.After, At: r.At, Since: r.Since, Last: r.Last, Sig: r.Sig, User: r.User, Presence: r.Presence,
		Auth: r.Auth, ChannelData: r.ChannelData,
	}
}

// payload returns the payload of a publish, which must have exactly one of data
// and base64.
func (f *clientFrame) payload() (payload []byte, problem string) {
	switch {
	case f.Data != nil && f.Base64 != nil:
		return nil, "data and base64: send only one of them"
	case f.Data != nil:
		return []byte(*f.Data), ""
	case f.Base64 == nil:
		return nil, "data is missing"
	}
	payload, err := base64.StdEncoding.DecodeString(*f.Base64)
	if err != nil {
		return nil, "base64 must be standard base64 with padding"
	}
	return payload, ""
}

// A channelList is a list of channels, each an object or a name, or one of them
// without a list.
type channelList struct {
	entries []channelRequest // at most maxEntries+1
	problem string           // it is something else, or has a wrong entry
}

// maxEntries is the most channels that a client may have, whatever the settings
// are. The entries after that are not decoded.
const maxEntries = 10_000

// UnmarshalJSON implements [json.Unmarshaler]. It returns no error, because that
// would end the decoding of the other fields.
func (l *channelList) UnmarshalJSON(b []byte) error {
	*l = channelList{}
	switch {
	case string(b) == "null": // the same as no field
		return nil
	case b[0] != '[':
		l.add(b)
		return nil
	}
	d := json.NewDecoder(bytes.NewReader(b))
	_, _ = d.Token() // [, because b is valid JSON
	for d.More() && l.problem == "" && len(l.entries) <= maxEntries {
		var entry json.RawMessage
		_ = d.Decode(&entry)
		l.add(entry)
	}
	return nil
}

// add adds an entry, which is valid JSON.
func (l *channelList) add(entry []byte) {
	var request channelRequest
	switch {
	case entry[0] == '{':
		l.problem = entryProblem(json.Unmarshal(entry, &request))
	case entry[0] == '"':
		l.problem = entryProblem(json.Unmarshal(entry, &request.Channel))
	default:
		l.problem = wrongTypes["channels"]
	}
	l.entries = append(l.entries, request)
}

// entryProblem returns a sentence about an entry that cannot be decoded, or
// nothing without an error.
func entryProblem(err error) string {
	if err == nil {
		return ""
	}
	wrong, _ := errors.AsType[*json.UnmarshalTypeError](err)
	if wrong != nil && wrongTypes[wrong.Field] != "" {
		return wrongTypes[wrong.Field]
	}
	return wrongTypes["channels"]
}
