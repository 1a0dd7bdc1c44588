package auth_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"sidecast/relay/relaytest"
)

// TestTokenGrants checks that a user with a token may use public channels, the
// channels of the token and the user's own channels, and no others.
func TestTokenGrants(t *testing.T) {
	s := newSetup(t, "JWT_SECRET="+testSecret)
	token := s.token("--user", "42", "--channel", "chat:*", "--channel", "inbox:{user}:*", "--publish", "chat:lobby", "--subscribe", "chat:1", "--subscribe", "other")
	c := s.dial(dialOptions{token: token})
	if e := s.await(c, "the handshake", relaytest.Is(relaytest.KindOpened)); e.Text != "sidecast.v1" {
		t.Errorf("the selected subprotocol is %q", e.Text)
	}
	s.await(c, "the user's own channel", relaytest.IsOn(relaytest.KindSubscribed, "user:42"))
	s.await(c, "subscribe in the token", relaytest.IsOn(relaytest.KindSubscribed, "chat:1"))
	s.await(c, "subscribe in the token, not open", relaytest.IsOn(relaytest.KindError, "other"))
	for channel, want := range map[string]string{
		"chat:2": "ok", "public:1": "ok", "inbox:42:x": "ok", "user:42": "ok", "inbox:43:x": "forbidden", "user:43": "forbidden",
		"user:*": "forbidden", "*": "forbidden", "other": "forbidden", "sidecast:mark": "bad_channel", "__keyevent@0__:set": "bad_channel",
		"chat:\u202e": "bad_channel",
	} {
		if got := resultOf(t, c.Subscribe(t.Context(), channel)); got != want {
			t.Errorf("subscribe %q: %s, want %s", channel, got, want)
		}
	}
	for channel, want := range map[string]string{"chat:lobby": "ok", "chat:2": "forbidden", "public:1": "forbidden", "sidecast:control": "bad_channel"} {
		_, err := c.Publish(t.Context(), channel, []byte("x"))
		if got := resultOf(t, err); got != want {
			t.Errorf("publish %q: %s, want %s", channel, got, want)
		}
	}
	s.redis.CLI("PUBLISH", "user:42", "for you")
	if e := s.await(c, "a message on the user's own channel", relaytest.IsOn(relaytest.KindMessage, "user:42")); e.Data != "for you" {
		t.Errorf("received %q", e.Data)
	}

	anonymous := s.dial(dialOptions{})
	for channel, want := range map[string]string{"public:1": "ok", "chat:1": "unauthorized", "user:42": "unauthorized"} {
		if got := resultOf(t, anonymous.Subscribe(t.Context(), channel)); got != want {
			t.Errorf("an anonymous client subscribes to %q: %s, want %s", channel, got, want)
		}
	}
}

// TestTokenOnRaw checks that a raw client gets all its channels or is closed,
// and with which code.
func TestTokenOnRaw(t *testing.T) {
	s := newSetup(t, "JWT_SECRET="+testSecret, "DEFAULT_CHANNELS=public:1")
	token := s.token("--user", "42", "--channel", "chat:*", "--publish", "chat:1")
	closedSubscribe := s.token("--user", "42", "--subscribe", "chat:1")
	c := s.dial(dialOptions{raw: true, token: token})
	s.redis.CLI("PUBLISH", "user:42", "own")
	s.await(c, "no channel named: the user's own too", relaytest.Is(relaytest.KindMessage))
	named := s.dial(dialOptions{raw: true, token: token, channels: []string{"chat:1"}})
	s.redis.CLI("PUBLISH", "user:42", "own")
	if err := named.SendText("hello"); err != nil {
		t.Fatal(err)
	}
	if e := s.await(named, "channels named: only these", relaytest.Is(relaytest.KindMessage)); e.Data != "hello" {
		t.Errorf("received %q", e.Data)
	}
	for _, tt := range []struct {
		comment string
		dialOptions
		code uint16
	}{
		{"one of two is not open", dialOptions{token: token, channels: []string{"chat:1", "other"}}, 4403},
		{"anonymous, and a login is configured", dialOptions{channels: []string{"chat:1"}}, 4401},
		{"a token that subscribes to a channel that is not open", dialOptions{token: closedSubscribe}, 4403},
		{"reserved", dialOptions{token: token, channels: []string{"sidecast:mark"}}, 4403},
		{"a bad token", dialOptions{token: "bad", channels: []string{"public:1"}}, 4401},
		{"a token in the URL", dialOptions{query: "?token=" + token, channels: []string{"chat:1"}}, 4401},
		{"a token with a wrong signature", dialOptions{token: token[:len(token)-4] + "AAAA"}, 4401},
	} {
		tt.raw = true
		s.wantClose(s.dial(tt.dialOptions), tt.comment, tt.code)
	}
}

