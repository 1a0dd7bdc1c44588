//go:build unix

package e2e_test

import (
	"bytes"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"sidecast/relay/blackbox"
	"sidecast/relay/relaytest"
	"sidecast/relay/relaytest/redistest"
)

// boxFile returns settings with which the records of a relay are in a file, and
// its path.
func boxFile(t testing.TB, settings map[string]string) (map[string]string, string) {
	path := filepath.Join(t.TempDir(), "blackbox")
	return with(with(settings, "SIDECAST_BLACKBOX_FILE", path), "SIDECAST_BLACKBOX_BYTES", "1MiB"), path
}

// awaitRecord returns all records in a file as soon as one matches.
func awaitRecord(t testing.TB, path string, match func(blackbox.Record) bool) (records []blackbox.Record) {
	t.Helper()
	for end := time.Now().Add(relaytest.Patience); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		reader, err := blackbox.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		records = records[:0]
		for r, ok := reader.Next(); ok; r, ok = reader.Next() {
			records = append(records, r)
		}
		if slices.ContainsFunc(records, match) {
			return records
		}
	}
	t.Fatalf("no such record in\n%+v", records)
	return nil
}

// TestRecordedRefusals: the records say which clients got no connection, and
// which messages were dropped before they had a number. They contain no token.
func TestRecordedRefusals(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	settings, path := boxFile(t, openSettings(server, map[string]string{
		"SIDECAST_JWT_SECRET": jwtSecret, "SIDECAST_PUBLIC_CHANNELS": "public:*", "SIDECAST_DURABLE_CHANNELS": "public:log",
	}))
	relay := start(t, settings)
	client := listen(t, relay, "public:1", "public:log")
	get := func(url string) {
		t.Helper()
		response, err := http.Get(url)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
	}
	for _, c := range []struct {
		comment string
		do      func()
		kind    blackbox.Kind
		channel string
		reason  string
		code    uint32
	}{
		{"no WebSocket handshake", func() { get("http://" + relay.Addr() + "/ws") }, blackbox.KindRejected, "", "handshake", 0},
		{"an unknown path of another server", func() { get("http://" + relay.Addr() + "/socket.io/") }, blackbox.KindRejected, "", "not_found", 0},
		{"an invalid token", func() {
			d := &relaytest.Dialer{URL: relay.URL(), Offer: []string{"sidecast.v1", "sidecast.token.a-forged-token"}}
			wantClose(t, dial(t, d), 4401)
		}, blackbox.KindRefused, "", "connect", 4401},
		{"a private channel in the URL", func() {
			wantClose(t, dial(t, &relaytest.Dialer{URL: relay.URL(), Protocol: relaytest.Raw, Channels: []string{"private:1"}}), 4401)
		}, blackbox.KindRefused, "private:1", "connect", 0},
		{"a private channel", func() { _ = client.Subscribe(t.Context(), "private:2") }, blackbox.KindRefused, "private:2", "subscribe", 0},
		{"a message on a reserved name", func() { server.CLI("PUBLISH", "sidecast:x", "hi") }, blackbox.KindDropped, "sidecast:x", "reserved", 0},
		{"a message on a name with a line break", func() { server.CLI("PUBLISH", "public:\n", "hi") }, blackbox.KindDropped, "public:\n", "name", 0},
		{"a message without XADD", func() { server.CLI("PUBLISH", "public:log", "hi") }, blackbox.KindDropped, "public:log", "nudge", 0},
	} {
		c.do()
		records := awaitRecord(t, path, func(r blackbox.Record) bool {
			return r.Kind == c.kind && r.Channel == c.channel && r.Reason == c.reason && (c.code == 0 || c.code == r.Code)
		})
		for _, r := range records {
			if r.Kind == blackbox.KindRefused && r.Code == 0 {
				t.Errorf("%s: a refusal without a reason: %+v", c.comment, r)
			}
			if r.Kind == blackbox.KindDropped && strings.HasPrefix(r.Channel, "__") {
				t.Errorf("%s: a message of Redis itself: %+v", c.comment, r)
			}
		}
	}
	relay.Kill()
	if content, err := os.ReadFile(path); err != nil || bytes.Contains(content, []byte("forged")) {
		t.Errorf("the file contains a token: %v", err)
	}
}
