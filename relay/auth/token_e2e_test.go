package auth_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"sidecast/relay/relaytest"
)

// A user with a token hears what is public, what the token opens and what is the user's own, and nothing else.
func TestTokenOpens(t *testing.T) {
	s := newStage(t, "JWT_SECRET="+theSecret)
	token := s.token("--user", "42", "--channel", "chat:*", "--channel", "inbox:{user}:*", "--publish", "chat:lobby", "--subscribe", "chat:1", "--subscribe", "other")
	c := s.dial(caller{token: token})
	if e := s.await(c, "the handshake", relaytest.Is(relaytest.KindOpened)); e.Text != "sidecast.v1" {
		t.Errorf("echoed %q", e.Text)
	}
	s.await(c, "own channel", on(relaytest.KindSubscribed, "user:42"))
	s.await(c, "asked for by the token", on(relaytest.KindSubscribed, "chat:1"))
	s.await(c, "asked for and not opened", on(relaytest.KindError, "other"))
	for channel, want := range map[string]string{
		"chat:2": "ok", "public:1": "ok", "inbox:42:x": "ok", "user:42": "ok", "inbox:43:x": "forbidden", "user:43": "forbidden",
		"user:*": "forbidden", "*": "forbidden", "other": "forbidden", "sidecast:mark": "bad_channel", "__keyevent@0__:set": "bad_channel",
		"chat:\u202e": "bad_channel",
	} {
		if got := command(t, c.Subscribe(t.Context(), channel)); got != want {
			t.Errorf("subscribe %q: %s, want %s", channel, got, want)
		}
	}
	for channel, want := range map[string]string{"chat:lobby": "ok", "chat:2": "forbidden", "public:1": "forbidden", "sidecast:control": "bad_channel"} {
		_, err := c.Publish(t.Context(), channel, []byte("x"))
		if got := command(t, err); got != want {
			t.Errorf("publish %q: %s, want %s", channel, got, want)
		}
	}
	s.redis.CLI("PUBLISH", "user:42", "for you")
	if e := s.await(c, "one's own message", on(relaytest.KindMessage, "user:42")); e.Data != "for you" {
		t.Errorf("heard %q", e.Data)
	}

	nobody := s.dial(caller{})
	for channel, want := range map[string]string{"public:1": "ok", "chat:1": "unauthorized", "user:42": "unauthorized"} {
		if got := command(t, nobody.Subscribe(t.Context(), channel)); got != want {
			t.Errorf("anybody subscribes %q: %s, want %s", channel, got, want)
		}
	}
}

// Raw clients: all or nothing, with the code that says what to do.
func TestTokenOnRaw(t *testing.T) {
	s := newStage(t, "JWT_SECRET="+theSecret, "DEFAULT_CHANNELS=public:1")
	good := s.token("--user", "42", "--channel", "chat:*", "--publish", "chat:1")
	eager := s.token("--user", "42", "--subscribe", "chat:1")
	c := s.dial(caller{raw: true, token: good})
	s.redis.CLI("PUBLISH", "user:42", "own")
	s.await(c, "none named: one's own too", relaytest.Is(relaytest.KindMessage))
	named := s.dial(caller{raw: true, token: good, channels: []string{"chat:1"}})
	s.redis.CLI("PUBLISH", "user:42", "own")
	if err := named.SendText("hello"); err != nil {
		t.Fatal(err)
	}
	if e := s.await(named, "named: exactly these", relaytest.Is(relaytest.KindMessage)); e.Data != "hello" {
		t.Errorf("heard %q", e.Data)
	}
	for _, tt := range []struct {
		comment string
		caller
		code uint16
	}{
		{"one of two is not open", caller{token: good, channels: []string{"chat:1", "other"}}, 4403},
		{"nobody may log in", caller{channels: []string{"chat:1"}}, 4401},
		{"a token that asks for what it does not open", caller{token: eager}, 4403},
		{"reserved", caller{token: good, channels: []string{"sidecast:mark"}}, 4403},
		{"a bad token", caller{token: "bad", channels: []string{"public:1"}}, 4401},
		{"another's token", caller{token: good[:len(good)-4] + "AAAA"}, 4401},
	} {
		tt.raw = true
		s.wantClose(s.dial(tt.caller), tt.comment, tt.code)
	}
}

