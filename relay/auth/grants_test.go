package auth

import (
	"testing"
	"time"

	"sidecast/relay/access"
	"sidecast/relay/protocol"
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
			if !id.Subscribe.Match(channel) {
				t.Errorf("%s: %q is shut", tt.comment, channel)
			}
		}
		for _, channel := range tt.shuts {
			if id.Subscribe.Match(channel) {
				t.Errorf("%s: %q is open", tt.comment, channel)
			}
		}
	}
}

// Deny by default; what is reserved no grant opens, with every grant at its widest.
func TestAccess(t *testing.T) {
	all := access.Patterns{access.MustPattern("*")}
	some := access.Patterns{access.MustPattern("chat:*")}
	god := &access.Identity{User: "1", Subscribe: all, Publish: all, Own: []string{"sidecast:mark", "__x", "user:1"}, Join: []string{"sidecast:control"}}
	names := access.NewNames("app:", "")
	for _, tt := range []struct {
		comment string
		access  access.Rules
		id      *access.Identity
		channel string
		want    protocol.Code
	}{
		{"nothing is open", access.Rules{Channels: all}, nil, "chat:1", protocol.CodeForbidden},
		{"what is not relayed is not open", access.Rules{Public: all}, god, "chat:1", protocol.CodeForbidden},
		{"public", access.Rules{Channels: all, Public: some}, nil, "chat:1", protocol.CodeOK},
		{"public for somebody too", access.Rules{Channels: all, Public: some}, &access.Identity{User: "1"}, "chat:1", protocol.CodeOK},
		{"who could log in is told to", access.Rules{Channels: all, Login: true}, nil, "chat:1", protocol.CodeUnauthorized},
		{"who has is not", access.Rules{Channels: all, Login: true}, &access.Identity{User: "1"}, "chat:1", protocol.CodeForbidden},
		{"logging in does not help where nothing is relayed", access.Rules{Channels: some, Login: true}, nil, "x", protocol.CodeForbidden},
		{"a grant", access.Rules{Channels: all}, &access.Identity{User: "1", Subscribe: some}, "chat:1", protocol.CodeOK},
		{"one's own", access.Rules{Channels: all}, &access.Identity{User: "1", Own: []string{"user:1"}}, "user:1", protocol.CodeOK},
		{"another's own", access.Rules{Channels: all}, &access.Identity{User: "1", Own: []string{"user:1"}}, "user:10", protocol.CodeForbidden},
		{"to speak is not to hear", access.Rules{Channels: all}, &access.Identity{User: "1", Publish: all}, "chat:1", protocol.CodeForbidden},
		{"to join is not to be let in", access.Rules{Channels: all}, &access.Identity{User: "1", Join: []string{"chat:1"}}, "chat:1", protocol.CodeForbidden},
		{"a star is a letter", access.Rules{Channels: all}, &access.Identity{User: "1", Subscribe: access.Patterns{access.MustPattern("chat:1")}}, "chat:*", protocol.CodeForbidden},
		{"reserved", access.Rules{Channels: all, Public: all}, god, "sidecast:mark", protocol.CodeBadChannel},
		{"reserved for Redis", access.Rules{Channels: all, Public: all}, god, "__keyspace@0__:x", protocol.CodeBadChannel},
		{"reserved behind a prefix", access.Rules{Names: names, Channels: all, Public: all}, god, "sidecast:control", protocol.CodeBadChannel},
		{"no name", access.Rules{Channels: all, Public: all}, god, "a\nb", protocol.CodeBadChannel},
	} {
		if tt.access.Names == (access.Names{}) {
			tt.access.Names = access.NewNames("", "")
		}
		if got := tt.access.Subscribe(tt.id, tt.channel); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.comment, got, tt.want)
		}
		if got := tt.access.PublishTo(tt.id, tt.channel); tt.want == protocol.CodeBadChannel && got != tt.want {
			t.Errorf("publish: %s: %v", tt.comment, got)
		}
	}
}
