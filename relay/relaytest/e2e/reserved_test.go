package e2e_test

import (
	"context"
	"errors"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"sidecast/relay/relaytest"
	"sidecast/relay/relaytest/redistest"
)

// reserved lists names that no client may subscribe or publish to, for
// different prefixes.
var reserved = []struct {
	name     string
	settings map[string]string
	names    []string // as clients write them
	redis    []string // as a backend publishes to them
	free     string   // a similar name that is not reserved
}{
	{
		name:  "default",
		names: []string{"sidecast:x", "sidecast:", "sidecast:mark", "__", "__x", "__keyspace@0__:chat", "__sidecast:x"},
		redis: []string{"sidecast:x", "sidecast:", "__x", "__keyevent@0__:set"},
		free:  "sidecast",
	},
	{
		name:     "with and without CHANNEL_PREFIX",
		settings: map[string]string{"SIDECAST_CHANNEL_PREFIX": "app:"},
		names:    []string{"sidecast:x", "sidecast:mark", "__x"},
		redis:    []string{"app:sidecast:x", "app:sidecast:mark", "app:__x"},
		free:     "app:chat",
	},
	{
		name:     "CHANNEL_PREFIX is the beginning of KEY_PREFIX",
		settings: map[string]string{"SIDECAST_CHANNEL_PREFIX": "side"},
		names:    []string{"cast:x", "cast:mark", "sidecast:x", "__x"},
		redis:    []string{"sidecast:x", "sidesidecast:x", "side__x"},
		free:     "cast",
	},
	{
		name:     "CHANNEL_PREFIX is the beginning of __",
		settings: map[string]string{"SIDECAST_CHANNEL_PREFIX": "_"},
		names:    []string{"_x", "__x", "_", "sidecast:x"},
		redis:    []string{"__x", "___x", "_sidecast:x"},
		free:     "x_",
	},
	{
		name:     "another KEY_PREFIX",
		settings: map[string]string{"SIDECAST_KEY_PREFIX": "k*y:"},
		names:    []string{"k*y:x", "k*y:mark", "__x", "sidecast:x", "sidecast:mark"},
		redis:    []string{"k*y:x", "__x", "sidecast:x"},
		free:     "sidecast",
	},
}

// Payloads that no client may receive: the first is published by clients, the
// second by the backend.
const fromClient, fromBackend = "from a client", "from the backend"

const jwtSecret = "a secret of thirty-two bytes, or more"

// TestReservedNames: reserved names stay closed to clients in every way,
// although the settings open all channels.
func TestReservedNames(t *testing.T) {
	t.Parallel()
	for _, test := range reserved {
		t.Run(test.name, func(t *testing.T) {
			server := redistest.Start(t)
			settings := openSettings(server, test.settings)
			settings["SIDECAST_JWT_SECRET"] = jwtSecret
			settings["SIDECAST_COMMAND_RATE"] = "10000"
			relay := start(t, settings)
			published := subscribeAll(t, server)
			for _, name := range test.names {
				t.Run(name, func(t *testing.T) { wantClosedToClients(t, relay, settings, name, test.free) })
			}
			wantDropped(t, server, relay, test.redis, settings["SIDECAST_CHANNEL_PREFIX"]+test.free, test.free)

			backend := 0
			for _, m := range published(t) {
				switch m.Payload {
				case fromClient:
					t.Errorf("a client published to %q", m.Channel)
				case fromBackend:
					backend++
				}
			}
			if backend != len(test.redis) {
				t.Errorf("Redis delivered %d messages of the backend, want %d", backend, len(test.redis))
			}
		})
	}
}

