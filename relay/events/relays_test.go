package events_test

import (
	"flag"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"sidecast/relay/relaytest"
	"sidecast/relay/relaytest/redistest"
)

var long = flag.Bool("long", false, "run the heavy variants")

// startRelay runs a relay that reports unheard messages on user channels, and
// waits until it is ready.
func startRelay(t testing.TB, server *redistest.Server, more map[string]string) *relaytest.Process {
	t.Helper()
	settings := map[string]string{
		"SIDECAST_REDIS_URL": server.URL(), "SIDECAST_CHANNELS": "*", "SIDECAST_DURABLE_CHANNELS": "user:d*",
		"SIDECAST_PUBLIC_CHANNELS": "*", "SIDECAST_PUBLISH_CHANNELS": "*", "SIDECAST_UNHEARD": "user:*",
	}
	maps.Copy(settings, more)
	relay := relaytest.Start(t, settings)
	relay.AwaitReady()
	return relay
}

// listen connects a client that has subscribed to the channels.
func listen(t testing.TB, relay *relaytest.Process, channels ...string) *relaytest.Client {
	t.Helper()
	client, err := (&relaytest.Dialer{URL: relay.URL()}).Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Drop)
	if err := client.Subscribe(t.Context(), channels...); err != nil {
		t.Fatal(err)
	}
	return client
}

