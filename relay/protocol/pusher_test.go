package protocol

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
)

var pusherDecodeTests = []struct {
	comment, frame string
	want           Command
}{
	{"a subscribe of pusher-js", `{"event":"pusher:subscribe","data":{"auth":"","channel":"chat"}}`,
		Command{Type: CommandSubscribe, Channel: "chat", Subscribe: []ChannelRequest{{Channel: "chat"}}}},
	{"data as a string, as some SDKs send it", `{"event":"pusher:subscribe","data":"{\"channel\":\"chat\"}"}`,
		Command{Type: CommandSubscribe, Channel: "chat", Subscribe: []ChannelRequest{{Channel: "chat"}}}},
	{"a presence channel", `{"event":"pusher:subscribe","data":{"auth":"k:s","channel_data":"{\"user_id\":1}","channel":"presence-a"}}`,
		Command{Type: CommandSubscribe, Channel: "presence-a", Subscribe: []ChannelRequest{{Channel: "presence-a", Auth: "k:s", ChannelData: `{"user_id":1}`, Presence: true}}}},
	{"a cache channel", `{"event":"pusher:subscribe","data":{"channel":"cache-a"}}`,
		Command{Type: CommandSubscribe, Channel: "cache-a", Subscribe: []ChannelRequest{{Channel: "cache-a", Last: MaxLast, Cached: true}}}},
	{"a private encrypted cache channel", `{"event":"pusher:subscribe","data":{"channel":"private-encrypted-cache-a","auth":"k:s"}}`,
		Command{Type: CommandSubscribe, Channel: "private-encrypted-cache-a", Subscribe: []ChannelRequest{{Channel: "private-encrypted-cache-a", Auth: "k:s", Last: MaxLast, Cached: true}}}},
	{"an unsubscribe", `{"event":"pusher:unsubscribe","data":{"channel":"chat"}}`, Command{Type: CommandUnsubscribe, Channel: "chat"}},
	{"a ping", `{"event":"pusher:ping","data":{}}`, Command{Type: CommandPing}},
	{"a ping without data", `{"event":"pusher:ping"}`, Command{Type: CommandPing}},
	{"a pong", `{"event":"pusher:pong","data":{}}`, Command{Type: CommandPong}},
	{"a signin", `{"event":"pusher:signin","data":{"auth":"k:s","user_data":"{\"id\":\"1\"}"}}`,
		Command{Type: CommandSignin, Auth: "k:s", UserData: `{"id":"1"}`}},
	{"an event of a client", `{"event":"client-typing","channel":"private-a","data":{"a":[1]}}`,
		Command{Type: CommandPublish, Channel: "private-a", Event: "client-typing", Data: []byte(`{"a":[1]}`), NoEcho: true}},
	{"an event of a client with text", `{"event":"client-typing","channel":"private-a","data":"x"}`,
		Command{Type: CommandPublish, Channel: "private-a", Event: "client-typing", Data: []byte(`"x"`), NoEcho: true}},
	{"an event of a client without data", `{"event":"client-typing","channel":"private-a"}`,
		Command{Type: CommandPublish, Channel: "private-a", Event: "client-typing", Data: []byte(`null`), NoEcho: true}},
	{"an event of a client without a channel", `{"event":"client-typing","data":{}}`, Command{
		Type: CommandPublish, Event: "client-typing", Data: []byte(`{}`), NoEcho: true, Fault: CodeBadRequest, Problem: "channel is missing",
	}},
	{"an event of a client with a long name", `{"event":"client-` + strings.Repeat("x", 200) + `","channel":"private-a","data":{}}`, Command{
		Type: CommandPublish, Channel: "private-a", Event: "client-" + strings.Repeat("x", 200), Data: []byte(`{}`), NoEcho: true,
		Fault: CodeBadRequest, Problem: "the name of an event has 200 bytes at most",
	}},
	{"an event that only the application sends", `{"event":"order","channel":"private-a","data":{}}`, pusherFault(CommandUnknown, unknownPusherEvent)},
	{"an event that only the relay sends", `{"event":"pusher_internal:member_added","channel":"presence-a","data":"{}"}`, pusherFault(CommandUnknown, unknownPusherEvent)},
	{"an unknown event of the protocol", `{"event":"pusher:other","data":{}}`, pusherFault(CommandUnknown, unknownPusherEvent)},
	{"no event", `{"data":{}}`, pusherFault(CommandUnknown, "event is missing")},
	{"an event that is null", `{"event":null}`, pusherFault(CommandUnknown, "event is missing")},
	{"an event that is a number", `{"event":1}`, pusherFault(CommandUnknown, notPusherObject)},
	{"not JSON", `nope`, pusherFault(CommandUnknown, notPusherObject)},
	{"a list", `[]`, pusherFault(CommandUnknown, notPusherObject)},
	{"nothing", ``, pusherFault(CommandUnknown, notPusherObject)},
	{"null", `null`, pusherFault(CommandUnknown, notPusherObject)},
	{"two objects", `{"event":"pusher:ping"}{}`, pusherFault(CommandUnknown, notPusherObject)},
	{"a subscribe without data", `{"event":"pusher:subscribe"}`, pusherFault(CommandSubscribe, wrongPusherData)},
	{"a subscribe to a number", `{"event":"pusher:subscribe","data":{"channel":1}}`, pusherFault(CommandSubscribe, wrongPusherData)},
	{"a subscribe with data that is a list", `{"event":"pusher:subscribe","data":[]}`, pusherFault(CommandSubscribe, wrongPusherData)},
	{"a subscribe with data that is a string of something else", `{"event":"pusher:subscribe","data":"chat"}`, pusherFault(CommandSubscribe, wrongPusherData)},
	{"a subscribe without a channel", `{"event":"pusher:subscribe","data":{}}`, pusherFault(CommandSubscribe, "data.channel is missing")},
	{"an unsubscribe without a channel", `{"event":"pusher:unsubscribe","data":{}}`, pusherFault(CommandUnsubscribe, "data.channel is missing")},
}

