package control_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"sidecast/relay/relaytest"
	"sidecast/relay/relaytest/redistest"
)

// The PHP code of the README logs a user out: the open connection is closed, and
// the old token is rejected at every relay.
func TestLogoutByPHP(t *testing.T) {
	t.Parallel()
	redistest.Require(t, "php", "php-redis")
	server := redistest.Start(t)
	relays := []*relaytest.Process{start(t, server.Addr, nil), start(t, server.Addr, nil)}
	old := token(t, "42", time.Now().Add(-time.Second), "")
	other := dial(t, relays[0], token(t, "43", time.Now(), ""))
	var mine []*relaytest.Client
	for _, relay := range relays {
		client := dial(t, relay, old)
		await(t, client, "the welcome", relaytest.Is(relaytest.KindWelcome))
		mine = append(mine, client)
	}
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	script := regexp.MustCompile("(?s)<!-- logout.php -->\n```php\n(.*?)```").FindSubmatch(readme)
	php := exec.CommandContext(t.Context(), "php")
	php.Stdin = strings.NewReader(strings.Replace(string(script[1]), "'127.0.0.1'", "'127.0.0.1', "+server.Port(), 1))
	if out, err := php.CombinedOutput(); err != nil || len(out) > 0 {
		t.Fatalf("php: %v\n%s", err, out)
	}
	for i, client := range mine {
		wantClose(t, client, "the open connection", 4409)
		wantClose(t, dial(t, relays[i], old), "the old token", 4401)
	}
	if err := other.Barrier(t.Context()); err != nil {
		t.Errorf("another user: %v", err)
	}
}

// The application subscribes, unsubscribes, refreshes and disconnects a user's
// connections, whatever their protocol is.
func TestActions(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	relay := start(t, server.Addr, nil)
	app := newApplication(t, server)
	mine := token(t, "42", time.Now(), "t1")
	client := dial(t, relay, mine)
	session := await(t, client, "the welcome", relaytest.Is(relaytest.KindWelcome)).Text
	stream := connect(t, &relaytest.Dialer{
		URL: relay.URL(), Protocol: relaytest.SSE, Channels: []string{"live"}, Header: http.Header{"Authorization": {"Bearer " + mine}},
	})
	await(t, stream, "the welcome", relaytest.Is(relaytest.KindSubscribed))

	app.control(`{"action":"subscribe","user":42,"channel":"room:9"}`)
	await(t, client, "subscribed", relaytest.IsOn(relaytest.KindSubscribed, "room:9"))
	app.redis.Publish(t.Context(), "room:9", "hello")
	await(t, client, "a message", relaytest.IsOn(relaytest.KindMessage, "room:9"))
	app.control(`{"action":"unsubscribe","session":%q,"channel":"room:9"}`, session)
	if e := await(t, client, "unsubscribed", relaytest.IsOn(relaytest.KindUnsubscribed, "room:9")); e.Text != "control" {
		t.Errorf("unsubscribed has the reason %q", e.Text)
	}
	app.control(`{"action":"unsubscribe","user":"42","channel":"live"}`)
	wantClose(t, stream, "an event stream that loses its channel", 4401)

	app.control(`{"action":"refresh","token":"t1"}`)
	wantClose(t, client, "refresh", 4401)
	client = dial(t, relay, mine) // the token is still valid
	await(t, client, "the welcome", relaytest.Is(relaytest.KindWelcome))
	app.control(`{"action":"disconnect","user":"42"}`)
	wantClose(t, client, "disconnect", 4409)
	client = dial(t, relay, mine) // nothing was revoked
	await(t, client, "the welcome", relaytest.Is(relaytest.KindWelcome))
	app.revoke("token:t1")
	app.control(`nonsense`) // whatever a message says, the relay reads the revocations
	wantClose(t, client, "a revoked token", 4409)
	wantClose(t, dial(t, relay, mine), "a revoked token", 4401)
	relay.AwaitLog(func(line string) bool { return strings.Contains(line, "it is not a JSON object") })
}

// Each relay answers an action that has an id with how many of its sessions it
// concerned.
func TestAnswers(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	relays := []*relaytest.Process{start(t, server.Addr, nil), start(t, server.Addr, nil)}
	app := newApplication(t, server)
	for range 3 {
		await(t, dial(t, relays[1], token(t, "42", time.Now(), "")), "the welcome", relaytest.Is(relaytest.KindWelcome))
	}
	app.control(`{"action":"disconnect","user":42,"id":"job 7"}`)
	app.control(`{"action":"disconnect","user":42}`)
	counts := map[string]int{}
	after := "0"
	for len(counts) < 2 {
		streams, err := app.redis.XRead(t.Context(), &redis.XReadArgs{Streams: []string{"sidecast:events", after}, Block: relaytest.Patience}).Result()
		if err != nil {
			t.Fatalf("awaiting the answers: %v, so far %v", err, counts)
		}
		for _, entry := range streams[0].Messages {
			after = entry.ID
			if entry.Values["kind"] == "control" {
				counts[fmt.Sprint(entry.Values["id"], " ", entry.Values["count"])]++
			}
		}
	}
	if counts["job 7 3"] != 1 || counts["job 7 0"] != 1 {
		t.Errorf("the answers are %v", counts)
	}
}