// eventually waits until f returns "", which says what is missing.
func eventually(t testing.TB, f func() string) {
	t.Helper()
	limit := time.Now().Add(2 * relaytest.Patience)
	for {
		missing := f()
		if missing == "" {
			return
		}
		if time.Now().After(limit) {
			t.Fatal(missing)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// newClient returns a client of the server.
func newClient(t testing.TB, server *redistest.Server) *redis.Client {
	client := redis.NewClient(&redis.Options{Addr: server.Addr, Protocol: 2, MaxRetries: -1})
	t.Cleanup(func() { _ = client.Close() })
	return client
}

// unheard returns how many events there are of each channel.
func unheard(server *redistest.Server) map[string]int {
	count := map[string]int{}
	lines := strings.Split(server.CLI("XRANGE", "sidecast:events", "-", "+"), "\n")
	for i, line := range lines {
		if line == "channel" {
			count[lines[i+1]]++
		}
	}
	return count
}

// Messages to users who are online at any of three relays cause no event.
// Messages to users who are offline cause one event each, also while relays are
// killed.
func TestUnheardOverRelays(t *testing.T) {
	messages, users := 100, 20
	if *long {
		messages, users = 1000, 50
	}
	server := redistest.Start(t)
	relays := make([]*relaytest.Process, 3)
	for i := range relays {
		relays[i] = startRelay(t, server, nil)
	}
	kind := func(i int) string { return []string{"live", "d"}[i%2] } // half of the users have durable channels
	online := func(i int) string { return fmt.Sprintf("user:%s-online-%d", kind(i), i%users) }
	for i := range users {
		listen(t, relays[0], online(i))
	}
	eventually(t, func() string {
		if leases := len(strings.Fields(server.CLI("KEYS", "sidecast:listeners:*"))); leases < users {
			return fmt.Sprintf("there are leases on %d of %d channels", leases, users)
		}
		return ""
	})
	client := newClient(t, server)
	publish := func(channel, payload string) {
		t.Helper()
		if strings.HasPrefix(channel, "user:d") {
			if err := client.XAdd(t.Context(), &redis.XAddArgs{Stream: channel, Values: []any{"data", payload}}).Err(); err != nil {
				t.Fatal(err)
			}
			payload = ""
		}
		if err := client.Publish(t.Context(), channel, payload).Err(); err != nil {
			t.Fatal(err)
		}
	}
	offline := func(i int) string { return fmt.Sprintf("user:%s-offline-%d", kind(i), i) }
	for i := range messages {
		if i%(messages/5) == messages/10 { // five times
			k := 1 + i/(messages/5)%2
			relays[k].Kill()
			relays[k] = startRelay(t, server, nil)
		}
		publish(online(i), fmt.Sprint("message ", i))
		publish(offline(i), fmt.Sprint("message ", i))
	}
	eventually(t, func() string {
		if n := len(unheard(server)); n < messages {
			return fmt.Sprintf("there are events of %d of %d channels", n, messages)
		}
		return ""
	})
	time.Sleep(3 * time.Second) // until all relays have judged the last message
	events := unheard(server)
	falsely, twice := 0, 0
	for channel, n := range events {
		switch {
		case strings.Contains(channel, "online"):
			falsely += n
		case n > 1:
			twice++
		}
	}
	t.Logf("%d messages to %d users online at one of three relays: %d unheard; %d messages to users who were offline, while relays were killed 5 times: %d reported, %d of them more than once",
		messages, users, falsely, messages, len(events)-falsely, twice)
	if falsely > 0 || twice > 0 || len(events) != messages {
		t.Errorf("events: %v", events)
	}
}

// kinds returns the events in the stream as text.
func kinds(t *testing.T, client *redis.Client) (list []string) {
	t.Helper()
	entries, err := client.XRange(t.Context(), "sidecast:events", "-", "+").Result()
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		words := []string{fmt.Sprint(entry.Values["kind"])}
		for _, field := range []string{"user", "channel", "code", "id", "count"} {
			if value, ok := entry.Values[field]; ok {
				words = append(words, fmt.Sprint(value))
			}
		}
		list = append(list, strings.Join(words, " "))
	}
	return list
}

// A relay writes events about its clients, also those of its shutdown, and only
// the kinds that the settings name.
func TestEventsOfClients(t *testing.T) {
	server := redistest.Start(t)
	client := newClient(t, server)
	relay := startRelay(t, server, map[string]string{
		"SIDECAST_UNHEARD": "", "SIDECAST_EVENTS": "connected,disconnected,published,refused",
		"SIDECAST_JWT_SECRET": strings.Repeat("s", 32), "SIDECAST_DRAIN_DELAY": "0s", "SIDECAST_DRAIN_TIMEOUT": "0s",
	})
	await := func(want ...string) {
		t.Helper()
		eventually(t, func() string {
			if got := kinds(t, client); !slices.Equal(got, want) {
				return fmt.Sprintf("events %q, want %q", got, want)
			}
			return ""
		})
	}
	c := listen(t, relay, "chat")
	await("connected")
	if _, err := c.Publish(t.Context(), "chat", []byte("hello")); err != nil {
		t.Fatal(err)
	}
	await("connected", "published chat")
	if _, err := (&relaytest.Dialer{URL: relay.URL(), Header: http.Header{"Authorization": {"Bearer not.a.token"}}}).Dial(t.Context()); err != nil {
		t.Fatal(err) // browsers cannot see a failed handshake
	}
	await("connected", "published chat", "refused 4401")
	relay.Signal(syscall.SIGTERM)
	if code := relay.Wait(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	await("connected", "published chat", "refused 4401", "disconnected 1012")
}

// A relay answers actions that have an id, whatever the settings say.
func TestControlAnswer(t *testing.T) {
	server := redistest.Start(t)
	client := newClient(t, server)
	startRelay(t, server, map[string]string{"SIDECAST_UNHEARD": "", "SIDECAST_EVENTS": "none"})
	server.CLI("PUBLISH", "sidecast:control", `{"action":"disconnect","user":"42","id":"a1"}`)
	server.CLI("PUBLISH", "sidecast:control", `{"action":"disconnect","user":"42"}`)
	server.CLI("PUBLISH", "sidecast:control", `{"action":"disconnect","user":"42","id":"a2"}`)
	eventually(t, func() string {
		got := kinds(t, client)
		if !slices.Equal(got, []string{"control a1 0", "control a2 0"}) {
			return fmt.Sprintf("events %q", got)
		}
		return ""
	})
}

// Everything works in a cluster if the key prefix keeps the relays' keys
// together.
func TestCluster(t *testing.T) {
	server := redistest.StartClusterNode(t)
	server.CLI("CLUSTER", "ADDSLOTSRANGE", "0", "16383")
	eventually(t, func() string {
		if info := server.CLI("CLUSTER", "INFO"); !strings.Contains(info, "cluster_state:ok") {
			return info
		}
		return ""
	})
	app, bodies := receiver(t)
	relay := startRelay(t, server, map[string]string{
		"SIDECAST_REDIS_MODE": "cluster", "SIDECAST_KEY_PREFIX": "{sidecast}:", "SIDECAST_LOG_FORMAT": "json",
		"SIDECAST_EVENTS_URL": app, "SIDECAST_EVENTS_SECRET": strings.Repeat("s", 32),
	})
	listen(t, relay, "user:online", "user:other")
	eventually(t, func() string {
		if n := server.CLI("EXISTS", "{sidecast}:listeners:user:online", "{sidecast}:listeners:user:other", "{sidecast}:events"); n != "3" {
			return "there are " + n + " keys of leases and events"
		}
		return ""
	})
	publishAll(t, newClient(t, server))
	awaitUnheard(t, bodies)
	if strings.Contains(relay.Log(), `"level":"WARN"`) {
		t.Errorf("the relay logged a warning:\n%s", relay.Log())
	}
}

// receiver returns the URL of an application that accepts all webhooks, and
// their bodies.
func receiver(t *testing.T) (url string, bodies <-chan string) {
	received := make(chan string, 100)
	app := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		received <- string(body)
	}))
	t.Cleanup(app.Close)
	return app.URL, received
}

