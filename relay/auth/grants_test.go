package auth

import (
	"testing"
	"time"

	"sidecast/relay"
)

// {user} stands for the user and for nothing else: no id can reach beyond its own place in a name.
func TestUserInGrants(t *testing.T) {
	grants := Grants{UserChannels: []string{"user:{user}"}}
	for _, tt := range []struct {
		comment, user, own string
		opens, shuts       []string
	}{
		{"plain", "42", "user:42", []string{"inbox:42:a", "inbox:42:"}, []string{"inbox:420:a", "inbox:4:a", "inbox:42"}},
		{"a colon", "42:private", "user:42%3Aprivate", []string{"inbox:42%3Aprivate:a"}, []string{"inbox:42:private:a", "inbox:42:a"}},
		{"a percent sign", "42%3Aprivate", "user:42%253Aprivate", []string{"inbox:42%253Aprivate:a"}, []string{"inbox:42%3Aprivate:a"}},
		{"a star", "*", "user:*", []string{"inbox:*:a"}, []string{"inbox:42:a", "inbox::a"}},
		{"a question mark", "4?", "user:4?", []string{"inbox:4?:a"}, []string{"inbox:42:a"}},
		{"a class", "[0-9]", "user:[0-9]", []string{"inbox:[0-9]:a"}, []string{"inbox:4:a"}},
		{"a backslash", `\*`, `user:\*`, []string{`inbox:\*:a`}, []string{"inbox:*:a", "inbox:42:a"}},
		{"the mark itself", "{user}", "user:{user}", []string{"inbox:{user}:a"}, []string{"inbox:42:a"}},
	} {
		id, err := grants.identity(tt.user, saidGrants{channels: []string{"inbox:{user}:*"}}, time.Time{})
		if err != nil {
			t.Errorf("%s: %v", tt.comment, err)
			continue
		}
		if len(id.Own) != 1 || id.Own[0] != tt.own {
			t.Errorf("%s: own channels %q, want %q", tt.comment, id.Own, tt.own)
		}
		for _, channel := range tt.opens {
			if !id.Hear.Match(channel) {
				t.Errorf("%s: %q is shut", tt.comment, channel)
			}
		}
		for _, channel := range tt.shuts {
			if id.Hear.Match(channel) {
				t.Errorf("%s: %q is open", tt.comment, channel)
			}
		}
	}
}

// Deny by default; what is reserved no grant opens, with every grant at its widest.
func TestAccess(t *testing.T) {
	all := relay.Patterns{relay.MustPattern("*")}
	some := relay.Patterns{relay.MustPattern("chat:*")}
	god := &relay.Identity{User: "1", Hear: all, Publish: all, Own: []string{"sidecast:mark", "__x", "user:1"}, Join: []string{"sidecast:control"}}
	names := relay.NewNames("app:", "")
	for _, tt := range []struct {
		comment string
		access  relay.Access
		id      *relay.Identity
		channel string
		want    relay.Code
	}{
		{"nothing is open", relay.Access{Channels: all}, nil, "chat:1", relay.CodeForbidden},
		{"what is not relayed is not open", relay.Access{Public: all}, god, "chat:1", relay.CodeForbidden},
		{"public", relay.Access{Channels: all, Public: some}, nil, "chat:1", relay.CodeOK},
		{"public for somebody too", relay.Access{Channels: all, Public: some}, &relay.Identity{User: "1"}, "chat:1", relay.CodeOK},
		{"who could log in is told to", relay.Access{Channels: all, Login: true}, nil, "chat:1", relay.CodeUnauthorized},
		{"who has is not", relay.Access{Channels: all, Login: true}, &relay.Identity{User: "1"}, "chat:1", relay.CodeForbidden},
		{"logging in does not help where nothing is relayed", relay.Access{Channels: some, Login: true}, nil, "x", relay.CodeForbidden},
		{"a grant", relay.Access{Channels: all}, &relay.Identity{User: "1", Hear: some}, "chat:1", relay.CodeOK},
		{"one's own", relay.Access{Channels: all}, &relay.Identity{User: "1", Own: []string{"user:1"}}, "user:1", relay.CodeOK},
		{"another's own", relay.Access{Channels: all}, &relay.Identity{User: "1", Own: []string{"user:1"}}, "user:10", relay.CodeForbidden},
		{"to speak is not to hear", relay.Access{Channels: all}, &relay.Identity{User: "1", Publish: all}, "chat:1", relay.CodeForbidden},
		{"to join is not to be let in", relay.Access{Channels: all}, &relay.Identity{User: "1", Join: []string{"chat:1"}}, "chat:1", relay.CodeForbidden},
		{"a star is a letter", relay.Access{Channels: all}, &relay.Identity{User: "1", Hear: relay.Patterns{relay.MustPattern("chat:1")}}, "chat:*", relay.CodeForbidden},
		{"reserved", relay.Access{Channels: all, Public: all}, god, "sidecast:mark", relay.CodeBadChannel},
		{"reserved for Redis", relay.Access{Channels: all, Public: all}, god, "__keyspace@0__:x", relay.CodeBadChannel},
		{"reserved behind a prefix", relay.Access{Names: names, Channels: all, Public: all}, god, "sidecast:control", relay.CodeBadChannel},
		{"no name", relay.Access{Channels: all, Public: all}, god, "a\nb", relay.CodeBadChannel},
	} {
		if tt.access.Names == (relay.Names{}) {
			tt.access.Names = relay.NewNames("", "")
		}
		if got := tt.access.Subscribe(tt.id, tt.channel); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.comment, got, tt.want)
		}
		if got := tt.access.PublishTo(tt.id, tt.channel); tt.want == relay.CodeBadChannel && got != tt.want {
			t.Errorf("publish: %s: %v", tt.comment, got)
		}
	}
}
