package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"sidecast/config"
	"sidecast/relay/app"
	"sidecast/relay/relaytest/redistest"
	"sidecast/relay/source"
)

var pusherEntries = []string{"PUSHER_APP_ID=1", "PUSHER_KEY=key", "PUSHER_SECRET=a secret of the application"}

// Settings with which Laravel's pages cannot subscribe are named.
func TestCheckPusher(t *testing.T) {
	for _, tt := range []struct{ set, want string }{
		{"CHANNELS=* PUBLIC_CHANNELS=*", ""},
		{"CHANNELS=chat PUBLIC_CHANNELS=chat", "warn  SIDECAST_CHANNELS: matches neither private-* nor presence-*"},
		{"CHANNELS=chat,private-* PUBLIC_CHANNELS=chat", "ok    SIDECAST_CHANNELS: no pattern matches presence-*"},
		{"CHANNELS=chat,presence-* PUBLIC_CHANNELS=chat", "ok    SIDECAST_CHANNELS: no pattern matches private-*"},
		{"CHANNELS=* PUBLIC_CHANNELS=private-*", "warn  SIDECAST_PUBLIC_CHANNELS: matches no public channel"},
		{"CHANNELS=* PUBLIC_CHANNELS=presence-room,private-a", "warn  SIDECAST_PUBLIC_CHANNELS: matches no public channel"},
		{"CHANNELS=* PUBLIC_CHANNELS=private-*,p*", ""},
		{"CHANNELS=* PUBLIC_CHANNELS=private", ""},
		{"CHANNELS=* PUBLIC_CHANNELS=* PUSHER_APP_ID=", "ok    SIDECAST_PUSHER_APP_ID: is unset"},
		{"CHANNELS=* PUBLIC_CHANNELS=* PUSHER_APP_ID= BROADCAST_AUTH_URL=http://app/broadcasting/auth", ""},
	} {
		t.Run(tt.set, func(t *testing.T) {
			got := lines(checkPusher(settings(t, append(slices.Clone(pusherEntries), strings.Fields(tt.set)...)...)))
			if !strings.HasPrefix(got, tt.want) || tt.want == "" && got != "" {
				t.Errorf("%q, want %q", got, tt.want)
			}
		})
	}
	if got := lines(checkPusher(settings(t))); got != "" {
		t.Errorf("without the protocol: %q", got)
	}
}

// What an application publishes is compared with the settings.
func TestCheckEvents(t *testing.T) {
	const event = `{"event":"App\\Events\\OrderShipped","data":{"order":7},"socket":null}`
	for _, tt := range []struct{ name, set, channel, payload, want string }{
		{"Laravel's prefix", "CHANNELS=*", "laravel-database-chat", event, "SIDECAST_CHANNEL_PREFIX=laravel-database- ("},
		{"an older prefix", "CHANNELS=chat", "laravel_database_chat", event, "SIDECAST_CHANNEL_PREFIX=laravel_database_ ("},
		{"another prefix", "CHANNELS=*", "shop:private-chat", event, "SIDECAST_CHANNEL_PREFIX=shop: ("},
		{"a relayed name that looks like one with a prefix", "CHANNELS=*", "customer-database-updates", event, `warn  published events: clients receive an event on "customer-database-updates", not on "updates"`},
		{"a prefix that is not published", "CHANNEL_PREFIX=laravel-database-", "chat", event, "unset SIDECAST_CHANNEL_PREFIX"},
		{"a channel that is not relayed", "CHANNELS=chat", "news", event, `add "news" to SIDECAST_CHANNELS`},
		{"a bare payload", "CHANNELS=*", "chat", "hello", `ok    published events: a message to "chat" is not an event of Laravel`},
		{"a bare payload elsewhere", "CHANNELS=chat", "news", "hello", "ok    published events: none within"},
		{"a prefix that is set", "CHANNEL_PREFIX=laravel-database-", "laravel-database-private-chat", event, "ok    published events: 1 on channels"},
		{"a name with the same words", "CHANNELS=*", "private-my-database-1", event, "ok    published events: 1 on channels"},
		{"the relays' own messages", "CHANNELS=*", "laravel-database-sidecast:control", event, "ok    published events: none within"},
		{"control characters in a name", "CHANNELS=chat", "a\x1b[1m", event, `add "a\x1b[1m"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			j := newEventJudge(pusherConfig(t, tt.set))
			j.hear(tt.channel, []byte(tt.payload))
			if got := lines(j.result(time.Second)); !strings.Contains(got, tt.want) || strings.Contains(got, "\x1b") {
				t.Errorf("%s, want %s", got, tt.want)
			}
		})
	}
	t.Run("many names", func(t *testing.T) {
		j := newEventJudge(pusherConfig(t, "CHANNELS=chat"))
		for i := range 1000 {
			j.hear(fmt.Sprint("news", i), []byte(event))
		}
		if got := len(j.result(time.Second)); got != maxMistakes {
			t.Errorf("%d findings", got)
		}
	})
}

// pusherConfig returns the settings of a relay for Laravel, changed by one entry.
func pusherConfig(t *testing.T, entry string) (*config.Config, *app.Settings) {
	t.Helper()
	cfg := settings(t, append([]string{"CHANNELS=*", "PUBLIC_CHANNELS=*", entry}, pusherEntries...)...)
	s, faults := app.Translate(cfg)
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	return cfg, s
}

// Names that no pattern matches are received from Redis, too.
func TestOverhear(t *testing.T) {
	server := redistest.Start(t)
	cfg, s := pusherConfig(t, "REDIS_URL="+server.URL())
	client, err := source.NewClient(s.Redis, s.Access.Names)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	go func() {
		for ctx.Err() == nil {
			server.CLI("PUBLISH", "elsewhere", "x")
		}
	}()
	heard := ""
	if !overhear(ctx, client, func(name string, payload []byte) { heard = name + " " + string(payload); stop() }) || heard != "elsewhere x" {
		t.Errorf("received %q", heard)
	}
	server.CLI("ACL", "SETUSER", "default", "-psubscribe")
	if got := lines(checkEvents(t.Context(), cfg, s, time.Minute)); !strings.Contains(got, "needs +psubscribe") {
		t.Errorf("without the right: %q", got)
	}
}