// wantClosedToClients tries every way in which a client could subscribe or
// publish to a name.
func wantClosedToClients(t *testing.T, relay *relaytest.Process, settings map[string]string, name, free string) {
	raw := func(query string, channels ...string) *relaytest.Client {
		return dial(t, &relaytest.Dialer{URL: relay.URL() + query, Protocol: relaytest.Raw, Channels: channels})
	}
	wantClose(t, raw("", name), 4403)
	wantClose(t, raw("", free, name), 4403) // one reserved name is enough
	writer := raw("?publish="+url.QueryEscape(name), free)
	if err := writer.SendText(fromClient); err != nil {
		t.Fatal(err)
	}
	wantClose(t, writer, 1008)

	token := mintToken(t, settings, "--channel", "*", "--publish", "*", "--subscribe", name)
	withToken := &relaytest.Dialer{URL: relay.URL(), Offer: []string{"sidecast.v1", "sidecast.token." + token}}
	for _, client := range []*relaytest.Client{dial(t, &relaytest.Dialer{URL: relay.URL()}), dial(t, withToken)} {
		wantBadChannel(t, client.Subscribe(t.Context(), name))
		_, err := client.Publish(t.Context(), name, []byte(fromClient))
		wantBadChannel(t, err)
		if slices.ContainsFunc(client.Events(), relaytest.IsOn(relaytest.KindSubscribed, name)) {
			t.Errorf("a client is subscribed to %q", name)
		}
	}
	rawWithToken := &relaytest.Dialer{
		URL: relay.URL(), Protocol: relaytest.Raw, Offer: []string{"sidecast.raw", "sidecast.token." + token},
	}
	wantClose(t, dial(t, rawWithToken), 4403)

	for _, args := range [][]string{{"publish", name, fromClient}, {"tail", "--url", relay.URL(), name}} {
		if out, code := sidecast(t, settings, args...); code != 1 {
			t.Errorf("sidecast %s exits with %d: %s", args[0], code, out)
		}
	}
	for variable, value := range map[string]string{
		"SIDECAST_DEFAULT_CHANNELS": free + "," + name, "SIDECAST_USER_CHANNELS": name + "{user}",
	} {
		opened := with(settings, variable, value)
		if variable == "SIDECAST_DEFAULT_CHANNELS" {
			delete(opened, "SIDECAST_JWT_SECRET") // default channels need not be public if tokens may grant them
		}
		if out, code := sidecast(t, opened, "serve"); code != 2 || !strings.Contains(out, variable+": ") {
			t.Errorf("with %s=%s sidecast exits with %d: %s", variable, value, code, out)
		}
	}
}

func wantBadChannel(t testing.TB, err error) {
	t.Helper()
	if answer, ok := errors.AsType[*relaytest.CommandError](err); !ok || answer.Code != "bad_channel" {
		t.Errorf("answered %v, want bad_channel", err)
	}
}

// wantDropped publishes to reserved names as a backend does, and checks that
// the relay drops these messages.
func wantDropped(
	t *testing.T, server *redistest.Server, relay *relaytest.Process, names []string, freeInRedis, free string,
) {
	clients := []*relaytest.Client{listen(t, relay, free), listenRaw(t, relay, free)}
	dropped := func() float64 { return metric(t, relay, `sidecast_messages_dropped_total{reason="reserved"}`) }
	before := dropped()
	for _, name := range names {
		server.CLI("PUBLISH", name, fromBackend)
	}
	server.CLI("PUBLISH", freeInRedis, "free")
	for _, client := range clients {
		if first := hears(t, client, 1)[0]; first.Data != "free" {
			t.Errorf("a client received %q", first.Data)
		}
	}
	if n := dropped() - before; n != float64(len(names)) {
		t.Errorf("the relay dropped %v messages as reserved, want %d", n, len(names))
	}
}

// subscribeAll subscribes to every channel of a Redis, and returns a function
// that returns all messages so far.
func subscribeAll(t testing.TB, server *redistest.Server) func(t testing.TB) []*redis.Message {
	t.Helper()
	client := redis.NewClient(&redis.Options{Addr: server.Addr})
	t.Cleanup(func() { _ = client.Close() })
	sub := client.PSubscribe(t.Context(), "*")
	t.Cleanup(func() { _ = sub.Close() })
	if _, err := sub.Receive(t.Context()); err != nil {
		t.Fatal(err)
	}
	return func(t testing.TB) (messages []*redis.Message) {
		t.Helper()
		const last = "the last message"
		ctx, cancel := context.WithTimeout(t.Context(), relaytest.Patience)
		defer cancel()
		server.CLI("PUBLISH", last, "")
		for {
			m, err := sub.ReceiveMessage(ctx)
			switch {
			case err != nil:
				t.Fatalf("reading from Redis: %v", err)
			case m.Channel == last:
				return messages
			}
			messages = append(messages, m)
		}
	}
}

// mintToken returns a token for user 1, made by sidecast token.
func mintToken(t testing.TB, settings map[string]string, args ...string) string {
	t.Helper()
	out, code := sidecast(t, settings, append([]string{"token", "--user", "1"}, args...)...)
	if code != 0 {
		t.Fatalf("sidecast token exits with %d: %s", code, out)
	}
	return strings.TrimSpace(out)
}
