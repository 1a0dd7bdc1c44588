package e2e_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"sidecast/relay/relaytest"
	"sidecast/relay/relaytest/redistest"
)

// TestPathSettings: BASE_PATH moves the WebSocket, and DEMO=false removes the
// demo page.
func TestPathSettings(t *testing.T) {
	t.Parallel()
	relay := start(t, map[string]string{"SIDECAST_BASE_PATH": "/live", "SIDECAST_DEMO": "false"})
	client := dial(t, &relaytest.Dialer{URL: "ws://" + relay.Addr() + "/live/ws"})
	if err := client.Subscribe(t.Context(), "chat"); err != nil {
		t.Error(err)
	}
	var refused *relaytest.HandshakeError
	if _, err := (&relaytest.Dialer{URL: "ws://" + relay.Addr() + "/ws"}).Dial(t.Context()); !errors.As(err, &refused) {
		t.Errorf("without the base path: %v", err)
	}
	for _, path := range []string{"/", "/live/"} {
		if got := status(t, "http://"+relay.Addr()+path); got != http.StatusNotFound {
			t.Errorf("%s without a demo: %d", path, got)
		}
	}
}

// TestLimitSettings: limits that no test reaches by default, set so low that
// this test does.
func TestLimitSettings(t *testing.T) {
	t.Parallel()
	t.Run("MAX_INBOUND_BYTES", func(t *testing.T) {
		relay := start(t, map[string]string{"SIDECAST_MAX_INBOUND_BYTES": "1KiB"})
		client := listenRaw(t, relay, "chat")
		if err := client.SendText(strings.Repeat("x", 1024)); err != nil {
			t.Fatal(err)
		}
		hears(t, client, 1)
		if err := client.SendText(strings.Repeat("x", 1025)); err != nil {
			t.Fatal(err)
		}
		wantClose(t, client, 1009)
	})
	t.Run("HISTORY_AGE", func(t *testing.T) {
		relay := start(t, map[string]string{"SIDECAST_HISTORY_AGE": "1s"})
		writer := listen(t, relay, "chat")
		if _, err := writer.Publish(t.Context(), "chat", []byte("one")); err != nil {
			t.Fatal(err)
		}
		after := relaytest.ChannelRequest{Channel: "chat", After: hears(t, writer, 1)[0].Cursor}
		if _, err := writer.Publish(t.Context(), "chat", []byte("two")); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		for recovered := true; recovered; {
			client := dial(t, &relaytest.Dialer{URL: relay.URL()})
			if err := client.SubscribeFrom(t.Context(), after); err != nil {
				t.Fatal(err)
			}
			recovered = eventsOf(client, relaytest.KindSubscribed)[0].Recovered
			client.Drop()
			if time.Since(began) > relaytest.Patience {
				t.Fatal("the relay still replays a message that is older than one second")
			}
		}
	})
}

// TestSlowClientSettings: WRITE_TIMEOUT bounds for how long a client may be
// slow, and OUTBOX_TOTAL_BYTES how much may wait for all slow clients together.
func TestSlowClientSettings(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		reason   string
		settings map[string]string
		messages int
	}{
		// The queue stays far below OUTBOX_BYTES, and the client is closed long
		// before the default of 10 s.
		{"age", map[string]string{"SIDECAST_WRITE_TIMEOUT": "100ms", "SIDECAST_COMMAND_RATE": "1000"}, 50},
		{"total", map[string]string{
			"SIDECAST_OUTBOX_TOTAL_BYTES": "256KiB", "SIDECAST_OUTBOX_BYTES": "256KiB",
			"SIDECAST_MAX_PAYLOAD_BYTES": "64KiB", "SIDECAST_COMMAND_RATE": "1000", "SIDECAST_WRITE_TIMEOUT": "5m",
		}, 60},
	} {
		t.Run(tt.reason, func(t *testing.T) {
			relay := start(t, tt.settings)
			for range 2 {
				listenStalled(t, relay, "chat")
			}
			writer := dial(t, &relaytest.Dialer{URL: relay.URL()})
			for range tt.messages {
				if _, err := writer.Publish(t.Context(), "chat", bytes.Repeat([]byte("x"), 12<<10)); err != nil {
					t.Fatal(err)
				}
			}
			began := time.Now()
			evicted := fmt.Sprintf(`sidecast_evictions_total{reason="%s"}`, tt.reason)
			awaitMetric(t, relay, evicted, func(n float64) bool { return n > 0 })
			if took := time.Since(began); took > 9*time.Second { // the default closes after 10 s
				t.Errorf("a stalled client was closed only after %v", took)
			}
		})
	}
}