// After a refresh or a logout, the relay does not use its cached answer of the
// application.
func TestCachedLoginIsNotUsed(t *testing.T) {
	t.Parallel()
	var asked atomic.Int32
	answers := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		fmt.Fprint(w, `{"user":42}`)
	}))
	defer answers.Close()
	server := redistest.Start(t)
	relay := start(t, server.Addr, map[string]string{"SIDECAST_AUTH_URL": answers.URL, "SIDECAST_AUTH_CACHE": "10m"})
	app := newApplication(t, server)
	login := func(what string, requests int32) *relaytest.Client {
		client := dialCookie(t, relay, "session=1")
		await(t, client, what, relaytest.Is(relaytest.KindWelcome))
		if n := asked.Load(); n != requests {
			t.Errorf("%s: the application was asked %d times, want %d", what, n, requests)
		}
		return client
	}
	client := login("the first login", 1)
	second := login("a cached login", 1)
	app.control(`{"action":"refresh","user":42}`)
	wantClose(t, client, "refresh", 4401)
	wantClose(t, second, "refresh", 4401)
	client = login("after a refresh", 2)
	app.kick("42")
	wantClose(t, client, "a logout", 4409)
	login("after the logout, the user logs in again", 3)
}

// A relay whose Redis user has the rights that the README names logs no
// warning, and asks for nothing that it may not.
func TestRights(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	server.CLI(strings.Fields("ACL SETUSER relay on >password resetkeys resetchannels &live &room:* &sidecast:* -@all " +
		"+hello +auth +ping +subscribe +psubscribe +unsubscribe +punsubscribe +publish +info +role +client|setname " +
		"~sidecast:revoked +zrangebyscore +zremrangebyscore")...)
	as := map[string]string{"SIDECAST_REDIS_USERNAME": "relay", "SIDECAST_REDIS_PASSWORD": "password"}
	relay := start(t, server.Addr, as)
	app := newApplication(t, server)
	client := dial(t, relay, token(t, "42", time.Now(), ""))
	await(t, client, "the welcome", relaytest.Is(relaytest.KindWelcome))
	app.kick("42")
	wantClose(t, client, "a logout", 4409)
	if log := server.CLI("ACL", "LOG"); log != "" {
		t.Errorf("Redis denied:\n%s", log)
	}
	if strings.Contains(relay.Log(), `"level":"WARN"`) || strings.Contains(relay.Log(), `"level":"ERROR"`) {
		t.Errorf("the relay logged a warning:\n%s", relay.Log())
	}

	// Without the rights to the key, it says so, once, and works.
	server.CLI("ACL", "SETUSER", "relay", "resetkeys", "-zrangebyscore")
	second := start(t, server.Addr, as)
	second.AwaitLog(func(line string) bool { return strings.Contains(line, "revocations cannot be read") })
	client = dial(t, second, token(t, "43", time.Now(), ""))
	await(t, client, "the welcome", relaytest.Is(relaytest.KindWelcome))
	for range 3 {
		app.control(`{"action":"disconnect","user":"42"}`)
	}
	app.control(`{"action":"disconnect","user":"43"}`)
	wantClose(t, client, "disconnect", 4409)
	if denied := strings.Count(server.CLI("ACL", "LOG"), "reason"); denied != 1 {
		t.Errorf("the relay asked %d times for what it may not read", denied)
	}
}

// The relay's own Redis in memory works like a real one.
func TestEmbedded(t *testing.T) {
	t.Parallel()
	relay := relaytest.Start(t, map[string]string{"SIDECAST_JWT_SECRET": secret, "SIDECAST_EMBEDDED": "true"})
	relay.AwaitReady()
	line := relay.AwaitLog(func(line string) bool { return strings.Contains(line, "redis connected") })
	app := newApplication(t, redistest.At(t, relaytest.LogField(line, "addr")))
	mine := token(t, "42", time.Now(), "")
	client := dial(t, relay, mine)
	await(t, client, "the welcome", relaytest.Is(relaytest.KindWelcome))
	app.kick("42")
	wantClose(t, client, "a logout", 4409)
	wantClose(t, dial(t, relay, mine), "the old token", 4401)
}
