package auth

import (
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
