package e2e_test

import (
	"context"
	"errors"
	"net/url"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"sidecast/relay/relaytest"
	"sidecast/relay/relaytest/redistest"
)

// reserved are names that no client may hear, join or publish to, by the prefixes that make them so.
var reserved = []struct {
	why      string
	settings map[string]string
	names    []string // as clients would call them
	redis    []string // as a backend would publish to them
	free     string   // one much like them that is not
}{
	{
		why:   "by default",
		names: []string{"sidecast:x", "sidecast:", "sidecast:mark", "__", "__x", "__keyspace@0__:chat", "__sidecast:x"},
		redis: []string{"sidecast:x", "sidecast:", "__x", "__keyevent@0__:set"},
		free:  "sidecast",
	},
	{
		why:      "with and without the channels' prefix",
		settings: map[string]string{"SIDECAST_CHANNEL_PREFIX": "app:"},
		names:    []string{"sidecast:x", "sidecast:mark", "__x"},
		redis:    []string{"app:sidecast:x", "app:sidecast:mark", "app:__x"},
		free:     "app:chat",
	},
	{
		why:      "the channels' prefix begins the name that the channel ends",
		settings: map[string]string{"SIDECAST_CHANNEL_PREFIX": "side"},
		names:    []string{"cast:x", "cast:mark", "sidecast:x", "__x"},
		redis:    []string{"sidecast:x", "sidesidecast:x", "side__x"},
		free:     "cast",
	},
	{
		why:      "the channels' prefix is half of Redis's own",
		settings: map[string]string{"SIDECAST_CHANNEL_PREFIX": "_"},
		names:    []string{"_x", "__x", "_", "sidecast:x"},
		redis:    []string{"__x", "___x", "_sidecast:x"},
		free:     "x_",
	},
	{
		why:      "another prefix of the relay's own",
		settings: map[string]string{"SIDECAST_KEY_PREFIX": "k*y:"},
		names:    []string{"k*y:x", "k*y:mark", "__x"},
		redis:    []string{"k*y:x", "__x"},
		free:     "sidecast:x",
	},
}

// What nobody may get to hear, whoever publishes it.
const intruder, fromBackend = "intruder", "from the backend"

const jwtSecret = "a secret of thirty-two bytes, or more"

// TestReservedNames: where everything is open, reserved names are not, by any way in or out.
func TestReservedNames(t *testing.T) {
	t.Parallel()
	for _, test := range reserved {
		t.Run(test.why, func(t *testing.T) {
			server := redistest.Start(t)
			settings := openSettings(server, test.settings)
			settings["SIDECAST_JWT_SECRET"] = jwtSecret
			settings["SIDECAST_COMMAND_RATE"] = "10000"
			relay := relaytest.Start(t, settings)
			relay.AwaitReady()
			seen := witness(t, server)
			for _, name := range test.names {
				t.Run(name, func(t *testing.T) { outOfReach(t, relay, settings, name, test.free) })
			}
			silence(t, server, relay, test.redis, settings["SIDECAST_CHANNEL_PREFIX"]+test.free, test.free)

			backend := 0
			for _, m := range seen(t) {
				switch m.Payload {
				case intruder:
					t.Errorf("a client published to %q", m.Channel)
				case fromBackend:
					backend++
				}
			}
			if backend != len(test.redis) {
				t.Errorf("the witness saw %d messages of the backend, of %d", backend, len(test.redis))
			}
		})
	}
}

// outOfReach tries everything that a client can do to get at a name.
func outOfReach(t *testing.T, relay *relaytest.Process, settings map[string]string, name, free string) {
	raw := func(query string, channels ...string) *relaytest.Client {
		return dial(t, &relaytest.Dialer{URL: relay.URL() + query, Protocol: relaytest.Raw, Channels: channels})
	}
	closes(t, raw("", name), 4403)
	closes(t, raw("", free, name), 4403) // all or nothing
	speaker := raw("?publish="+url.QueryEscape(name), free)
	if err := speaker.SendText(intruder); err != nil {
		t.Fatal(err)
	}
	closes(t, speaker, 1008)

	token := mint(t, settings, "--channel", "*", "--publish", "*", "--subscribe", name)
	somebody := &relaytest.Dialer{URL: relay.URL(), Offer: []string{"sidecast.v1", "sidecast.token." + token}}
	for _, client := range []*relaytest.Client{dial(t, &relaytest.Dialer{URL: relay.URL()}), dial(t, somebody)} {
		refused(t, client.Subscribe(t.Context(), name))
		_, err := client.Publish(t.Context(), name, []byte(intruder))
		refused(t, err)
		if joined := only(client, relaytest.KindSubscribed); slices.ContainsFunc(joined, on(name)) {
			t.Errorf("a client joined %q", name)
		}
	}
	wished := &relaytest.Dialer{URL: relay.URL(), Protocol: relaytest.Raw, Offer: []string{"sidecast.raw", "sidecast.token." + token}}
	closes(t, dial(t, wished), 4403)

	for _, args := range [][]string{{"publish", name, intruder}, {"tail", "--url", relay.URL(), name}} {
		if out, code := sidecast(t, settings, args...); code != 1 {
			t.Errorf("sidecast %s exits with %d: %s", args[0], code, out)
		}
	}
	for variable, value := range map[string]string{"SIDECAST_DEFAULT_CHANNELS": free + "," + name, "SIDECAST_USER_CHANNELS": name + "{user}"} {
		opened := with(settings, variable, value)
		if variable == "SIDECAST_DEFAULT_CHANNELS" {
			delete(opened, "SIDECAST_JWT_SECRET") // with it a token might open them
		}
		if out, code := sidecast(t, opened, "serve"); code != 2 || !strings.Contains(out, variable+": ") {
			t.Errorf("with %s=%s sidecast exits with %d: %s", variable, value, code, out)
		}
	}
}