// The ways in which a token comes, and what is said of those that come wrongly.
func TestTokenTransport(t *testing.T) {
	s := newStage(t, "JWT_SECRET="+theSecret, "JWT_COOKIE=session_token", "JWT_PREVIOUS_SECRET="+strings.ToUpper(theSecret))
	token := s.token("--user", "42")
	for comment, header := range map[string]http.Header{
		"header": {"Authorization": {"Bearer " + token}},
		"cookie": {"Cookie": {"a=b; session_token=" + token}},
	} {
		s.await(s.dial(caller{header: header}), comment, on(relaytest.KindSubscribed, "user:42"))
	}
	s.wantClose(s.dial(caller{header: http.Header{"Cookie": {"session_token=x"}}}), "a bad cookie", 4401)
	c := s.dial(caller{query: "?token=" + token})
	if got := command(t, c.Subscribe(t.Context(), "user:42")); got != "unauthorized" {
		t.Errorf("a token in the URL of a WebSocket is no credential: %s", got)
	}
	for comment, offer := range map[string][]string{
		"alone": {"sidecast.token." + token}, "two": {"sidecast.v1", "sidecast.token." + token, "sidecast.token." + token},
		"beside a stranger": {"sidecast.token." + token, "graphql-ws"},
	} {
		d := &relaytest.Dialer{URL: s.relay.URL(), Offer: offer}
		_, err := d.Dial(t.Context())
		refused, ok := err.(*relaytest.HandshakeError)
		if !ok || refused.Status != http.StatusBadRequest || strings.Contains(refused.Body, token) {
			t.Errorf("%s: %v", comment, err)
		}
	}
}

// At exp the session ends with 4401, and nothing that is published a second later reaches it; a token over the connection
// puts that off, for the same user.
func TestTokenEnds(t *testing.T) {
	s := newStage(t, "JWT_SECRET="+theSecret)
	long := s.token("--user", "42", "--channel", "chat:1", "--ttl", "1h")
	other := s.token("--user", "43")
	short := s.token("--user", "42", "--channel", "chat:*", "--ttl", "5s")
	doomed, renewed, anybody := s.dial(caller{token: short}), s.dial(caller{token: short}), s.dial(caller{})
	for _, c := range []*relaytest.Client{doomed, renewed} {
		if err := c.Subscribe(t.Context(), "chat:1", "chat:2"); err != nil {
			t.Fatal(err)
		}
	}
	auth := func(c *relaytest.Client, token string) {
		t.Helper()
		if err := c.SendText(`{"type":"auth","ref":777,"token":"` + token + `"}`); err != nil {
			t.Fatal(err)
		}
	}
	auth(renewed, long)
	s.await(renewed, "renewed", relaytest.Is(relaytest.KindOK))
	s.await(renewed, "what the new token does not open", on(relaytest.KindUnsubscribed, "chat:2"))
	auth(anybody, long)
	s.await(anybody, "anybody becomes somebody", on(relaytest.KindSubscribed, "user:42"))

	s.wantClose(doomed, "expired", 4401)
	if left := time.Until(expiry(t, short)); left > time.Second {
		t.Errorf("closed %v before its token expired", left)
	}
	s.redis.CLI("PUBLISH", "chat:1", "later")
	s.await(renewed, "it lives on", on(relaytest.KindMessage, "chat:1"))

	auth(renewed, other)
	s.wantClose(renewed, "another user", 4401)
	auth(anybody, "bad")
	s.wantClose(anybody, "a bad token", 4401)
}

// expiry returns the instant that a token names as its end.
func expiry(t *testing.T, token string) time.Time {
	t.Helper()
	claims := jwt.RegisteredClaims{}
	if _, _, err := jwt.NewParser().ParseUnverified(token, &claims); err != nil {
		t.Fatal(err)
	}
	return claims.ExpiresAt.Time
}

func TestAuthWithoutTokens(t *testing.T) {
	s := newStage(t)
	c := s.dial(caller{})
	if err := c.SendText(`{"type":"auth","ref":1,"token":"x"}`); err != nil {
		t.Fatal(err)
	}
	if e := s.await(c, "no tokens here", relaytest.Is(relaytest.KindError)); e.Text != "unknown_type" {
		t.Errorf("answered %q", e.Text)
	}
}

