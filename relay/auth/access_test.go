package auth

import (
	"testing"

	"sidecast/relay/access"
	"sidecast/relay/protocol"
)

// TestAccess checks that nothing is open by default, and that no grant opens a
// reserved channel.
func TestAccess(t *testing.T) {
	everything := access.Patterns{access.MustPattern("*")}
	chats := access.Patterns{access.MustPattern("chat:*")}
	superuser := &access.Identity{
		User: "1", Subscribe: everything, Publish: everything,
		Own: []string{"sidecast:mark", "__x", "user:1"}, Join: []string{"sidecast:control"},
	}
	names := access.NewNames("app:", "")
	for _, tt := range []struct {
		comment string
		access  access.Rules
		id      *access.Identity
		channel string
		want    protocol.Code
	}{
		{"nothing is open", access.Rules{Channels: everything}, nil, "chat:1", protocol.CodeForbidden},
		{"a public channel that is not relayed", access.Rules{Public: everything}, superuser, "chat:1", protocol.CodeForbidden},
		{"public", access.Rules{Channels: everything, Public: chats}, nil, "chat:1", protocol.CodeOK},
		{"public, for a user", access.Rules{Channels: everything, Public: chats}, &access.Identity{User: "1"}, "chat:1", protocol.CodeOK},
		{"anonymous, and a login is configured", access.Rules{Channels: everything, Login: true}, nil, "chat:1", protocol.CodeUnauthorized},
		{"a user, and a login is configured", access.Rules{Channels: everything, Login: true}, &access.Identity{User: "1"}, "chat:1", protocol.CodeForbidden},
		{"anonymous, but the channel is not relayed", access.Rules{Channels: chats, Login: true}, nil, "x", protocol.CodeForbidden},
		{"a grant", access.Rules{Channels: everything}, &access.Identity{User: "1", Subscribe: chats}, "chat:1", protocol.CodeOK},
		{"the user's own channel", access.Rules{Channels: everything}, &access.Identity{User: "1", Own: []string{"user:1"}}, "user:1", protocol.CodeOK},
		{"another user's own channel", access.Rules{Channels: everything}, &access.Identity{User: "1", Own: []string{"user:1"}}, "user:10", protocol.CodeForbidden},
		{"publish does not open a channel", access.Rules{Channels: everything}, &access.Identity{User: "1", Publish: everything}, "chat:1", protocol.CodeForbidden},
		{"subscribe does not open a channel", access.Rules{Channels: everything}, &access.Identity{User: "1", Join: []string{"chat:1"}}, "chat:1", protocol.CodeForbidden},
		{"a star in a name is not a glob", access.Rules{Channels: everything}, &access.Identity{User: "1", Subscribe: access.Patterns{access.MustPattern("chat:1")}}, "chat:*", protocol.CodeForbidden},
		{"reserved", access.Rules{Channels: everything, Public: everything}, superuser, "sidecast:mark", protocol.CodeBadChannel},
		{"reserved by Redis", access.Rules{Channels: everything, Public: everything}, superuser, "__keyspace@0__:x", protocol.CodeBadChannel},
		{"reserved, with a channel prefix", access.Rules{Names: names, Channels: everything, Public: everything}, superuser, "sidecast:control", protocol.CodeBadChannel},
		{"an invalid name", access.Rules{Channels: everything, Public: everything}, superuser, "a\nb", protocol.CodeBadChannel},
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
