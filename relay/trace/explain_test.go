package trace

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"sidecast/relay/access"
)

// patterns parses a list that is separated by commas.
func patterns(t testing.TB, list string) access.Patterns {
	t.Helper()
	p, err := access.ParsePatterns(strings.FieldsFunc(list, func(r rune) bool { return r == ',' }))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// newSettings returns settings from lines of a name and a value.
func newSettings(t testing.TB, lines ...string) *Settings {
	set := make(map[string]string)
	for _, line := range append([]string{"CHANNELS=chat:*,private-*", "DURABLE=order:*", "PUBLIC=chat:*,order:*"}, lines...) {
		name, value, _ := strings.Cut(line, "=")
		set[name] = value
	}
	durable := patterns(t, set["DURABLE"])
	s := &Settings{
		Rules: &access.Rules{
			Names:    access.NewNames(set["PREFIX"], ""),
			Channels: append(durable[:len(durable):len(durable)], patterns(t, set["CHANNELS"])...), Durable: durable,
			Public: patterns(t, set["PUBLIC"]), Presence: patterns(t, set["PRESENCE"]), Login: set["LOGIN"] != "",
		},
		UserChannels: []string{"user:{user}"}, MaxPayload: 1 << 20, Remembers: 300, AsksChannels: set["ASKS"] != "", SignsPusher: set["SIGNS"] != "",
	}
	if login := set["LOGIN"]; login != "" {
		s.Logins = []string{login}
	}
	if set["PUSHER"] != "" {
		s.Rules.App = access.NewApp("1", "key", "secret")
	}
	if set["SECRET"] != "" {
		s.Rules.Secrets = access.NewChannelSecrets("01234567890123456789012345678901")
	}
	return s
}

// text returns all sentences, one a line, with what to do after an arrow.
func text(says []Sentence) string {
	var b strings.Builder
	for _, s := range says {
		if s.Wrong {
			b.WriteString("! ")
		}
		b.WriteString(s.Text)
		if s.Do != "" {
			b.WriteString(" -> " + s.Do)
		}
		b.WriteString("\n")
	}
	return b.String()
}

func TestExplain(t *testing.T) {
	for _, tt := range []struct {
		comment, settings, channel string
		want                       string // lines; each is a part of the answer
		not                        string
	}{
		{"relayed and public", "", "chat:1", "relayed: \"chat:*\" in SIDECAST_CHANNELS\nopen to every client: \"chat:*\" in SIDECAST_PUBLIC_CHANNELS", "!"},
		{"another name in Redis", "PREFIX=app_", "chat:1", `in Redis it is "app_chat:1"`, "!"},
		{"the name in Redis", "PREFIX=app_", "app_chat:1", `! not relayed: no pattern
-> clients and settings use names without SIDECAST_CHANNEL_PREFIX: "chat:1"`, "open to"},
		{"durable", "", "order:7", `durable: its messages are the entries of the stream "order:7"`, "!"},
		{"a letter too many", "", "chats:1", `"chat:*" in SIDECAST_CHANNELS misses it by one character
-> use the name "chat:1"`, "open to"},
		{"near a durable one", "", "orders:1", `"order:*" in SIDECAST_DURABLE_CHANNELS misses it by one character`, ""},
		{"nothing near", "", "news", `add "news" to SIDECAST_CHANNELS`, "misses"},
		{"closed", "PUBLIC=order:*", "chat:1", `! open to nobody: no pattern in SIDECAST_PUBLIC_CHANNELS matches "chat:1"
-> add "chat:1" to SIDECAST_PUBLIC_CHANNELS`, ""},
		{"almost public", "PUBLIC=chats:*", "chat:1", `"chats:*" misses it by one character`, ""},
		{"a login", "PUBLIC= LOGIN=SIDECAST_JWT_SECRET", "chat:1", "open to clients whose login grants it: SIDECAST_JWT_SECRET", "!"},
		{"a user's own channel", "PUBLIC= CHANNELS=user:* LOGIN=SIDECAST_AUTH_URL", "user:42", `open to the user "42", whose own channel it is`, "!"},
		{"the application is asked", "PUBLIC= ASKS=1", "chat:1", "open to clients that the application allows it: SIDECAST_CHANNEL_AUTH_URL", "!"},
		{"a signature", "PUBLIC= SECRET=1", "chat:1", "open to clients with a signature for it: SIDECAST_CHANNEL_SECRET", "!"},
		{"private in the Pusher protocol", "PUBLIC=* PUSHER=1", "private-chat", "open to clients of the Pusher protocol with what the application has signed for them: SIDECAST_PUSHER_KEY", "every client"},
		{"the relay signs", "PUBLIC=* PUSHER=1 SIGNS=1", "private-chat", "SIDECAST_BROADCAST_AUTH_URL", ""},
		{"private with a prefix of Laravel", "CHANNELS=* PUBLIC=* PUSHER=1", "app_database_private-chat", "-> set SIDECAST_CHANNEL_PREFIX to that prefix", ""},
		{"a prefix that means nothing without the protocol", "PUBLIC=*", "private-chat", "open to every client", "!"},
		{"a reserved name", "CHANNELS=* PUBLIC=*", "sidecast:mark", "! \"sidecast:mark\" is a reserved name", "open to"},
		{"not a name", "CHANNELS=* PUBLIC=*", "a\nb", `! "a\nb" is not a name`, "open to"},
		{"a name that is a list", "", "chat:1,chat:2", `! the name "chat:1,chat:2" looks like a mistake -> a comma does not separate`, ""},
		{"a name that is a pattern", "", "chat:*", `! the name "chat:*" looks like a mistake -> a channel name is not a pattern`, ""},
	} {
		t.Run(tt.comment, func(t *testing.T) {
			e := newSettings(t, strings.Fields(tt.settings)...).Explain(tt.channel)
			got := text(e.Says)
			for want := range strings.Lines(tt.want) {
				if !strings.Contains(got, strings.TrimSpace(want)) {
					t.Errorf("%s\nlacks %s", got, want)
				}
			}
			if tt.not != "" && strings.Contains(got, tt.not) {
				t.Errorf("%s\nhas %s", got, tt.not)
			}
		})
	}
}

func TestExplainKinds(t *testing.T) {
	s := newSettings(t, "CHANNELS=*", "PUSHER=1", "PRESENCE=presence-*")
	for channel, want := range map[string]string{
		"chat": "[]", "private-a": "[private]", "presence-a": "[presence private]", "cache-a": "[cache]",
		"private-encrypted-cache-a": "[cache encrypted private]", "#server-to-user-7": "[user]",
	} {
		if got := fmt.Sprint(s.Explain(channel).Kind); got != want {
			t.Errorf("%s is %s, want %s", channel, got, want)
		}
	}
}

// What the relay knows makes a sentence, with what helps.
func TestExplainState(t *testing.T) {
	now := time.Date(2026, 11, 27, 10, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		comment, channel string
		state            State
		want, not        string
	}{
		{"all is well", "chat:1", State{Redis: true, Listeners: 3, Protocols: map[string]int{"v1": 2, "sse": 1}, Last: now.Add(-90 * time.Second)},
			"3 clients listen at this relay now (2 v1, 1 sse)\nthe last message from Redis arrived 1m ago", "!"},
		{"one client", "chat:1", State{Redis: true, Listeners: 1, Protocols: map[string]int{"raw": 1}, Last: now}, "1 client listens at this relay now (1 raw)\narrived just now", "!"},
		{"no Redis", "chat:1", State{}, "! the relay has no connection to Redis", ""},
		{"nobody listens", "chat:1", State{Redis: true, Clients: 2}, "! nobody listens at this relay now (it has 2 clients on other channels)", ""},
		{"clients that catch up", "chat:1", State{Redis: true, Joining: 1, Last: now}, "1 client just subscribed", "!"},
		{"no message", "chat:1", State{Redis: true}, "! no message has arrived from Redis that the relay remembers: it keeps them for 5m0s at most\n-> publish while `sidecast trace chat:1` runs", ""},
		{"no message in the records", "chat:1", State{Redis: true, Past: &Past{Since: now.Add(-time.Hour)}}, "no message has arrived from Redis since 09:00:00 UTC", "remembers"},
		{"a message that only the records have", "chat:1", State{Redis: true, Listeners: 1, Past: &Past{Since: now.Add(-time.Hour), Last: now.Add(-time.Minute)}},
			"the last message from Redis arrived 1m ago", "!"},
		{"refusals", "chat:1", State{Redis: true, Last: now, Past: &Past{Since: now.Add(-time.Hour), At: now, Refused: map[string]int{"forbidden": 2, "unauthorized": 1}}},
			"! 2 subscribes were refused (forbidden) since 09:00:00 UTC, the last one just now\n! 1 subscribe was refused (unauthorized)\n-> the client has to log in", ""},
		{"an old entry", "order:1", State{Redis: true, Listeners: 1, Last: now.Add(-50 * time.Hour)}, "the newest entry of the stream was added at 2026-11-25T08:00:00Z", "!"},
		{"an empty stream", "order:1", State{Redis: true}, "! the stream \"order:1\" has no entry\nXADD order:1 '*' data PAYLOAD", ""},
		{"a key that is not a stream", "order:1", State{Redis: true, StreamProblem: "WRONGTYPE"}, "! the stream cannot be read: WRONGTYPE", ""},
		{"a similar name with listeners", "chat:1", State{Redis: true, Near: []NearName{{"Chat:1", LikeCase, 2, false}}},
			`! "Chat:1" differs by capital letters: 2 clients listening`, "and its messages"},
		{"a similar name with messages", "chat:1", State{Redis: true, Near: []NearName{{"app:chat:1", LikePrefix, 1, true}}},
			`! "app:chat:1" differs by a prefix: 1 client listening, and its messages come from Redis`, ""},
		{"a similar name, but all is well", "chat:1", State{Redis: true, Listeners: 1, Last: now, Near: []NearName{{"chat:", LikeCharacter, 1, true}}}, "", "!"},
		{"a name that is not relayed", "chats:1", State{Redis: true, Near: []NearName{{"chat:1", LikeCharacter, 1, true}}}, `! "chat:1" differs by one character`, "nobody listens"},
		{"too many channels", "chat:1", State{Redis: true, Listeners: 1, Last: now, Partial: true}, "not all names were compared", "!"},
	} {
		t.Run(tt.comment, func(t *testing.T) {
			s := newSettings(t)
			e := s.Explain(tt.channel)
			e.Add(s, &tt.state, now)
			got := text(e.Says)
			for want := range strings.Lines(tt.want) {
				if !strings.Contains(got, strings.TrimSpace(want)) {
					t.Errorf("%s\nlacks %s", got, want)
				}
			}
			if tt.not != "" && strings.Contains(got, tt.not) {
				t.Errorf("%s\nhas %s", got, tt.not)
			}
		})
	}
}

// The nearest names are kept, however many there are.
func TestNearList(t *testing.T) {
	l := NearList{Channel: "chat:room"}
	for i := range 1000 {
		l.Add(fmt.Sprintf("app%d:chat:room", i), i, false)
	}
	l.Add("chat.room", 1, true)
	l.Add("chat:room", 9, true)
	l.Add("news", 9, true)
	names := l.Names()
	if len(names) != maxNear || names[0].Channel != "chat.room" || names[1].Listeners != 999 {
		t.Errorf("%+v", names)
	}
}
