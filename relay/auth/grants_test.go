package auth

import (
	"errors"
	"testing"
	"time"
)

// TestUserInGrants checks that {user} in a pattern matches only the id of this
// user, also if the id contains glob characters, colons or percent signs.
func TestUserInGrants(t *testing.T) {
	grants := Grants{UserChannels: []string{"user:{user}"}}
	for _, tt := range []struct {
		comment, user, own string
		open, closed       []string
	}{
		{"digits", "42", "user:42", []string{"inbox:42:a", "inbox:42:"}, []string{"inbox:420:a", "inbox:4:a", "inbox:42"}},
		{"a colon", "42:private", "user:42%3Aprivate", []string{"inbox:42%3Aprivate:a"}, []string{"inbox:42:private:a", "inbox:42:a"}},
		{"a percent sign", "42%3Aprivate", "user:42%253Aprivate", []string{"inbox:42%253Aprivate:a"}, []string{"inbox:42%3Aprivate:a"}},
		{"a star", "*", "user:*", []string{"inbox:*:a"}, []string{"inbox:42:a", "inbox::a"}},
		{"a question mark", "4?", "user:4?", []string{"inbox:4?:a"}, []string{"inbox:42:a"}},
		{"a class", "[0-9]", "user:[0-9]", []string{"inbox:[0-9]:a"}, []string{"inbox:4:a"}},
		{"a backslash", `\*`, `user:\*`, []string{`inbox:\*:a`}, []string{"inbox:*:a", "inbox:42:a"}},
		{"the placeholder itself", "{user}", "user:{user}", []string{"inbox:{user}:a"}, []string{"inbox:42:a"}},
	} {
		id, err := grants.identity(tt.user, grantLists{channels: []string{"inbox:{user}:*"}}, time.Time{})
		if err != nil {
			t.Errorf("%s: %v", tt.comment, err)
			continue
		}
		if len(id.Own) != 1 || id.Own[0] != tt.own {
			t.Errorf("%s: own channels %q, want %q", tt.comment, id.Own, tt.own)
		}
		for _, channel := range tt.open {
			if !id.Subscribe.Match(channel) {
				t.Errorf("%s: %q is closed", tt.comment, channel)
			}
		}
		for _, channel := range tt.closed {
			if id.Subscribe.Match(channel) {
				t.Errorf("%s: %q is open", tt.comment, channel)
			}
		}
	}
}

// TestUserInClass checks that {user} in a class is rejected in every list of
// patterns of a token and of an answer. The class would match each character of
// the id, and those of its encoding: [{user}] with the id ":" would match "3".
func TestUserInClass(t *testing.T) {
	const want = "pattern has {user} between [ and ]; write it outside of them"
	for _, pattern := range []string{"room:[{user}]", "room:[^{user}]", "room:[a-{user}]", "room:[x{user}-z]*"} {
		for _, list := range []string{"channels", "publish"} {
			members := `"` + list + `":["chat:*","` + pattern + `"]`
			_, err := parseLogin(Grants{}, reply{status: 200, body: []byte(`{"user":":",` + members + `}`)})
			if p, ok := errors.AsType[*problem](err); !ok || p.text != list+": "+want {
				t.Errorf("an answer with %s: %v", members, err)
			}
			tokens := newTokens(t, SecretKeys(secret))
			token := rawToken(t, `{"alg":"HS256"}`, `{"sub":":",`+members+`,`+exp+`}`)
			if _, err := tokens.verify(token); err == nil || err.Error() != list+": "+want {
				t.Errorf("a token with %s: %v", members, err)
			}
		}
	}
	if _, err := Mint(MintConfig{Secret: secret, Algorithm: "HS256", User: "42", Channels: []string{"room:[{user}]"}, TTL: time.Hour}); err == nil {
		t.Error("a token with {user} in a class is created")
	}
}

func TestUserID(t *testing.T) {
	for text, want := range map[string]string{
		`"42"`: "42", `42`: "42", `-1`: "-1", `"a\u0062"`: "ab", `18446744073709551615`: "18446744073709551615",
		`1.5`: "", `1e3`: "", `true`: "", `null`: "", `[]`: "", `123456789012345678901`: "",
	} {
		o, err := parseObject([]byte(`{"sub":` + text + `}`))
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		if id := o.user("sub"); id != want || (o.err == nil) != (want != "") {
			t.Errorf("user id %s: got %q, %v", text, id, o.err)
		}
	}
}
