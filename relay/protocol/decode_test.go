package protocol

import (
	"reflect"
	"strings"
	"testing"
)

func subscribe(channels ...ChannelRequest) Command {
	return Command{Type: CommandSubscribe, Subscribe: channels}
}

func badRequest(kind CommandType, channel, problem string) Command {
	return Command{Type: kind, Channel: channel, Fault: CodeBadRequest, Problem: problem}
}

func withChannel(cmd Command, channel string) Command {
	cmd.Channel = channel
	return cmd
}

func withRef(cmd Command, ref string) Command {
	cmd.Ref = []byte(ref)
	return cmd
}

const (
	missingChannels = `channels is missing: send a list, like [{"channel":"NAME"}]`
	wrongChannels   = `channels must be a list, like [{"channel":"NAME"}]`
	cursorOutside   = `after, at, since, last, sig, user, auth, channel_data and presence belong to a channel of the list, like [{"channel":"NAME","after":".."}]`
	wrongLast       = "last must be a whole number from 0 to 100"
	wrongSince      = `since must be a string: the id of an entry, like "1526919030474-55"`
	wrongBase64     = "base64 must be standard base64 with padding"
	wrongRef        = "ref must be a number or a string of at most 64 bytes"
)

var ping = Command{Type: CommandPing}

// longestRef has maxRef bytes of JSON.
var longestRef = `"` + strings.Repeat("r", maxRef-2) + `"`