func on(channel string) func(relaytest.Event) bool {
	return func(e relaytest.Event) bool { return e.Channel == channel }
}

func refused(t testing.TB, err error) {
	t.Helper()
	var refusal *relaytest.CommandError
	if !errors.As(err, &refusal) || refusal.Code != "bad_channel" {
		t.Errorf("answered %v, want bad_channel", err)
	}
}

// silence publishes to reserved names as a backend does, and makes sure that nobody hears.
func silence(t *testing.T, server *redistest.Server, relay *relaytest.Process, names []string, freeInRedis, free string) {
	clients := []*relaytest.Client{listen(t, relay, free), listenRaw(t, relay, free)}
	dropped := func() float64 { return metric(t, relay, `sidecast_messages_dropped_total{reason="reserved"}`) }
	before := dropped()
	for _, name := range names {
		if receivers := server.CLI("PUBLISH", name, fromBackend); receivers == "0" {
			t.Errorf("Redis hands %q to nobody, so nothing is tried", name)
		}
	}
	server.CLI("PUBLISH", freeInRedis, "free")
	for _, client := range clients {
		if first := hears(t, client, 1)[0]; first.Data != "free" {
			t.Errorf("a client heard %q", first.Data)
		}
	}
	if n := dropped() - before; n != float64(len(names)) {
		t.Errorf("%v messages were dropped as reserved, of %d", n, len(names))
	}
}

// witness listens to everything in a Redis. What it returns returns the messages so far.
func witness(t testing.TB, server *redistest.Server) func(t testing.TB) []*redis.Message {
	t.Helper()
	client := redis.NewClient(&redis.Options{Addr: server.Addr})
	t.Cleanup(func() { _ = client.Close() })
	sub := client.PSubscribe(t.Context(), "*")
	t.Cleanup(func() { _ = sub.Close() })
	if _, err := sub.Receive(t.Context()); err != nil {
		t.Fatal(err)
	}
	return func(t testing.TB) (seen []*redis.Message) {
		t.Helper()
		const last = "the witness has seen enough"
		ctx, cancel := context.WithTimeout(t.Context(), relaytest.Patience)
		defer cancel()
		server.CLI("PUBLISH", last, "")
		for {
			m, err := sub.ReceiveMessage(ctx)
			switch {
			case err != nil:
				t.Fatalf("the witness: %v", err)
			case m.Channel == last:
				return seen
			}
			seen = append(seen, m)
		}
	}
}

// mint returns a token for user 1.
func mint(t testing.TB, settings map[string]string, args ...string) string {
	t.Helper()
	out, code := sidecast(t, settings, append([]string{"token", "--user", "1"}, args...)...)
	if code != 0 {
		t.Fatalf("sidecast token exits with %d: %s", code, out)
	}
	return strings.TrimSpace(out)
}

// sidecast runs a command to its end and returns what it prints, and its exit code. It is not let run for long.
func sidecast(t testing.TB, settings map[string]string, args ...string) (string, int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), relaytest.Patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, relaytest.Build(t), args...)
	cmd.Env = environment(with(settings, "SIDECAST_LISTEN", "127.0.0.1:0"))
	cmd.Env = append(cmd.Env, "SIDECAST_ADMIN_LISTEN=127.0.0.1:0")
	out, err := cmd.CombinedOutput()
	if _, exited := errors.AsType[*exec.ExitError](err); err != nil && !exited {
		t.Fatalf("running sidecast: %v", err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}