func TestPusherDecode(t *testing.T) {
	for _, tt := range pusherDecodeTests {
		got, code := Pusher{}.Decode([]byte(tt.frame), true)
		if code != 0 || !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s: %s\n got %+v\nwant %+v", tt.comment, tt.frame, got, tt.want)
		}
	}
	if got, code := (Pusher{}).Decode([]byte(`{"event":"pusher:ping"}`), false); code != 0 || got.Fault != CodeBadRequest {
		t.Errorf("a binary frame: %+v", got)
	}
}

// FuzzPusherDecode checks that a client cannot make the relay do more than one of
// its commands, nor publish an event that an application could have sent.
func FuzzPusherDecode(f *testing.F) {
	for _, tt := range pusherDecodeTests {
		f.Add([]byte(tt.frame))
	}
	f.Fuzz(func(t *testing.T, frame []byte) {
		cmd, code := Pusher{}.Decode(frame, true)
		if code != 0 || len(cmd.Subscribe) > 1 {
			t.Fatalf("%q: code %v, %+v", frame, code, cmd)
		}
		if cmd.Type == CommandPublish && cmd.Fault == CodeOK {
			if !strings.HasPrefix(cmd.Event, ClientEventPrefix) || !json.Valid(cmd.Data) {
				t.Fatalf("%q: publishes %q with %q", frame, cmd.Event, cmd.Data)
			}
			e, ok := ParseEnvelope(AppendEnvelope(nil, cmd.Event, cmd.Data, "1.2", "ann"))
			if !ok || !e.IsClientEvent() || string(e.Socket) != `"1.2"` || string(e.User) != `"ann"` {
				t.Fatalf("%q: is published as %q", frame, AppendEnvelope(nil, cmd.Event, cmd.Data, "1.2", "ann"))
			}
		}
	})
}