var v1Commands = []struct {
	why, data string
	want      Command
}{
	{"one channel", `{"type":"subscribe","channels":[{"channel":"a"}]}`, subscribe(ChannelRequest{Channel: "a"})},
	{"several channels, one with a cursor, in the client's order", `{"type":"subscribe","channels":[{"channel":"b","after":"AQ","at":"x"},{"channel":"a"}]}`,
		subscribe(ChannelRequest{Channel: "b", After: "AQ", At: "x"}, ChannelRequest{Channel: "a"})},
	{"a repeated name is left to the session", `{"type":"subscribe","channels":[{"channel":"a"},{"channel":"a"}]}`,
		subscribe(ChannelRequest{Channel: "a"}, ChannelRequest{Channel: "a"})},
	{"an invalid name is left to the session", `{"type":"subscribe","channels":[{}]}`, subscribe(ChannelRequest{})},
	{"no list", `{"type":"subscribe"}`, badRequest(CommandSubscribe, "", missingChannels)},
	{"an empty list", `{"type":"subscribe","channels":[]}`, badRequest(CommandSubscribe, "", missingChannels)},
	{"a name instead of the list", `{"type":"subscribe","channels":"a","ref":1}`, withRef(subscribe(ChannelRequest{Channel: "a"}), "1")},
	{"names instead of objects", `{"type":"subscribe","channels":["a","\u0062"]}`, subscribe(ChannelRequest{Channel: "a"}, ChannelRequest{Channel: "b"})},
	{"names and objects", `{"type":"subscribe","channels":["a",{"channel":"b","at":"x"}]}`,
		subscribe(ChannelRequest{Channel: "a"}, ChannelRequest{Channel: "b", At: "x"})},
	{"one channel without the list", `{"type":"subscribe","channel":"a","after":"AQ","at":"x"}`,
		withChannel(subscribe(ChannelRequest{Channel: "a", After: "AQ", At: "x"}), "a")},
	{"one channel and a list that is empty", `{"type":"subscribe","channel":"a","channels":[]}`,
		withChannel(subscribe(ChannelRequest{Channel: "a"}), "a")},
	{"one channel and a list", `{"type":"subscribe","channel":"a","channels":["b"]}`,
		badRequest(CommandSubscribe, "a", "channel and channels: send only one of them")},
	{"a null instead of the list", `{"type":"subscribe","channel":"a","channels":null}`,
		withChannel(subscribe(ChannelRequest{Channel: "a"}), "a")},
	{"a cursor beside the list", `{"type":"subscribe","channels":["a"],"after":"AQ"}`, badRequest(CommandSubscribe, "", cursorOutside)},
	{"a heartbeat's place beside the list", `{"type":"subscribe","channels":"a","at":"x"}`, badRequest(CommandSubscribe, "", cursorOutside)},
	{"a list of numbers: the ref is kept", `{"type":"subscribe","channels":[1],"ref":1}`,
		withRef(badRequest(CommandSubscribe, "", wrongChannels), "1")},
	{"a list in a list", `{"type":"subscribe","channels":[["a"]]}`, badRequest(CommandSubscribe, "", wrongChannels)},
	{"an object instead of the list", `{"type":"subscribe","channels":{"channel":"a"}}`, subscribe(ChannelRequest{Channel: "a"})},
	{"a number instead of the list", `{"type":"subscribe","channels":7}`, badRequest(CommandSubscribe, "", wrongChannels)},
	{"a cursor that is a number", `{"type":"subscribe","channels":[{"channel":"a","after":1}]}`, badRequest(CommandSubscribe, "", "after must be a string")},
	{"another cursor that is a number", `{"type":"subscribe","channel":"a","at":1}`, badRequest(CommandSubscribe, "a", "at must be a string")},

	{"the newest messages", `{"type":"subscribe","channels":[{"channel":"a","last":100},{"channel":"b","last":0},{"channel":"c","last":null}]}`,
		subscribe(ChannelRequest{Channel: "a", Last: 100}, ChannelRequest{Channel: "b"}, ChannelRequest{Channel: "c"})},
	{"the newest messages of one channel without the list", `{"type":"subscribe","channel":"a","last":1}`,
		withChannel(subscribe(ChannelRequest{Channel: "a", Last: 1}), "a")},
	{"more than the most messages", `{"type":"subscribe","channels":[{"channel":"a","last":101}]}`, badRequest(CommandSubscribe, "", wrongLast)},
	{"fewer than no messages", `{"type":"subscribe","channel":"a","last":-1}`, badRequest(CommandSubscribe, "a", wrongLast)},
	{"a part of a message", `{"type":"subscribe","channels":["b",{"channel":"a","last":1.5}]}`, badRequest(CommandSubscribe, "", wrongLast)},
	{"a number of messages as a string", `{"type":"subscribe","channels":[{"channel":"a","last":"1"}]}`, badRequest(CommandSubscribe, "", wrongLast)},
	{"a number of messages that fits into no type", `{"type":"subscribe","channel":"a","last":1e99}`, badRequest(CommandSubscribe, "a", wrongLast)},
	{"newest messages beside the list", `{"type":"subscribe","channels":["a"],"last":1}`, badRequest(CommandSubscribe, "", cursorOutside)},
	{"the id of an entry", `{"type":"subscribe","channels":[{"channel":"a","since":"5-0","after":"AQ","last":1}]}`,
		subscribe(ChannelRequest{Channel: "a", Since: "5-0", After: "AQ", Last: 1})},
	{"an id that is none is left to the session", `{"type":"subscribe","channel":"a","since":"x"}`,
		withChannel(subscribe(ChannelRequest{Channel: "a", Since: "x"}), "a")},
	{"an id that is a number", `{"type":"subscribe","channels":[{"channel":"a","since":5}]}`, badRequest(CommandSubscribe, "", wrongSince)},
	{"a signature", `{"type":"subscribe","channels":[{"channel":"a","sig":"1.f","user":"42"},{"channel":"b"}]}`,
		Command{Type: CommandSubscribe, Subscribe: []ChannelRequest{{Channel: "a", Sig: "1.f", User: "42"}, {Channel: "b"}}}},
	{"a signature without a list", `{"type":"subscribe","channel":"a","sig":"1.f","user":"42"}`,
		Command{Type: CommandSubscribe, Channel: "a", Subscribe: []ChannelRequest{{Channel: "a", Sig: "1.f", User: "42"}}}},
	{"a signature beside the list", `{"type":"subscribe","channels":["a"],"sig":"1.f"}`, badRequest(CommandSubscribe, "", cursorOutside)},
	{"a user beside the list", `{"type":"subscribe","channels":["a"],"user":"42"}`, badRequest(CommandSubscribe, "", cursorOutside)},
	{"a signature that is an object", `{"type":"subscribe","channels":[{"channel":"a","sig":{}}]}`,
		badRequest(CommandSubscribe, "", "sig must be a string: the text that the application signed with SIDECAST_CHANNEL_SECRET")},
	{"a user that is a number", `{"type":"subscribe","channels":[{"channel":"a","user":42}]}`, badRequest(CommandSubscribe, "", "user must be a string")},
	{"an id beside the list", `{"type":"subscribe","channels":["a"],"since":"5-0"}`, badRequest(CommandSubscribe, "", cursorOutside)},

	{"a client that wants to know the members", `{"type":"subscribe","channels":[{"channel":"a","presence":true},{"channel":"b","presence":false}]}`,
		subscribe(ChannelRequest{Channel: "a", Presence: true}, ChannelRequest{Channel: "b"})},
	{"the members of one channel without the list", `{"type":"subscribe","channel":"a","presence":true}`,
		withChannel(subscribe(ChannelRequest{Channel: "a", Presence: true}), "a")},
	{"a wish for members that is a string", `{"type":"subscribe","channel":"a","presence":"yes"}`,
		badRequest(CommandSubscribe, "a", "presence must be true or false")},
	{"a wish for members beside the list", `{"type":"subscribe","channels":["a"],"presence":true}`, badRequest(CommandSubscribe, "", cursorOutside)},

	{"unsubscribe with a list", `{"type":"unsubscribe","channels":["a"]}`,
		badRequest(CommandUnsubscribe, "", "only subscribe takes channels: name one channel as channel")},
	{"auth without a token", `{"type":"auth"}`, badRequest(CommandAuth, "", "token is missing")},
	{"auth with an object", `{"type":"auth","token":{}}`, badRequest(CommandAuth, "", "token must be a string")},
	{"unsubscribe", `{"type":"unsubscribe","channel":"a"}`, Command{Type: CommandUnsubscribe, Channel: "a"}},
	{"unsubscribe without a channel", `{"type":"unsubscribe"}`, badRequest(CommandUnsubscribe, "", "channel is missing")},
	{"a channel that is a number", `{"type":"unsubscribe","channel":5}`, badRequest(CommandUnsubscribe, "", "channel must be a string")},

	{"publish", `{"type":"publish","channel":"a","data":"hi"}`, Command{Type: CommandPublish, Channel: "a", Data: []byte("hi")}},
	{"an empty payload", `{"type":"publish","channel":"a","data":""}`, Command{Type: CommandPublish, Channel: "a", Data: []byte{}}},
	{"escaped characters", `{"type":"publish","channel":"\u0061","data":"\u0000\ud83d\udc4d\/"}`,
		Command{Type: CommandPublish, Channel: "a", Data: []byte("\x00👍/")}},
	{"half a surrogate pair is not a character", `{"type":"publish","channel":"a","data":"\ud800"}`,
		Command{Type: CommandPublish, Channel: "a", Data: []byte("\ufffd")}},
	{"a base64 payload", `{"type":"publish","channel":"a","base64":"AP8="}`,
		Command{Type: CommandPublish, Channel: "a", Data: []byte("\x00\xff")}},
	{"an empty base64 payload", `{"type":"publish","channel":"a","base64":""}`, Command{Type: CommandPublish, Channel: "a", Data: []byte{}}},
	{"echo false", `{"type":"publish","channel":"a","data":"x","echo":false}`,
		Command{Type: CommandPublish, Channel: "a", Data: []byte("x"), NoEcho: true}},
	{"echo true", `{"type":"publish","channel":"a","data":"x","echo":true}`,
		Command{Type: CommandPublish, Channel: "a", Data: []byte("x")}},
	{"null is the same as no field", `{"type":"publish","channel":"a","data":"x","base64":null,"echo":null}`,
		Command{Type: CommandPublish, Channel: "a", Data: []byte("x")}},
	{"no payload", `{"type":"publish","channel":"a"}`, badRequest(CommandPublish, "a", "data is missing")},
	{"two payloads", `{"type":"publish","channel":"a","data":"x","base64":"eA=="}`, badRequest(CommandPublish, "a", "data and base64: send only one of them")},
	{"a payload that is not a string", `{"type":"publish","channel":"a","data":{"b":1}}`, badRequest(CommandPublish, "a", "data must be a string: use JSON.stringify for other values")},
	{"invalid base64", `{"type":"publish","channel":"a","base64":"*"}`, badRequest(CommandPublish, "a", wrongBase64)},
	{"base64 in the alphabet of URLs", `{"type":"publish","channel":"a","base64":"_w=="}`, badRequest(CommandPublish, "a", wrongBase64)},
	{"base64 without padding", `{"type":"publish","channel":"a","base64":"AP8"}`, badRequest(CommandPublish, "a", wrongBase64)},
	{"bytes as a list of numbers", `{"type":"publish","channel":"a","base64":[0,255]}`, badRequest(CommandPublish, "a", "base64 must be a string")},
	{"publish without a channel", `{"type":"publish","data":"x"}`, Command{Type: CommandPublish, Data: []byte("x"), Fault: CodeBadRequest, Problem: "channel is missing"}},
	{"echo that is not a boolean", `{"type":"publish","channel":"a","data":"x","echo":"no"}`, badRequest(CommandPublish, "a", "echo must be true or false")},

	{"ping", `{"type":"ping"}`, ping},
	{"white space", " \t\r\n{ \"type\" : \"ping\" , \"ref\" : 1 }\n", withRef(ping, "1")},
	{"unknown fields are ignored", `{"type":"ping","more":[1,{"type":"publish"},null],"":0}`, ping},
	{"the last of two equal fields counts", `{"type":"publish","type":"ping"}`, ping},

	{"a ref that is a number", `{"type":"ping","ref":-1.50E+3}`, withRef(ping, "-1.50E+3")},
	{"a number that fits into no type", `{"type":"ping","ref":123456789012345678901234567890}`, withRef(ping, "123456789012345678901234567890")},
	{"a ref that is a string with escapes", `{"type":"ping","ref":"a\u0041\"\\ é"}`, withRef(ping, `"a\u0041\"\\ é"`)},
	{"an empty string is a ref", `{"type":"ping","ref":""}`, withRef(ping, `""`)},
	{"the longest ref", `{"type":"ping","ref":` + longestRef + `}`, withRef(ping, longestRef)},
	{"a ref that is a byte too long: it is not kept", `{"type":"ping","ref":"r` + longestRef[1:] + `}`, badRequest(CommandPing, "", wrongRef)},
	{"no ref", `{"type":"ping","ref":null}`, ping},
	{"a ref that is a boolean", `{"type":"ping","ref":true}`, badRequest(CommandPing, "", wrongRef)},
	{"a ref that is an object", `{"type":"ping","ref":{}}`, badRequest(CommandPing, "", wrongRef)},
	{"a ref that is an array", `{"type":"ping","ref":[1]}`, badRequest(CommandPing, "", wrongRef)},

	{"no type", `{}`, Command{Problem: "type is missing"}},
	{"an unknown type: the ref is kept", `{"type":"dance","ref":1}`, withRef(Command{}, "1")},
	{"types are case-sensitive", `{"type":"PING"}`, Command{}},
	{"a type that is a number", `{"type":1}`, badRequest(CommandUnknown, "", "type must be a string")},
	{"a server message is not a command", `{"type":"message","channel":"a","data":"x"}`, Command{Channel: "a"}},
}

