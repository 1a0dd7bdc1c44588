package events_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"sidecast/relay/relaytest/redistest"
)

// baseRights are those of relay/source/README.md for one pattern, with the
// rights for durable channels.
const baseRights = "on >password resetkeys resetchannels &user:d* &user:* &sidecast:* -@all +hello +auth +ping +subscribe " +
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
	bodies := make(chan string, 100)
	app := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		bodies <- string(body)
	}))
	t.Cleanup(app.Close)
	relay := startRelay(t, server, map[string]string{
		"SIDECAST_REDIS_USERNAME": "relay", "SIDECAST_REDIS_PASSWORD": "password", "SIDECAST_CHANNELS": "user:*",
		"SIDECAST_EVENTS_URL": app.URL, "SIDECAST_EVENTS_SECRET": strings.Repeat("s", 32), "SIDECAST_LOG_FORMAT": "json",
	})
	listen(t, relay, "user:online")
	eventually(t, func() string {
		if server.CLI("EXISTS", "sidecast:listeners:user:online", "sidecast:events") != "2" {
			return "there is no lease or no stream"
		}
		return ""
	})
	client := newClient(t, server)
	if err := client.XAdd(t.Context(), &redis.XAddArgs{Stream: "user:durable", Values: []any{"data", "x"}}).Err(); err != nil {
		t.Fatal(err)
	}
	for _, channel := range []string{"user:online", "user:offline", "user:durable"} {
		if err := client.Publish(t.Context(), channel, "x").Err(); err != nil {
			t.Fatal(err)
		}
	}
	received := ""
	for !strings.Contains(received, `"channel":"user:offline"`) || !strings.Contains(received, `"channel":"user:durable"`) {
		received += <-bodies
	}
	if strings.Contains(received, "online") {
		t.Errorf("the webhooks were %s", received)
	}
	if log := server.CLI("ACL", "LOG"); log != "" {
		t.Errorf("Redis denied:\n%s", log)
	}
	if strings.Contains(relay.Log(), `"level":"WARN"`) {
		t.Errorf("the relay logged a warning:\n%s", relay.Log())
	}
}
