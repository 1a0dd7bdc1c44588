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

// openRelay runs a relay on a Redis in memory, which everything is open on.
func openRelay(t testing.TB, settings map[string]string) *relaytest.Process {
	t.Helper()
	relay := relaytest.Start(t, settings)
	relay.AwaitReady()
	return relay
}

// status asks for a URL and returns what the answer's status is.
func status(t testing.TB, url string) int {
	t.Helper()
	response, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	return response.StatusCode
}

// TestPlacesAreSettings: where pages find the relay, and whether they find a demo.
func TestPlacesAreSettings(t *testing.T) {
	t.Parallel()
	relay := openRelay(t, map[string]string{"SIDECAST_BASE_PATH": "/live", "SIDECAST_DEMO": "false"})
	client := dial(t, &relaytest.Dialer{URL: "ws://" + relay.Addr() + "/live/ws"})
	if err := client.Subscribe(t.Context(), "chat"); err != nil {
		t.Error(err)
	}
	var refused *relaytest.HandshakeError
	if _, err := (&relaytest.Dialer{URL: "ws://" + relay.Addr() + "/ws"}).Dial(t.Context()); !errors.As(err, &refused) {
		t.Errorf("beside the base path: %v", err)
	}
	for _, path := range []string{"/", "/live/"} {
		if got := status(t, "http://"+relay.Addr()+path); got != http.StatusNotFound {
			t.Errorf("%s without a demo: %d", path, got)
		}
	}
}

// TestLimitsAreSettings: limits that nobody meets by default in a test, set so low that somebody does.
func TestLimitsAreSettings(t *testing.T) {
	t.Parallel()
	t.Run("MAX_INBOUND_BYTES", func(t *testing.T) {
		relay := openRelay(t, map[string]string{"SIDECAST_MAX_INBOUND_BYTES": "1KiB"})
		client := listenRaw(t, relay, "chat")
		if err := client.SendText(strings.Repeat("x", 1024)); err != nil {
			t.Fatal(err)
		}
		hears(t, client, 1)
		if err := client.SendText(strings.Repeat("x", 1025)); err != nil {
			t.Fatal(err)
		}
		closes(t, client, 1009)
	})
	t.Run("HISTORY_AGE", func(t *testing.T) {
		relay := openRelay(t, map[string]string{"SIDECAST_HISTORY_AGE": "1s"})
		writer := listen(t, relay, "chat")
		if _, err := writer.Publish(t.Context(), "chat", []byte("one")); err != nil {
			t.Fatal(err)
		}
		after := relaytest.Wish{Channel: "chat", After: hears(t, writer, 1)[0].Cursor}
		if _, err := writer.Publish(t.Context(), "chat", []byte("two")); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		for recovered := true; recovered; {
			client := dial(t, &relaytest.Dialer{URL: relay.URL()})
			if err := client.SubscribeFrom(t.Context(), after); err != nil {
				t.Fatal(err)
			}
			recovered = only(client, relaytest.KindSubscribed)[0].Recovered
			client.Drop()
			if time.Since(began) > relaytest.Patience {
				t.Fatal("what is older than a second is still told again")
			}
		}
	})
}

// stuck connects a client that hears chat and reads nothing, and publishes so many messages of 12 KiB.
func stuck(t *testing.T, relay *relaytest.Process, messages int) {
	t.Helper()
	client := dial(t, &relaytest.Dialer{URL: relay.URL(), ReceiveBuffer: 4 << 10})
	if err := client.Subscribe(t.Context(), "chat"); err != nil {
		t.Fatal(err)
	}
	client.StopReading()
	writer := dial(t, &relaytest.Dialer{URL: relay.URL()})
	for range messages {
		if _, err := writer.Publish(t.Context(), "chat", bytes.Repeat([]byte("x"), 12<<10)); err != nil {
			t.Fatal(err)
		}
	}
}

