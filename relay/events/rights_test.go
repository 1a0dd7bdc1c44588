package events_test

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"sidecast/relay/relaytest/redistest"
)

// baseRights are those of relay/source/README.md for two patterns, with the
// rights for durable channels and their keyspace events.
const baseRights = "on >password resetkeys resetchannels &user:d* &user:* &__keyspace@0__:user:d* &sidecast:* -@all +hello +auth +ping +subscribe " +
	"+psubscribe +unsubscribe +punsubscribe +publish +info +role +client|setname %R~user:* +xrange +xrevrange +xinfo"

// rights returns the rights in the table of the README, for channels on which
// SIDECAST_UNHEARD is set.
func rights(t *testing.T) (list []string) {
	t.Helper()
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(text), "## Rights in Redis")
	for _, code := range regexp.MustCompile("`([^`]*)`").FindAllStringSubmatch(table, -1) {
		for right := range strings.FieldsSeq(code[1]) {
			if strings.HasPrefix(right, "+") || strings.HasPrefix(right, "~") {
				list = append(list, right)
			}
		}
	}
	if len(list) < 20 {
		t.Fatalf("the README lists the rights %q", list)
	}
	return list
}

// The rights in the README are enough.
func TestRights(t *testing.T) {
	server := redistest.Start(t)
	server.CLI(append([]string{"ACL", "SETUSER", "relay"}, append(strings.Fields(baseRights), rights(t)...)...)...)
	app, bodies := receiver(t)
	relay := startRelay(t, server, map[string]string{
		"SIDECAST_REDIS_USERNAME": "relay", "SIDECAST_REDIS_PASSWORD": "password", "SIDECAST_CHANNELS": "user:*",
		"SIDECAST_EVENTS_URL": app, "SIDECAST_EVENTS_SECRET": strings.Repeat("s", 32), "SIDECAST_LOG_FORMAT": "json",
	})
	listen(t, relay, "user:online")
	eventually(t, func() string {
		if server.CLI("EXISTS", "sidecast:listeners:user:online", "sidecast:events") != "2" {
			return "there is no lease or no stream"
		}
		return ""
	})
	publishAll(t, newClient(t, server))
	awaitUnheard(t, bodies)
	if log := server.CLI("ACL", "LOG"); log != "" {
		t.Errorf("Redis denied:\n%s", log)
	}
	if strings.Contains(relay.Log(), `"level":"WARN"`) {
		t.Errorf("the relay logged a warning:\n%s", relay.Log())
	}
}
