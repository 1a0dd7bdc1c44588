package rolling_test

import (
	"maps"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"sidecast/relay/relaytest"
	"sidecast/relay/relaytest/redistest"
)

// TestRightsOfTheGuide: with the user that the guide makes, the relay finds nothing to complain of and Redis refuses
// nothing; and what the guide says of a second application on the same Redis holds.
func TestRightsOfTheGuide(t *testing.T) {
	t.Parallel()
	guide, err := os.ReadFile("../../../source/README.md")
	if err != nil {
		t.Fatal(err)
	}
	recipe := regexp.MustCompile(`(?m)^ACL SETUSER relay .*$`).FindString(string(guide))
	if recipe == "" {
		t.Fatal("the guide has no recipe")
	}
	for name, c := range map[string]struct {
		recipe   string
		channel  string
		settings map[string]string
	}{
		"as it is": {recipe, "chat:1", map[string]string{"SIDECAST_CHANNELS": "chat:*"}},
		"a second application": {
			strings.NewReplacer("&sidecast:*", "&shop:*", "&chat:*", "&orders:*").Replace(recipe), "orders:1",
			map[string]string{"SIDECAST_CHANNELS": "orders:*", "SIDECAST_KEY_PREFIX": "shop:"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t)
			server.CLI(strings.Fields(c.recipe)...)
			env := settings(server, "127.0.0.1:0", "127.0.0.1:0")
			env["SIDECAST_REDIS_USERNAME"], env["SIDECAST_REDIS_PASSWORD"] = "relay", "password"
			maps.Copy(env, c.settings)

			check := relaytest.Start(t, env, "check")
			if code := check.Wait(); code != 0 || strings.Contains(check.Log(), "warn ") || strings.Contains(check.Log(), "fail ") {
				t.Errorf("sidecast check exits with %d and says:\n%s", code, check.Log())
			}
			relay := relaytest.Start(t, env)
			relay.AwaitReady()
			hears(t, server, relay, c.channel)
			until(t, "that markers come back", func() bool { return metric(t, relay, "sidecast_markers_up") == 1 })
			if log := server.CLI("ACL", "LOG"); log != "" {
				t.Errorf("Redis refused:\n%s", log)
			}
		})
	}
}

// hears publishes as the application does, and waits until a client of the relay has heard it.
func hears(t *testing.T, server *redistest.Server, relay *relaytest.Process, channel string) {
	t.Helper()
	client, err := (&relaytest.Dialer{URL: relay.URL()}).Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Drop)
	if err := client.Subscribe(t.Context(), channel); err != nil {
		t.Fatal(err)
	}
	application := relaytest.NewRedis(server.Addr, time.Second)
	t.Cleanup(func() { _ = application.Close() })
	if _, err := relaytest.PublishTo(application)(t.Context(), channel, []byte("hello")); err != nil {
		t.Fatal(err)
	}
	if _, err := client.Await(t.Context(), relaytest.IsOn(relaytest.KindMessage, channel)); err != nil {
		t.Fatal(err)
	}
}
