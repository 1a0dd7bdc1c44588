package access_test

import (
	"slices"
	"testing"

	"github.com/redis/go-redis/v9"

	"sidecast/relay/access"
	"sidecast/relay/relaytest/redistest"
)

// TestPatternAgreesWithRedis compares the names that patterns match with those
// that they match in Redis.
func TestPatternAgreesWithRedis(t *testing.T) {
	server := redistest.Start(t)
	client := redis.NewClient(&redis.Options{Addr: server.Addr, Protocol: 2, DisableIdentity: true})
	t.Cleanup(func() { _ = client.Close() })
	names := []string{"chat", "chat:1", "chat:a:b", "a", "b", "^", "]", "-", "*", "?", "\\", "é", "ax", "bx", "a]", "room9", "x\xff"}
	sub := client.Subscribe(t.Context(), names...)
	t.Cleanup(func() { _ = sub.Close() })
	for range names {
		if _, err := sub.Receive(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	for _, source := range []string{
		"*", "chat", "chat:*", "*:*", "?", "??", "[ab]", "[^ab]", "[a-c]*", "[c-a]*", `[\]]`, `[\^]`, "[]", "[^]", `\*`, `\?`, `\\`,
		"a*", "*9", "[*]", "[?]", "[^a-z]", "[a-]*", "[-a]", "[a-c-e]", "x?", "*\xff", "[^]a]", "chat:[^a]*", `[\a\-\b]`, `[\b-x]`,
	} {
		p, err := access.ParsePattern(source)
		if err != nil {
			continue // rejected in settings, so Redis never receives it
		}
		want, err := client.PubSubChannels(t.Context(), source).Result()
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, name := range names {
			if p.Match(name) {
				got = append(got, name)
			}
		}
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%q matches %q, but in Redis %q", source, got, want)
		}
	}
}
