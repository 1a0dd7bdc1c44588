package protocol

import (
	"reflect"
	"strings"
	"testing"
)

func subscribe(channels ...ChannelRequest) Command {
	return Command{Type: CommandSubscribe, Subscribe: channels}
}

func faulty(kind CommandType, channel string) Command {
	return Command{Type: kind, Channel: channel, Fault: CodeBadRequest}
}

func withRef(cmd Command, ref string) Command {
	cmd.Ref = []byte(ref)
	return cmd
}

var ping = Command{Type: CommandPing}

// longestRef is 64 bytes of JSON.
var longestRef = `"` + strings.Repeat("r", maxRef-2) + `"`

var v1Commands = []struct {
	why, data string
	want      Command
}{
	{"one channel", `{"type":"subscribe","channels":[{"channel":"a"}]}`, subscribe(ChannelRequest{Channel: "a"})},
	{"several, one with a cursor, in the client's order", `{"type":"subscribe","channels":[{"channel":"b","after":"AQ","at":"x"},{"channel":"a"}]}`,
		subscribe(ChannelRequest{Channel: "b", After: "AQ", At: "x"}, ChannelRequest{Channel: "a"})},
	{"twice the same name is the session's business", `{"type":"subscribe","channels":[{"channel":"a"},{"channel":"a"}]}`,
		subscribe(ChannelRequest{Channel: "a"}, ChannelRequest{Channel: "a"})},
	{"a name that is none is the session's business too", `{"type":"subscribe","channels":[{}]}`, subscribe(ChannelRequest{})},
	{"no list", `{"type":"subscribe"}`, faulty(CommandSubscribe, "")},
	{"an empty list", `{"type":"subscribe","channels":[]}`, faulty(CommandSubscribe, "")},
	{"a name in place of the list, and its ref comes back", `{"type":"subscribe","channels":"a","ref":1}`,
		withRef(faulty(CommandSubscribe, ""), "1")},
	{"names in place of requests", `{"type":"subscribe","channels":["a"]}`, faulty(CommandSubscribe, "")},

	{"unsubscribe", `{"type":"unsubscribe","channel":"a"}`, Command{Type: CommandUnsubscribe, Channel: "a"}},
	{"unsubscribe from nothing", `{"type":"unsubscribe"}`, faulty(CommandUnsubscribe, "")},
	{"a channel that is a number", `{"type":"unsubscribe","channel":5}`, faulty(CommandUnsubscribe, "")},

	{"publish", `{"type":"publish","channel":"a","data":"hi"}`, Command{Type: CommandPublish, Channel: "a", Data: []byte("hi")}},
	{"publish nothing", `{"type":"publish","channel":"a","data":""}`, Command{Type: CommandPublish, Channel: "a", Data: []byte{}}},
	{"publish letters in escapes", `{"type":"publish","channel":"\u0061","data":"\u0000\ud83d\udc4d\/"}`,
		Command{Type: CommandPublish, Channel: "a", Data: []byte("\x00👍/")}},
	{"half a surrogate is no letter: JSON cannot carry it", `{"type":"publish","channel":"a","data":"\ud800"}`,
		Command{Type: CommandPublish, Channel: "a", Data: []byte("\ufffd")}},
	{"publish bytes", `{"type":"publish","channel":"a","base64":"AP8="}`,
		Command{Type: CommandPublish, Channel: "a", Data: []byte("\x00\xff")}},
	{"publish no bytes", `{"type":"publish","channel":"a","base64":""}`, Command{Type: CommandPublish, Channel: "a", Data: []byte{}}},
	{"not back to me", `{"type":"publish","channel":"a","data":"x","echo":false}`,
		Command{Type: CommandPublish, Channel: "a", Data: []byte("x"), NoEcho: true}},
	{"back to me", `{"type":"publish","channel":"a","data":"x","echo":true}`,
		Command{Type: CommandPublish, Channel: "a", Data: []byte("x")}},
	{"null is the same as nothing", `{"type":"publish","channel":"a","data":"x","base64":null,"echo":null}`,
		Command{Type: CommandPublish, Channel: "a", Data: []byte("x")}},
	{"no payload", `{"type":"publish","channel":"a"}`, faulty(CommandPublish, "a")},
	{"two payloads", `{"type":"publish","channel":"a","data":"x","base64":"eA=="}`, faulty(CommandPublish, "a")},
	{"a payload that is no string", `{"type":"publish","channel":"a","data":{"b":1}}`, faulty(CommandPublish, "a")},
	{"base64 that is none", `{"type":"publish","channel":"a","base64":"*"}`, faulty(CommandPublish, "a")},
	{"base64 in the alphabet of URLs", `{"type":"publish","channel":"a","base64":"_w=="}`, faulty(CommandPublish, "a")},
	{"base64 without padding", `{"type":"publish","channel":"a","base64":"AP8"}`, faulty(CommandPublish, "a")},
	{"bytes as a list of numbers", `{"type":"publish","channel":"a","base64":[0,255]}`, faulty(CommandPublish, "a")},
	{"publish to nowhere", `{"type":"publish","data":"x"}`, Command{Type: CommandPublish, Data: []byte("x"), Fault: CodeBadRequest}},
	{"echo that is no truth value", `{"type":"publish","channel":"a","data":"x","echo":"no"}`, faulty(CommandPublish, "a")},

	{"ping", `{"type":"ping"}`, ping},
	{"white space around", " \t\r\n{ \"type\" : \"ping\" , \"ref\" : 1 }\n", withRef(ping, "1")},
	{"unknown fields are ignored, whatever they hold", `{"type":"ping","more":[1,{"type":"publish"},null],"":0}`, ping},
	{"the last of two equal fields counts", `{"type":"publish","type":"ping"}`, ping},

	{"a ref that is a number", `{"type":"ping","ref":-1.50E+3}`, withRef(ping, "-1.50E+3")},
	{"a number beyond every type of number", `{"type":"ping","ref":123456789012345678901234567890}`, withRef(ping, "123456789012345678901234567890")},
	{"a ref that is a string, escapes and all", `{"type":"ping","ref":"a\u0041\"\\ é"}`, withRef(ping, `"a\u0041\"\\ é"`)},
	{"an empty string is a ref", `{"type":"ping","ref":""}`, withRef(ping, `""`)},
	{"the longest ref", `{"type":"ping","ref":` + longestRef + `}`, withRef(ping, longestRef)},
	{"a byte too long, and it does not come back", `{"type":"ping","ref":"r` + longestRef[1:] + `}`, faulty(CommandPing, "")},
	{"no ref", `{"type":"ping","ref":null}`, ping},
	{"a ref that is a truth value", `{"type":"ping","ref":true}`, faulty(CommandPing, "")},
	{"a ref that is an object", `{"type":"ping","ref":{}}`, faulty(CommandPing, "")},
	{"a ref that is a list", `{"type":"ping","ref":[1]}`, faulty(CommandPing, "")},

	{"no type", `{}`, Command{}},
	{"a type that nobody knows, and its ref comes back", `{"type":"dance","ref":1}`, withRef(Command{}, "1")},
	{"types are written in one way", `{"type":"PING"}`, Command{}},
	{"a type that is a number", `{"type":1}`, faulty(CommandUnknown, "")},
	{"what the server says is no command", `{"type":"message","channel":"a","data":"x"}`, Command{Channel: "a"}},
}

