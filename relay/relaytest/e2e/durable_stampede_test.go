package e2e_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"sidecast/relay/relaytest"
	"sidecast/relay/relaytest/redistest"
)

// TestDurableStampede: however many clients resume on one stream, the relay
// reads it only a few times.
func TestDurableStampede(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	relay := startDurable(t, server, nil)
	client := listen(t, relay, "order:1")
	add(server, "order:1", entries(1, 120)...)
	wantHeard(t, client, "order:1", entries(1, 120)...)
	var wishes []relaytest.ChannelRequest
	for _, e := range eventsOf(client, relaytest.KindMessage) {
		wishes = append(wishes, relaytest.ChannelRequest{Channel: "order:1", After: e.Cursor})
	}
	client.Drop()
	relay.Kill()
	relay = startDurable(t, server, map[string]string{"SIDECAST_HISTORY_BYTES": "0"})
	const clients = 500
	fleet := dialFleet(t, &relaytest.Dialer{URL: relay.URL()}, clients)
	server.CLI("CONFIG", "RESETSTAT")
	for i, client := range fleet {
		sendSubscribe(t, client, wishes[i%100])
	}
	for i, client := range fleet {
		wantHeard(t, client, "order:1", entries(i%100+2, 120)...)
	}
	reads := 0
	if _, calls, ok := strings.Cut(server.CLI("INFO", "commandstats"), "cmdstat_xrange:calls="); ok {
		_, _ = fmt.Sscan(calls, &reads)
	}
	if reads > 40 {
		t.Errorf("%d clients caused %d reads", clients, reads)
	}
	if kept := metric(t, relay, "sidecast_page_cache_bytes"); kept < 256 { // any kept entry has more bytes
		t.Error("the relay kept no entries for other clients that resume")
	}
	fleet.Drop()
	awaitMetric(t, relay, "sidecast_page_cache_bytes", func(kept float64) bool { return kept < 256 })
}

// TestDurableStampedeOfMany: many clients resume at once, each on a different
// stream.
func TestDurableStampedeOfMany(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	relay := startDurable(t, server, nil)
	const clients = 400
	fleet := dialFleet(t, &relaytest.Dialer{URL: relay.URL()}, clients)
	redis := relaytest.NewRedis(server.Addr, time.Second)
	t.Cleanup(func() { _ = redis.Close() })
	addToAll := func(payload string) {
		t.Helper()
		pipe := redis.Pipeline()
		for i := range clients {
			pipe.Do(t.Context(), "XADD", fmt.Sprint("order:", i), "*", "data", payload)
			pipe.Publish(t.Context(), fmt.Sprint("order:", i), "")
		}
		if _, err := pipe.Exec(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	for i, client := range fleet {
		if err := client.Subscribe(t.Context(), fmt.Sprint("order:", i)); err != nil {
			t.Fatal(err)
		}
	}
	addToAll("first")
	for i, client := range fleet {
		wantHeard(t, client, fmt.Sprint("order:", i), "first")
	}
	relay.Kill()
	addToAll("second")
	relay = startDurable(t, server, nil)
	again := dialFleet(t, &relaytest.Dialer{URL: relay.URL()}, clients)
	for i, client := range again {
		sendSubscribe(t, client, fleet[i].Cursors()[0])
	}
	for i, client := range again {
		wantHeard(t, client, fmt.Sprint("order:", i), "second")
	}
}

// sendSubscribe sends a subscribe command and does not wait for the answer.
func sendSubscribe(t testing.TB, client *relaytest.Client, wish relaytest.ChannelRequest) {
	t.Helper()
	text := fmt.Sprintf(`{"type":"subscribe","channels":[{"channel":%q,"after":%q}]}`, wish.Channel, wish.After)
	if err := client.SendText(text); err != nil {
		t.Fatal(err)
	}
}

// TestPageCacheSetting: PAGE_CACHE_BYTES bounds the entries that the relay keeps
// for clients that resume.
func TestPageCacheSetting(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	relay := startDurable(t, server, map[string]string{"SIDECAST_PAGE_CACHE_BYTES": "1MiB"})
	client := listen(t, relay, "order:1")
	const entries = 40
	for i := range entries {
		add(server, "order:1", fmt.Sprint(i, strings.Repeat("x", 40_000)))
	}
	hears(t, client, entries)
	if kept := metric(t, relay, "sidecast_page_cache_bytes"); kept < 100_000 || kept > 1<<20 {
		t.Errorf("%v bytes are kept", kept)
	}
}