var envelopeTests = []struct{ comment, payload, event, data, socket string }{
	{"of Laravel", `{"event":"App\\Events\\Shipped","data":{"order":{"id":1}},"socket":"12.34"}`, `"App\\Events\\Shipped"`, `{"order":{"id":1}}`, `"12.34"`},
	{"without a socket", `{"event":"a","data":[],"socket":null}`, `"a"`, `[]`, ``},
	{"data as text", `{"event":"a","data":"{\"b\":\"}\"}"}`, `"a"`, `"{\"b\":\"}\"}"`, ``},
	{"with white space and other fields", " {\n\"x\" : [1,{\"event\":\"no\"}] , \"event\" : \"a\" ,\t\"data\" : 1e3 } ", `"a"`, `1e3`, ``},
	{"of two fields the last counts", `{"event":"a","event":"b"}`, `"b"`, ``, ``},
	{"literals", `{"data":true,"event":"a"}`, `"a"`, `true`, ``},
	{"brackets in strings", `{"data":"]}{[\\\"","event":"a","socket":"1.2"}`, `"a"`, `"]}{[\\\""`, `"1.2"`},
	{"an event that is no string", `{"event":1}`, ``, ``, ``},
	{"no event", `{"data":1}`, ``, ``, ``},
	{"an empty object", `{}`, ``, ``, ``},
	{"a list", `[{"event":"a"}]`, ``, ``, ``},
	{"not JSON", `{"event":"a"`, ``, ``, ``},
	{"not UTF-8", "{\"event\":\"a\xff\"}", ``, ``, ``},
}

func TestParseEnvelope(t *testing.T) {
	for _, tt := range envelopeTests {
		e, ok := ParseEnvelope([]byte(tt.payload))
		if ok != (tt.event != "") || ok && (string(e.Event) != tt.event || string(e.Data) != tt.data || string(e.Socket) != tt.socket) {
			t.Errorf("%s: %s: %v, event %s, data %s, socket %s", tt.comment, tt.payload, ok, e.Event, e.Data, e.Socket)
		}
	}
}

// FuzzParseEnvelope compares with a JSON decoder.
func FuzzParseEnvelope(f *testing.F) {
	for _, tt := range envelopeTests {
		f.Add([]byte(tt.payload))
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		e, ok := ParseEnvelope(payload)
		if !ok {
			return
		}
		for name, raw := range map[string][]byte{"event": e.Event, "data": e.Data, "socket": e.Socket, "user_id": e.User} {
			if raw != nil && !json.Valid(raw) {
				t.Errorf("%q: %s is %q", payload, name, raw)
			}
		}
		_, body, _ := cutFrame(t, Pusher{}.Message("a", nil, payload))
		checkPusher(t, "a", payload, body, true)
	})
}

// What a client that does not speak the Pusher protocol publishes is an event,
// too.
func TestClientEvent(t *testing.T) {
	for _, tt := range []struct {
		comment, payload, event, data string
		named                         bool
	}{
		{"text", `hello "x"`, "client-message", `"hello \"x\""`, false},
		{"an event of the application", `{"event":"order","data":1}`, "client-message", `"{\"event\":\"order\",\"data\":1}"`, false},
		{"an event of the protocol", `{"event":"pusher:error","data":1}`, "client-message", `"{\"event\":\"pusher:error\",\"data\":1}"`, false},
		{"an event of a client", `{"event":"client-typing","data":{"a":1},"socket":"1.2"}`, "client-typing", `{"a":1}`, true},
		{"an event of a client without data", `{"event":"client-typing"}`, "client-typing", `null`, true},
	} {
		event, data, named := ClientEvent([]byte(tt.payload))
		if event != tt.event || string(data) != tt.data || named != tt.named {
			t.Errorf("%s: %s with %s, %v", tt.comment, event, data, named)
		}
	}
}

// A client must not reconnect after 40xx, and does so at once or after a second
// after other codes: only what is over for good may be 40xx.
func TestPusherCloseCodes(t *testing.T) {
	want := map[CloseCode]uint16{
		CloseNormal: 1000, CloseGoingAway: 4200, CloseProtocol: 1002, CloseBadData: 1007, ClosePolicy: 4100, CloseTooBig: 1009,
		CloseRestart: 4200, CloseTryLater: 4100, CloseUnauthorized: 4009, CloseForbidden: 4009, CloseSlow: 4100, CloseKicked: 4009,
		CloseGap: 4100, CloseUnknownApp: 4001, CloseVersion: 4007, CloseUnauthorized.Because(ReasonExpired): 4200,
	}
	for _, code := range CloseSlots() {
		if code != 0 && code != CloseAbnormal && want[code] == 0 {
			t.Errorf("no case for %d", code)
		}
	}
	for code, number := range want {
		frame := Pusher{}.Close(code)
		if got := uint16(frame[2])<<8 | uint16(frame[3]); got != number || string(frame[4:]) != code.Reason() {
			t.Errorf("%d (%q) is sent as %d %q, want %d", code.Number(), code.Reason(), got, frame[4:], number)
		}
	}
}
