package e2e_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"sidecast/relay/relaytest/redistest"
)

// TestACLOfReadme: the Redis user in relay/source/README.md has all rights that the
// relay needs: sidecast check reports no problem and Redis denies nothing. The
// same holds for a second application on the same Redis with the changes that
// the README names.
func TestACLOfReadme(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile(filepath.Join(root, "relay/source/README.md"))
	if err != nil {
		t.Fatal(err)
	}
	command := regexp.MustCompile(`(?m)^ACL SETUSER relay .*$`).FindString(string(readme))
	if command == "" {
		t.Fatal("relay/source/README.md has no ACL SETUSER command")
	}
	for name, test := range map[string]struct{ command, channels, prefix, channel string }{
		"unchanged": {command, "chat:*", "sidecast:", "chat:1"},
		"a second application": {
			strings.NewReplacer("&sidecast:*", "&shop:*", "&chat:*", "&orders:*").Replace(command),
			"orders:*", "shop:", "orders:1",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t)
			server.CLI(strings.Fields(test.command)...)
			settings := map[string]string{
				"SIDECAST_REDIS_URL":      server.URL(),
				"SIDECAST_REDIS_USERNAME": "relay", "SIDECAST_REDIS_PASSWORD": "password",
				"SIDECAST_CHANNELS": test.channels, "SIDECAST_PUBLIC_CHANNELS": "*", "SIDECAST_KEY_PREFIX": test.prefix,
			}
			out, code := sidecast(t, settings, "check")
			if code != 0 || strings.Contains(out, "warn ") || strings.Contains(out, "fail ") {
				t.Errorf("sidecast check exits with %d:\n%s", code, out)
			}
			relay := start(t, settings)
			client := listen(t, relay, test.channel)
			server.CLI("PUBLISH", test.channel, "hello")
			hears(t, client, 1)
			awaitMetric(t, relay, "sidecast_markers_up", func(up float64) bool { return up == 1 })
			if log := server.CLI("ACL", "LOG"); log != "" {
				t.Errorf("Redis denied:\n%s", log)
			}
		})
	}
}
