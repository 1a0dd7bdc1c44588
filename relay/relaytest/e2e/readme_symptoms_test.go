package e2e_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"sidecast/relay/relaytest"
	"sidecast/relay/relaytest/redistest"
)

// TestNothingArrives: the symptoms in the README's table have the causes that
// the table names. TestRefusals checks the same close codes as Chromium reports
// them.
func TestNothingArrives(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	settings := map[string]string{
		"SIDECAST_REDIS_URL": server.URL(), "SIDECAST_CHANNELS": "chat,chat:*", "SIDECAST_DURABLE_CHANNELS": "order:*",
		"SIDECAST_PUBLIC_CHANNELS": "chat,order:*",
	}
	relay := relaytest.Start(t, settings)
	relay.AwaitReady()
	raw := func(query string) *relaytest.Dialer {
		return &relaytest.Dialer{URL: relay.URL() + query, Protocol: relaytest.Raw}
	}

	t.Run("status 2", func(t *testing.T) {
		wrong := relaytest.Start(t, map[string]string{"SIDECAST_REDIS_URL": server.URL()})
		if code := wrong.Wait(); code != 2 || !strings.Contains(wrong.Log(), "SIDECAST_CHANNELS") {
			t.Errorf("status %d:\n%s", code, wrong.Log())
		}
	})
	t.Run("403", func(t *testing.T) {
		d := raw("?channel=chat")
		d.Header = http.Header{"Origin": {"http://localhost:8000"}} // the socket's host is 127.0.0.1
		_, err := d.Dial(t.Context())
		if refused, ok := errors.AsType[*relaytest.HandshakeError](err); !ok || refused.Status != http.StatusForbidden {
			t.Errorf("a page of another host name: %v", err)
		}
	})
	t.Run("403, a proxy replaces Host", func(t *testing.T) {
		d := raw("?channel=chat")
		d.Header = http.Header{"Origin": {"https://app.example.com"}} // the page's host, which the proxy does not pass
		_, err := d.Dial(t.Context())
		if refused, ok := errors.AsType[*relaytest.HandshakeError](err); !ok || refused.Status != http.StatusForbidden {
			t.Errorf("a page whose host the proxy does not pass: %v", err)
		}
		eventually(t, func() string {
			log := relay.Log()
			if strings.Contains(log, `"host":"`+relay.Addr()+`"`) && strings.Contains(log, "a proxy probably replaces it") {
				return ""
			}
			return "the log does not name the host and the proxy"
		})
	})
	t.Run("426", func(t *testing.T) {
		response, err := http.Get("http://" + relay.Addr() + "/ws?channel=chat")
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode != http.StatusUpgradeRequired {
			t.Errorf("a request without Upgrade is answered %s", response.Status)
		}
	})
	t.Run("1008, no channel", func(t *testing.T) { wantCode(t, dial(t, raw("")), 1008) })
	t.Run("1008, no right to publish", func(t *testing.T) {
		client := dial(t, raw("?channel=chat"))
		_, _ = client.Publish(t.Context(), "chat", []byte("x")) // its error is the close
		wantCode(t, client, 1008)
	})
	t.Run("4403", func(t *testing.T) {
		for _, channel := range []string{"news", "chat:1"} { // the first is not relayed, the second is not public
			wantCode(t, dial(t, raw("?channel="+channel)), 4403)
		}
	})
	t.Run("4401", func(t *testing.T) {
		settings := with(settings, "SIDECAST_JWT_SECRET", jwtSecret)
		relay := relaytest.Start(t, settings)
		relay.AwaitReady()
		wantCode(t, dial(t, &relaytest.Dialer{URL: relay.URL() + "?channel=chat:1", Protocol: relaytest.Raw}), 4401)
	})
	t.Run("PUBLISH", func(t *testing.T) {
		for channel, want := range map[string]string{"chat": "1", "laravel_database_chat": "0"} {
			if got := strings.TrimSpace(fmt.Sprint(server.CLI("PUBLISH", channel, "x"))); got != want {
				t.Errorf("PUBLISH to %s returns %s, want %s", channel, got, want)
			}
		}
	})
	t.Run("durable", func(t *testing.T) {
		client := listen(t, relay, "order:7")
		server.CLI("PUBLISH", "order:7", "only published")
		add(server, "order:7", "added")
		wantHeard(t, client, "order:7", "added")
	})
}

// wantCode checks that the relay closes a client with this code.
func wantCode(t *testing.T, client *relaytest.Client, code uint16) {
	t.Helper()
	end, err := client.Await(t.Context(), relaytest.Is(relaytest.KindClose))
	if err != nil || end.Code != code {
		t.Errorf("closed with %d (%v), want %d", end.Code, err, code)
	}
}