// TestV1Decode decodes valid and invalid commands. An invalid command keeps the
// fields that are valid.
func TestV1Decode(t *testing.T) {
	for _, test := range v1Commands {
		got, code := V1{}.Decode([]byte(test.data), true)
		if code != 0 {
			t.Errorf("%s: %s closes the connection with %d", test.why, test.data, code)
			continue
		}
		if !reflect.DeepEqual(got, test.want) {
			t.Errorf("%s: %s\n got %+v\nwant %+v", test.why, test.data, got, test.want)
		}
	}
}

func TestParseLast(t *testing.T) {
	for text, want := range map[string]int{
		"0": 0, "1": 1, "100": 100, // the whole range
		"": -1, "101": -1, "-1": -1, "-0": -1, "+1": -1, "01": -1, "1.0": -1, " 1": -1, "1e1": -1, "99999999999999999999": -1, "NaN": -1,
	} {
		if n, ok := ParseLast(text); ok != (want >= 0) || ok && n != want {
			t.Errorf("ParseLast(%q) = %d, %v, want %d", text, n, ok, want)
		}
	}
}

// TestV1DecodeCloses checks that everything except a JSON object in a text
// frame closes the connection.
func TestV1DecodeCloses(t *testing.T) {
	for _, test := range []struct {
		why, data string
		text      bool
	}{
		{"a command in a binary frame", `{"type":"ping"}`, false},
		{"nothing", ``, true},
		{"white space", "  \n", true},
		{"truncated", `{"type":"ping"`, true},
		{"two commands in one frame", `{"type":"ping"}{"type":"ping"}`, true},
		{"one command in each line", "{\"type\":\"ping\"}\n{}", true},
		{"an array", `[{"type":"ping"}]`, true},
		{"a string", `"ping"`, true},
		{"null", `null`, true},
		{"a number", `1`, true},
		{"single quotes", `{'type':'ping'}`, true},
		{"a trailing comma", `{"type":"ping",}`, true},
		{"a comment", `{"type":"ping"} // now`, true},
		{"a control character in a string", "{\"type\":\"pi\nng\"}", true},
		{"a byte order mark", "\ufeff{}", true},
		{"ten thousand nested arrays", `{"a":` + strings.Repeat("[", 10_001) + strings.Repeat("]", 10_001) + `}`, true},
		{"RESP", "*1\r\n$4\r\nPING\r\n", true},
	} {
		if cmd, code := (V1{}).Decode([]byte(test.data), test.text); code != CloseBadData.Because(ReasonJSON) {
			t.Errorf("%s: Decode(%.40q) = %+v, %d, want %d", test.why, test.data, cmd, code.Number(), CloseBadData)
		}
	}
}

// TestRawDecode checks that raw publishes every message unchanged.
func TestRawDecode(t *testing.T) {
	for _, text := range []bool{true, false} {
		for _, data := range []string{"", "hello", `{"type":"ping"}`, "\x00\xff"} {
			got, code := Raw{}.Decode([]byte(data), text)
			want := Command{Type: CommandPublish, Data: []byte(data)}
			if code != 0 || !reflect.DeepEqual(got, want) {
				t.Errorf("Decode(%q) = %+v, %d", data, got, code)
			}
		}
	}
}

// Of a list that is longer than any session can use, only the beginning is
// decoded, and of one with something else only up to that.
func TestV1DecodesLongListsInPart(t *testing.T) {
	for why, test := range map[string]struct {
		entry string
		most  int
	}{
		"names":   {`"a"`, maxEntries + 1},
		"objects": {`{}`, maxEntries + 1},
		"numbers": {`1`, 1},
	} {
		f, _ := decodeFrame([]byte(`{"channels":[` + strings.Repeat(test.entry+",", 1<<18) + test.entry + `]}`))
		if n := len(f.Channels.entries); n != test.most {
			t.Errorf("%s: %d entries are decoded, want %d", why, n, test.most)
		}
	}
}