// publishAll publishes a message on a channel with a listener, and on a live and
// a durable channel without one.
func publishAll(t *testing.T, client *redis.Client) {
	t.Helper()
	if err := client.XAdd(t.Context(), &redis.XAddArgs{Stream: "user:durable", Values: []any{"data", "x"}}).Err(); err != nil {
		t.Fatal(err)
	}
	for _, channel := range []string{"user:online", "user:offline", "user:durable"} {
		if err := client.Publish(t.Context(), channel, "x").Err(); err != nil {
			t.Fatal(err)
		}
	}
}

// awaitUnheard waits for the webhooks of publishAll.
func awaitUnheard(t *testing.T, bodies <-chan string) {
	t.Helper()
	received := ""
	for !strings.Contains(received, `"channel":"user:offline"`) || !strings.Contains(received, `"channel":"user:durable"`) {
		select {
		case body := <-bodies:
			received += body
		case <-time.After(2 * relaytest.Patience):
			t.Fatalf("the webhooks were %s", received)
		}
	}
	if strings.Contains(received, "online") {
		t.Errorf("the webhooks were %s", received)
	}
}

// Messages that arrived before Redis lost its data are judged when all relays
// have renewed their leases, and those of users who are online are not reported.
func TestUnheardOverOutage(t *testing.T) {
	if !*long {
		t.Skip("it takes as long as a lease: run with -long")
	}
	server := redistest.Start(t)
	relays := []*relaytest.Process{startRelay(t, server, nil), startRelay(t, server, nil)}
	listen(t, relays[0], "user:online")
	eventually(t, func() string {
		if server.CLI("EXISTS", "sidecast:listeners:user:online") != "1" {
			return "there is no lease"
		}
		return ""
	})
	server.CLI("PUBLISH", "user:online", "x")
	server.CLI("PUBLISH", "user:offline", "x")
	server.Restart()
	for _, relay := range relays {
		relay.AwaitStatus("http://"+relay.AdminAddr()+"/readyz?redis=1", http.StatusOK)
	}
	up := time.Now()
	eventually(t, func() string {
		if len(unheard(server)) == 0 {
			return "there is no event"
		}
		return ""
	})
	t.Logf("the event followed %v after the relays were connected again", time.Since(up).Round(time.Second))
	time.Sleep(3 * time.Second) // until the other relay has judged the messages
	if got := unheard(server); len(got) != 1 || got["user:offline"] != 1 {
		t.Errorf("events %v", got)
	}
}