// TestTokenExpires checks that a session ends with 4401 when its token expires
// and receives nothing afterwards, unless it has sent a new token for the same
// user.
func TestTokenExpires(t *testing.T) {
	s := newSetup(t, "JWT_SECRET="+testSecret)
	long := s.token("--user", "42", "--channel", "chat:1", "--ttl", "1h")
	other := s.token("--user", "43")
	short := s.token("--user", "42", "--channel", "chat:*", "--ttl", "5s")
	expiring, renewed, anonymous := s.dial(dialOptions{token: short}), s.dial(dialOptions{token: short}), s.dial(dialOptions{})
	for _, c := range []*relaytest.Client{expiring, renewed} {
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
	s.await(renewed, "a channel that the new token does not open", relaytest.IsOn(relaytest.KindUnsubscribed, "chat:2"))
	auth(anonymous, long)
	s.await(anonymous, "an anonymous client logs in", relaytest.IsOn(relaytest.KindSubscribed, "user:42"))

	s.wantClose(expiring, "expired", 4401)
	if left := time.Until(expiry(t, short)); left > time.Second {
		t.Errorf("closed %v before its token expired", left)
	}
	s.redis.CLI("PUBLISH", "chat:1", "later")
	s.await(renewed, "a message after the old token has expired", relaytest.IsOn(relaytest.KindMessage, "chat:1"))

	auth(renewed, other)
	s.wantClose(renewed, "another user", 4401)
	auth(anonymous, "bad")
	s.wantClose(anonymous, "a bad token", 4401)
}

// expiry returns the time at which a token expires.
func expiry(t *testing.T, token string) time.Time {
	t.Helper()
	claims := jwt.RegisteredClaims{}
	if _, _, err := jwt.NewParser().ParseUnverified(token, &claims); err != nil {
		t.Fatal(err)
	}
	return claims.ExpiresAt.Time
}

// TestPublishFormat checks the JSON that Redis receives with
// PUBLISH_FORMAT=json.
func TestPublishFormat(t *testing.T) {
	s := newSetup(t, "JWT_SECRET="+testSecret, "PUBLISH_FORMAT=json", "PUBLISH_CHANNELS=public:*")
	user, anonymous := s.dial(dialOptions{token: s.token("--user", "42")}), s.dial(dialOptions{})
	if err := anonymous.Subscribe(t.Context(), "public:1"); err != nil {
		t.Fatal(err)
	}
	session := s.await(user, "welcome", relaytest.Is(relaytest.KindWelcome)).Text
	var last relaytest.Event
	for _, tt := range []struct {
		from    *relaytest.Client
		payload string
		want    map[string]any
	}{
		{user, `<b>"hi"</b>`, map[string]any{"user": "42", "session": session, "data": `<b>"hi"</b>`}},
		{user, "\xff", map[string]any{"user": "42", "session": session, "base64": "/w=="}},
		{anonymous, "", map[string]any{"user": nil, "session": s.await(anonymous, "welcome", relaytest.Is(relaytest.KindWelcome)).Text, "data": ""}},
	} {
		if _, err := tt.from.Publish(t.Context(), "public:1", []byte(tt.payload)); err != nil {
			t.Fatal(err)
		}
		var err error
		if last, err = anonymous.AwaitAfter(t.Context(), last, relaytest.IsOn(relaytest.KindMessage, "public:1")); err != nil {
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