// TestSlownessIsASetting: for how long, and for how much of all, a client may be slow.
func TestSlownessIsASetting(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		reason   string
		settings map[string]string
		messages int
	}{
		// Far less than OUTBOX_BYTES waits, and for far less than the usual 10 s.
		{"age", map[string]string{"SIDECAST_WRITE_TIMEOUT": "100ms", "SIDECAST_COMMAND_RATE": "1000"}, 50},
		{"total", map[string]string{
			"SIDECAST_OUTBOX_TOTAL_BYTES": "256KiB", "SIDECAST_OUTBOX_BYTES": "256KiB", "SIDECAST_MAX_PAYLOAD_BYTES": "64KiB",
			"SIDECAST_COMMAND_RATE": "1000", "SIDECAST_WRITE_TIMEOUT": "5m",
		}, 60},
	} {
		t.Run(tt.reason, func(t *testing.T) {
			relay := openRelay(t, tt.settings)
			stuck(t, relay, 0)
			stuck(t, relay, tt.messages)
			began := time.Now()
			evicted := fmt.Sprintf(`sidecast_evictions_total{reason="%s"}`, tt.reason)
			awaitMetric(t, relay, evicted, func(n float64) bool { return n > 0 })
			if took := time.Since(began); took > 9*time.Second { // what the default takes
				t.Errorf("a stuck client is closed after %v", took)
			}
		})
	}
}

// TestTokensAreForSomebody: a token counts where issuer and audience are those of the settings, and by a public key.
func TestTokensAreForSomebody(t *testing.T) {
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
	relay := relaytest.Start(t, map[string]string{
		"SIDECAST_REDIS_URL": server.URL(), "SIDECAST_CHANNELS": "*",
		"SIDECAST_JWT_PUBLIC_KEY": string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})),
		"SIDECAST_JWT_ISSUER":     "https://app.example.com", "SIDECAST_JWT_AUDIENCE": "live",
	})
	relay.AwaitReady()
	for _, tt := range []struct {
		issuer, audience string
		code             uint16 // 0: welcome
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
			closes(t, client, tt.code)
		} else if err := client.Subscribe(t.Context(), "user:42"); err != nil {
			t.Errorf("issuer %q, audience %q: %v", tt.issuer, tt.audience, err)
		}
	}
}

// TestApplicationIsAskedAsSet: how long its answer counts, and how many it is asked for at once.
func TestApplicationIsAskedAsSet(t *testing.T) {
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
		client, err := (&relaytest.Dialer{URL: relay.URL(), Header: http.Header{"Cookie": {"session=" + cookie}}}).Dial(t.Context())
		if err == nil {
			t.Cleanup(client.Drop)
		}
	}
	settings := map[string]string{"SIDECAST_AUTH_URL": application.URL}

	relay := openRelay(t, with(settings, "SIDECAST_AUTH_CACHE", "1ms"))
	for n := 1; n <= 20 && asked.Load() < 2; n++ { // who comes while another is asked about shares the answer
		login(relay, "1")
		awaitMetric(t, relay, "sidecast_connections_opened_total", func(opened float64) bool { return opened == float64(n) })
	}
	if n := asked.Load(); n < 2 {
		t.Errorf("asked %d times for twenty who came one behind the other", n)
	}

	relay = openRelay(t, with(settings, "SIDECAST_AUTH_CONCURRENCY", "1"))
	for i := range 12 { // one is asked for, eight wait
		go login(relay, fmt.Sprint(i+2))
	}
	awaitMetric(t, relay, `sidecast_auth_requests_total{result="busy"}`, func(n float64) bool { return n >= 1 })
}

// TestRedisModeIsASetting: the first of two nodes is away, which only a client of a cluster gets over.
func TestRedisModeIsASetting(t *testing.T) {
	t.Parallel()
	node := redistest.StartClusterNode(t)
	node.CLI("CLUSTER", "ADDSLOTSRANGE", "0", "16383")
	relay := relaytest.Start(t, map[string]string{
		"SIDECAST_REDIS_MODE": "cluster", "SIDECAST_REDIS_URL": "redis://" + redistest.FreeAddr(t) + "?addr=" + node.Addr,
		"SIDECAST_CHANNELS": "*", "SIDECAST_PUBLIC_CHANNELS": "*",
	})
	relay.AwaitReady()
	client := listen(t, relay, "chat")
	node.CLI("PUBLISH", "chat", "hello")
	hears(t, client, 1)
}
