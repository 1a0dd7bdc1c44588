package control

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"sidecast/relay/access"
	"sidecast/relay/stats"
)

func user(name string) access.Subject { return access.Subject{Kind: access.SubjectUser, Name: name} }

var actionTests = []struct {
	why, message string
	want         action
	problem      string
}{
	{"disconnect a user", `{"action":"disconnect","user":"42"}`, action{kind: stats.ControlDisconnect, who: user("42")}, ""},
	{"PHP's json_encode of an int", `{"action":"disconnect","user":42}`, action{kind: stats.ControlDisconnect, who: user("42")}, ""},
	{"a negative number", `{"action":"disconnect","user":-1}`, action{kind: stats.ControlDisconnect, who: user("-1")}, ""},
	{"a session", `{"action":"refresh","session":"ABC"}`,
		action{kind: stats.ControlRefresh, who: access.Subject{Kind: access.SubjectSession, Name: "ABC"}}, ""},
	{"a token", `{"action":"disconnect","token":"a1"}`,
		action{kind: stats.ControlDisconnect, who: access.Subject{Kind: access.SubjectToken, Name: "a1"}}, ""},
	{"a token whose id is a number", `{"action":"disconnect","token":1.5}`,
		action{kind: stats.ControlDisconnect, who: access.Subject{Kind: access.SubjectToken, Name: "1.5"}}, ""},
	{"subscribe", `{"action":"subscribe","user":"42","channel":"room:9"}`,
		action{kind: stats.ControlSubscribe, who: user("42"), channel: "room:9"}, ""},
	{"unsubscribe, with an id", `{"action":"unsubscribe","user":"42","channel":"room:9","id":"job 7"}`,
		action{kind: stats.ControlUnsubscribe, who: user("42"), channel: "room:9", id: "job 7"}, ""},
	{"an id that is a number", `{"action":"refresh","user":"42","id":7}`, action{kind: stats.ControlRefresh, who: user("42"), id: "7"}, ""},
	{"the longest id", `{"action":"refresh","user":"42","id":"` + strings.Repeat("x", 64) + `"}`,
		action{kind: stats.ControlRefresh, who: user("42"), id: strings.Repeat("x", 64)}, ""},
	{"null is the same as no field", `{"action":"refresh","user":"42","session":null,"id":null,"channel":null}`,
		action{kind: stats.ControlRefresh, who: user("42")}, ""},
	{"unknown fields, and white space", " {\n\"action\" : \"refresh\", \"user\":\"42\", \"more\":[{}] }\n", action{kind: stats.ControlRefresh, who: user("42")}, ""},

	{"nothing", ``, action{}, problemObject},
	{"no JSON", `disconnect 42`, action{}, problemObject},
	{"null", `null`, action{}, problemObject},
	{"a list", `[{"action":"refresh","user":"42"}]`, action{}, problemObject},
	{"two objects", `{"action":"refresh","user":"42"}{}`, action{}, problemObject},
	{"a byte order mark", "\ufeff" + `{"action":"refresh","user":"42"}`, action{}, problemObject},
	{"Latin-1", "{\"action\":\"disconnect\",\"user\":\"Ren\xe9\"}", action{}, problemUTF8},
	{"no action", `{"user":"42"}`, action{}, problemAction},
	{"an unknown action", `{"action":"ban","user":"42"}`, action{}, problemAction},
	{"names are compared exactly", `{"Action":"refresh","user":"42"}`, action{}, problemAction},
	{"an action that is a number", `{"action":1,"user":"42"}`, action{}, problemAction},
	{"nobody", `{"action":"disconnect"}`, action{}, problemNobody},
	{"a misspelt field", `{"action":"disconnect","user_id":"42"}`, action{}, problemNobody},
	{"two subjects", `{"action":"disconnect","user":"42","session":"ABC"}`, action{}, problemSeveral},
	{"an empty user: a variable that was not set", `{"action":"disconnect","user":""}`, action{}, problemUser},
	{"false as a user", `{"action":"disconnect","user":false}`, action{}, problemUser},
	{"a list of users", `{"action":"disconnect","user":["42"]}`, action{}, problemUser},
	{"a number with a fraction", `{"action":"disconnect","user":42.0}`, action{}, problemUser},
	{"a number with an exponent", `{"action":"disconnect","user":4e2}`, action{}, problemUser},
	{"a number that is too long", `{"action":"disconnect","user":123456789012345678901}`, action{}, problemUser},
	{"a user with a line break", `{"action":"disconnect","user":"4\n2"}`, action{}, problemUser},
	{"a session that is a number", `{"action":"disconnect","session":42}`, action{}, problemSession},
	{"an empty token", `{"action":"disconnect","token":""}`, action{}, problemToken},
	{"subscribe to nothing", `{"action":"subscribe","user":"42"}`, action{}, problemChannel},
	{"subscribe to an empty channel", `{"action":"subscribe","user":"42","channel":""}`, action{}, problemChannel},
	{"subscribe to a list", `{"action":"subscribe","user":"42","channel":["a"]}`, action{}, problemChannel},
	{"a channel that is too long", `{"action":"unsubscribe","user":"42","channel":"` + strings.Repeat("x", 201) + `"}`, action{}, problemChannel},
	{"an id that is too long", `{"action":"refresh","user":"42","id":"` + strings.Repeat("x", 65) + `"}`, action{}, problemID},
	{"an empty id", `{"action":"refresh","user":"42","id":""}`, action{}, problemID},
	{"an id that is an object", `{"action":"refresh","user":"42","id":{}}`, action{}, problemID},
}

func TestParseAction(t *testing.T) {
	for _, test := range actionTests {
		got, problem := parseAction([]byte(test.message))
		if problem != test.problem || problem == "" && got != test.want {
			t.Errorf("%s: %s\n got %+v, %q\nwant %+v, %q", test.why, test.message, got, problem, test.want, test.problem)
		}
	}
}

// FuzzParseAction checks that an action is understood only if it is one JSON
// object with what the action needs, and that nothing else comes out of it than
// was written.
func FuzzParseAction(f *testing.F) {
	for _, test := range actionTests {
		f.Add([]byte(test.message))
	}
	f.Fuzz(func(t *testing.T, message []byte) {
		a, problem := parseAction(message)
		if problem != "" {
			return
		}
		var fields map[string]any
		decoder := json.NewDecoder(strings.NewReader(string(message)))
		decoder.UseNumber()
		if err := decoder.Decode(&fields); err != nil {
			t.Fatalf("%q is understood: %v", message, err)
		}
		text := func(name string) string {
			switch value := fields[name].(type) {
			case string:
				return value
			case json.Number:
				return value.String()
			}
			return ""
		}
		needsChannel := a.kind == stats.ControlSubscribe || a.kind == stats.ControlUnsubscribe
		switch {
		case actionNames[text("action")] != a.kind, a.who.Name != text(access.SubjectKinds[a.who.Kind]), a.id != text("id"):
			t.Errorf("%q is understood as %+v", message, a)
		case a.who.Kind == access.SubjectUser && !access.ValidUser(a.who.Name), a.who.Name == "", len(a.id) > maxID, !utf8.ValidString(a.id):
			t.Errorf("%q: invalid %+v", message, a)
		case needsChannel != (a.channel != ""), needsChannel && (!access.ValidChannel(a.channel) || a.channel != text("channel")):
			t.Errorf("%q: the channel is %q", message, a.channel)
		}
	})
}
