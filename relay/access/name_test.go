package access

import (
	"strings"
	"testing"
)

func TestValidChannel(t *testing.T) {
	for _, test := range []struct {
		name string
		want bool
		why  string
	}{
		{"chat", true, "plain"},
		{"chat:42", true, "with the usual separator of Redis"},
		{"*", true, "a star is an ordinary character in a name"},
		{"chat room ✓ 👍", true, "any language, spaces, emoji"},
		{" chat ", true, "spaces at the ends are part of the name"},
		{strings.Repeat("x", 200), true, "the longest"},
		{"", false, "empty"},
		{strings.Repeat("x", 201), false, "one byte too long"},
		{strings.Repeat("é", 101), false, "the limit is in bytes, not in characters"},
		{"a\x00b", false, "NUL"},
		{"a\r\nb", false, "line break"},
		{"a\tb", false, "tab"},
		{"a\x7fb", false, "DEL"},
		{"a\u0085b", false, "C1 control"},
		{"a\u2028b", false, "line separator"},
		{"a\u2029b", false, "paragraph separator"},
		{"a\u202eb", false, "right-to-left override"},
		{"a\u2066b", false, "isolate"},
		{"\ufeffa", false, "byte order mark"},
		{"a\xffb", false, "not UTF-8"},
		{"a\xc3", false, "truncated inside a character"},
		{"a\xed\xa0\x80", false, "a surrogate"},
		{"a\ufffdb", true, "the replacement character itself, correctly encoded"},
	} {
		if got := ValidChannel(test.name); got != test.want {
			t.Errorf("ValidChannel(%q) = %v, want %v: %s", test.name, got, test.want, test.why)
		}
		if got := ValidChannel([]byte(test.name)); got != test.want {
			t.Errorf("ValidChannel([]byte(%q)) = %v, want %v: %s", test.name, got, test.want, test.why)
		}
	}
	if ValidUser(strings.Repeat("x", 129)) || !ValidUser(strings.Repeat("x", 128)) {
		t.Error("a user id must have 1 to 128 bytes")
	}
}

func TestReserved(t *testing.T) {
	for _, test := range []struct {
		channelPrefix, keyPrefix, channel string
		want                              bool
		why                               string
	}{
		{"", "", "chat", false, "an ordinary name"},
		{"", "", "sidecast:mark", true, "a name of Sidecast"},
		{"", "", "sidecast", false, "the prefix ends in a colon"},
		{"", "", "__keyspace@0__:x", true, "a name of Redis"},
		{"", "x_", "x_y", true, "another key prefix"},
		{"", "x_", "sidecast:mark", true, "the default key prefix, if the key prefix is another"},
		{"side", "x_", "cast:mark", true, "the default key prefix in Redis"},
		{"app:", "x_", "sidecast:mark", true, "the default key prefix without the channel prefix"},
		{"app:", "x_", "x_y", true, "another key prefix without the channel prefix"},
		{"", "sidecast:a:", "sidecast:b", true, "a key prefix that begins with the default one"},
		{"app:", "", "sidecast:mark", true, "reserved without the channel prefix"},
		{"side", "", "cast:mark", true, "reserved with the channel prefix"},
		{"_", "", "_x", true, "begins with __ in Redis"},
		{"app:", "", "__x", true, "begins with __ without the prefix"},
		{"app:", "", "chat", false, "an ordinary name after a prefix"},
	} {
		names := NewNames(test.channelPrefix, test.keyPrefix)
		if got := names.Reserved(test.channel); got != test.want {
			t.Errorf("%+v: Reserved(%q) = %v, want %v: %s", names, test.channel, got, test.want, test.why)
		}
		name := []byte(names.Redis(test.channel))
		channel, ok := names.Channel(name)
		if !ok || string(channel) != test.channel {
			t.Fatalf("%+v: Channel(%q) = %q, %v", names, name, channel, ok)
		}
		if got := names.ReservedBytes(name, channel); got != test.want {
			t.Errorf("%+v: ReservedBytes(%q) = %v, want %v: %s", names, name, got, test.want, test.why)
		}
	}
}

func TestNames(t *testing.T) {
	names := NewNames("a*:", "")
	if got := names.RedisPattern(MustPattern("chat:*")); got != `a\*:chat:*` {
		t.Errorf("RedisPattern = %q, want the prefix escaped", got)
	}
	if _, ok := names.Channel([]byte("b:chat")); ok {
		t.Error("a name without the prefix is accepted as a channel")
	}
	if got := names.Marker(); got != "sidecast:mark" {
		t.Errorf("Marker = %q", got)
	}
	if got := names.Public("control"); got != "a*:sidecast:control" {
		t.Errorf("Public = %q, want it after the channel prefix", got)
	}
	if got := names.Internal("relays"); got != "sidecast:relays" {
		t.Errorf("Internal = %q", got)
	}
}