// TestLargestMessagesFit: by default, two binary messages of the largest size,
// which are longer in base64, do not evict a client that is not reading yet.
func TestLargestMessagesFit(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	relay := startRelay(t, server, nil)
	listenStalled(t, relay, "chat")
	publish := publishTo(t, server)
	for range 2 {
		if _, err := publish(t.Context(), "chat", bytes.Repeat([]byte{0xff}, 1<<20)); err != nil {
			t.Fatal(err)
		}
	}
	awaitMetric(t, relay, "sidecast_outbox_bytes", func(bytes float64) bool { return bytes > 8<<20/3 })
}

// TestTokenSettings: the relay verifies tokens with JWT_PUBLIC_KEY and accepts
// only the issuer and audience of the settings.
func TestTokenSettings(t *testing.T) {
	t.Parallel()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	server := redistest.Start(t)
	relay := start(t, map[string]string{
		"SIDECAST_REDIS_URL": server.URL(), "SIDECAST_CHANNELS": "*",
		"SIDECAST_JWT_PUBLIC_KEY": string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})),
		"SIDECAST_JWT_ISSUER":     "https://app.example.com", "SIDECAST_JWT_AUDIENCE": "live",
	})
	for _, tt := range []struct {
		issuer, audience string
		code             uint16 // 0: accepted
	}{
		{"https://app.example.com", "live", 0},
		{"https://other.example.com", "live", 4401},
		{"https://app.example.com", "other", 4401},
		{"", "", 4401},
	} {
		token, err := jwt.NewWithClaims(jwt.SigningMethodEdDSA, jwt.MapClaims{
			"sub": "42", "iss": tt.issuer, "aud": tt.audience, "exp": time.Now().Add(time.Hour).Unix(),
		}).SignedString(private)
		if err != nil {
			t.Fatal(err)
		}
		client := dial(t, &relaytest.Dialer{URL: relay.URL(), Offer: []string{"sidecast.v1", "sidecast.token." + token}})
		if tt.code != 0 {
			wantClose(t, client, tt.code)
		} else if err := client.Subscribe(t.Context(), "user:42"); err != nil {
			t.Errorf("issuer %q, audience %q: %v", tt.issuer, tt.audience, err)
		}
	}
}

// TestAuthSettings: AUTH_CACHE bounds for how long the relay uses an answer of
// AUTH_URL again, and AUTH_CONCURRENCY how many requests it sends at once.
func TestAuthSettings(t *testing.T) {
	t.Parallel()
	var asked atomic.Int32
	release := make(chan struct{})
	application := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		if r.Header.Get("Cookie") != "session=1" {
			<-release
		}
		_, _ = w.Write([]byte(`{"user":"42"}`))
	}))
	t.Cleanup(application.Close)
	t.Cleanup(func() { close(release) })
	login := func(relay *relaytest.Process, cookie string) {
		d := &relaytest.Dialer{URL: relay.URL(), Header: http.Header{"Cookie": {"session=" + cookie}}}
		if client, err := d.Dial(t.Context()); err == nil {
			t.Cleanup(client.Drop)
		}
	}
	settings := map[string]string{"SIDECAST_AUTH_URL": application.URL}

	relay := start(t, with(settings, "SIDECAST_AUTH_CACHE", "1ms"))
	for n := 1; n <= 20 && asked.Load() < 2; n++ { // clients that connect during a request share its answer
		login(relay, "1")
		awaitMetric(t, relay, "sidecast_connections_opened_total", func(v float64) bool { return v == float64(n) })
	}
	if n := asked.Load(); n < 2 {
		t.Errorf("%d requests for twenty clients that connected one after another", n)
	}

	relay = start(t, with(settings, "SIDECAST_AUTH_CONCURRENCY", "1"))
	for i := range 12 { // one request runs and eight clients wait, so the relay is too busy for the rest
		go login(relay, fmt.Sprint(i+2))
	}
	awaitMetric(t, relay, `sidecast_auth_requests_total{result="busy"}`, func(n float64) bool { return n >= 1 })
}

// TestRedisModeSetting: the first of two addresses does not answer, and only
// REDIS_MODE=cluster tries the second.
func TestRedisModeSetting(t *testing.T) {
	t.Parallel()
	node := redistest.StartClusterNode(t)
	node.CLI("CLUSTER", "ADDSLOTSRANGE", "0", "16383")
	relay := start(t, map[string]string{
		"SIDECAST_REDIS_MODE": "cluster",
		"SIDECAST_REDIS_URL":  "redis://" + redistest.FreeAddr(t) + "?addr=" + node.Addr,
		"SIDECAST_CHANNELS":   "*", "SIDECAST_PUBLIC_CHANNELS": "*",
	})
	client := listen(t, relay, "chat")
	node.CLI("PUBLISH", "chat", "hello")
	hears(t, client, 1)
}