// Each command is read as what it is, and a wrong one as far as it is understood.
func TestV1Decode(t *testing.T) {
	for _, test := range v1Commands {
		got, code := V1{}.Decode([]byte(test.data), true)
		if code != 0 {
			t.Errorf("%s: %s closes with %d", test.why, test.data, code)
			continue
		}
		if !reflect.DeepEqual(got, test.want) {
			t.Errorf("%s: %s\n got %+v\nwant %+v", test.why, test.data, got, test.want)
		}
	}
}

// What is no JSON object in a text frame closes the connection.
func TestV1DecodeCloses(t *testing.T) {
	for _, test := range []struct {
		why, data string
		text      bool
	}{
		{"a command in a binary frame", `{"type":"ping"}`, false},
		{"nothing", ``, true},
		{"white space", "  \n", true},
		{"cut off", `{"type":"ping"`, true},
		{"two commands in one frame", `{"type":"ping"}{"type":"ping"}`, true},
		{"one command a line", "{\"type\":\"ping\"}\n{}", true},
		{"a list", `[{"type":"ping"}]`, true},
		{"a string", `"ping"`, true},
		{"null", `null`, true},
		{"a number", `1`, true},
		{"quotes that are none", `{'type':'ping'}`, true},
		{"a comma too many", `{"type":"ping",}`, true},
		{"a comment", `{"type":"ping"} // now`, true},
		{"a control character in a string", "{\"type\":\"pi\nng\"}", true},
		{"a byte order mark", "\ufeff{}", true},
		{"ten thousand lists in each other", `{"a":` + strings.Repeat("[", 10_001) + strings.Repeat("]", 10_001) + `}`, true},
		{"RESP", "*1\r\n$4\r\nPING\r\n", true},
	} {
		if cmd, code := (V1{}).Decode([]byte(test.data), test.text); code != CloseBadData {
			t.Errorf("%s: %.40q is read as %+v with code %d, want %d", test.why, test.data, cmd, code, CloseBadData)
		}
	}
}

// Raw publishes what it gets, and judges nothing.
func TestRawDecode(t *testing.T) {
	for _, text := range []bool{true, false} {
		for _, data := range []string{"", "hello", `{"type":"ping"}`, "\x00\xff"} {
			got, code := Raw{}.Decode([]byte(data), text)
			want := Command{Type: CommandPublish, Data: []byte(data)}
			if code != 0 || !reflect.DeepEqual(got, want) {
				t.Errorf("%q is read as %+v with code %d", data, got, code)
			}
		}
	}
}