// PUBLISH_FORMAT=json says who speaks.
func TestPublishFormat(t *testing.T) {
	s := newStage(t, "JWT_SECRET="+theSecret, "PUBLISH_FORMAT=json", "PUBLISH_CHANNELS=public:*")
	somebody, nobody := s.dial(caller{token: s.token("--user", "42")}), s.dial(caller{})
	if err := nobody.Subscribe(t.Context(), "public:1"); err != nil {
		t.Fatal(err)
	}
	session := s.await(somebody, "welcome", relaytest.Is(relaytest.KindWelcome)).Text
	var last relaytest.Event
	for _, tt := range []struct {
		from    *relaytest.Client
		payload string
		want    map[string]any
	}{
		{somebody, `<b>"hi"</b>`, map[string]any{"user": "42", "session": session, "data": `<b>"hi"</b>`}},
		{somebody, "\xff", map[string]any{"user": "42", "session": session, "base64": "/w=="}},
		{nobody, "", map[string]any{"user": nil, "session": s.await(nobody, "welcome", relaytest.Is(relaytest.KindWelcome)).Text, "data": ""}},
	} {
		if _, err := tt.from.Publish(t.Context(), "public:1", []byte(tt.payload)); err != nil {
			t.Fatal(err)
		}
		var err error
		if last, err = nobody.AwaitAfter(t.Context(), last, on(relaytest.KindMessage, "public:1")); err != nil {
			t.Fatal(err)
		}
		var got map[string]any
		if err := json.Unmarshal([]byte(last.Data), &got); err != nil {
			t.Fatalf("%q: %v", last.Data, err)
		}
		if len(got) != 3 {
			t.Errorf("%q has fields %v", tt.payload, got)
		}
		for name, value := range tt.want {
			if got[name] != value {
				t.Errorf("%q: %s is %v, want %v", tt.payload, name, got[name], value)
			}
		}
	}
}

// A relay that could open nothing to anybody, or everything to every page, does not start, and says what to set.
func TestRefusesToStart(t *testing.T) {
	s := newStage(t)
	base := func(settings ...string) map[string]string {
		env := map[string]string{"SIDECAST_REDIS_URL": s.redis.URL(), "SIDECAST_CHANNELS": "chat:*"}
		for _, setting := range settings {
			name, value, _ := strings.Cut(setting, "=")
			env["SIDECAST_"+name] = value
		}
		return env
	}
	for _, tt := range []struct {
		comment string
		env     map[string]string
		says    []string
	}{
		{"nothing is open", base(), []string{"SIDECAST_PUBLIC_CHANNELS", "SIDECAST_AUTH_URL", "SIDECAST_JWT_SECRET"}},
		{"any page with anybody's login", base("AUTH_URL=http://127.0.0.1:1/", "ALLOWED_ORIGINS=*"), []string{"SIDECAST_ALLOWED_ORIGINS", "SIDECAST_AUTH_URL"}},
		{"any page with anybody's cookie", base("JWT_SECRET="+theSecret, "JWT_COOKIE=t", "ALLOWED_ORIGINS=*"), []string{"SIDECAST_ALLOWED_ORIGINS", "SIDECAST_JWT_COOKIE"}},
		{"an algorithm that the key cannot verify", base("JWT_SECRET="+theSecret, "JWT_ALGORITHMS=RS256"), []string{"SIDECAST_JWT_ALGORITHMS", "HS256"}},
		{"alg none", base("JWT_SECRET="+theSecret, "JWT_ALGORITHMS=none"), []string{"SIDECAST_JWT_ALGORITHMS"}},
		{"reserved", base("JWT_SECRET="+theSecret, "USER_CHANNELS=sidecast:{user}"), []string{"SIDECAST_USER_CHANNELS"}},
	} {
		log := refuses(t, tt.env)
		for _, part := range tt.says {
			if !strings.Contains(log, part) {
				t.Errorf("%s: does not say %s:\n%s", tt.comment, part, log)
			}
		}
		if strings.Contains(log, theSecret) {
			t.Errorf("%s: shows the secret", tt.comment)
		}
	}
}
