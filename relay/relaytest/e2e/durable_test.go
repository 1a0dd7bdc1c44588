package e2e_test

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"sidecast/relay/relaytest"
	"sidecast/relay/relaytest/redistest"
)

// durableSettings returns [openSettings] with order:* as durable channels.
func durableSettings(server *redistest.Server, more map[string]string) map[string]string {
	return with(openSettings(server, more), "SIDECAST_DURABLE_CHANNELS", "order:*")
}

func startDurable(t testing.TB, server *redistest.Server, more map[string]string) *relaytest.Process {
	t.Helper()
	return start(t, with(durableSettings(server, more), "SIDECAST_LOG_LEVEL", "debug"))
}

// receivedOn returns the payloads that a client has received on a channel, and
// "gap" with the reason for each gap.
func receivedOn(client *relaytest.Client, channel string) (list []string) {
	for _, e := range client.Events() {
		switch {
		case e.Channel != channel:
		case e.Kind == relaytest.KindMessage:
			list = append(list, e.Data)
		case e.Kind == relaytest.KindGap:
			list = append(list, "gap "+e.Text)
		}
	}
	return list
}

// wantHeard waits until a client has received these payloads and gaps on a
// channel, and no others (see [receivedOn]).
func wantHeard(t testing.TB, client *relaytest.Client, channel string, want ...string) {
	t.Helper()
	if len(want) > 0 {
		all := func(relaytest.Event) bool { return len(receivedOn(client, channel)) >= len(want) }
		if _, err := client.Await(t.Context(), all); err != nil {
			t.Fatalf("awaiting %q: %v; received %q", want, err, receivedOn(client, channel))
		}
	}
	if got := receivedOn(client, channel); !slices.Equal(got, want) {
		t.Fatalf("received %q on %s, want %q", got, channel, want)
	}
}

// add appends entries to a stream and nudges the relays once.
func add(server *redistest.Server, channel string, payloads ...string) {
	for _, payload := range payloads {
		server.CLI("XADD", channel, "*", "data", payload)
	}
	server.CLI("PUBLISH", channel, "")
}

// back connects a client that resumes with cursors, and also returns the answer
// to its subscribe command.
func back(t testing.TB, relay *relaytest.Process, wish ...relaytest.ChannelRequest) (*relaytest.Client, relaytest.Event) {
	t.Helper()
	client := dial(t, &relaytest.Dialer{URL: relay.URL()})
	if err := client.SubscribeFrom(t.Context(), wish...); err != nil {
		t.Fatalf("resuming: %v", err)
	}
	answer, err := client.Await(t.Context(), relaytest.Is(relaytest.KindSubscribed))
	if err != nil {
		t.Fatal(err)
	}
	return client, answer
}

// entries returns numbered payloads.
func entries(from, to int) (list []string) {
	for i := from; i <= to; i++ {
		list = append(list, fmt.Sprint("entry ", i))
	}
	return list
}

// TestDurableReturn: a client receives the entries that are added to a stream,
// and after a reconnect to any relay the entries that it missed.
func TestDurableReturn(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	relay, other := startDurable(t, server, nil), startDurable(t, server, nil)
	client, raw := listen(t, relay, "order:7"), listenRaw(t, relay, "order:7")
	add(server, "order:7", entries(1, 3)...)
	wantHeard(t, client, "order:7", entries(1, 3)...)
	hears(t, raw, 3)

	fields := []string{"XADD", "order:7", "*", "event", "paid", "by", `"me"`, "event", "<again>"}
	server.CLI(fields...)
	server.CLI("PUBLISH", "order:7", "")
	object := `{"event":"paid","by":"\"me\"","event":"<again>"}`
	wantHeard(t, client, "order:7", append(entries(1, 3), object)...)
	client.Drop()
	cursors := client.Cursors()

	add(server, "order:7", entries(5, 400)...)
	for _, relay := range []*relaytest.Process{other, relay} {
		client, answer := back(t, relay, cursors...)
		if !answer.Recovered || answer.Cursor != cursors[0].After {
			t.Errorf("answered %v", answer)
		}
		wantHeard(t, client, "order:7", entries(5, 400)...)
	}
	client, answer := back(t, other, relaytest.ChannelRequest{Channel: "order:7"})
	if answer.Recovered || answer.Cursor == "" {
		t.Errorf("answered %v", answer)
	}
	add(server, "order:7", "now")
	wantHeard(t, client, "order:7", "now")
}

// TestDurableGaps: a client receives a gap if entries that it missed have been
// trimmed, were too large, or were deleted with their key.
func TestDurableGaps(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	relay := startDurable(t, server, map[string]string{"SIDECAST_MAX_PAYLOAD_BYTES": "1KiB"})
	staying, leaving := listen(t, relay, "order:1"), listen(t, relay, "order:1")
	add(server, "order:1", entries(1, 3)...)
	wantHeard(t, staying, "order:1", entries(1, 3)...)
	wantHeard(t, leaving, "order:1", entries(1, 3)...)
	leaving.Drop()

	// An entry that is too large for the relay is a gap.
	add(server, "order:1", strings.Repeat("x", 1025), "after")
	wantHeard(t, staying, "order:1", append(entries(1, 3), "gap too_large", "after")...)
	returned, _ := back(t, relay, leaving.Cursors()...)
	wantHeard(t, returned, "order:1", "gap too_large", "after")

	// Trimming is a gap only for a client that has not received the trimmed
	// entries.
	for i := range 5 {
		server.CLI("XADD", "order:1", "MAXLEN", "2", "*", "data", fmt.Sprint(i))
	}
	server.CLI("PUBLISH", "order:1", "")
	// Until the relay has noticed, it still has the entries that are missing.
	wantHeard(t, staying, "order:1", append(entries(1, 3), "gap too_large", "after", "gap trimmed", "3", "4")...)
	late, answer := back(t, relay, leaving.Cursors()...)
	if answer.Recovered {
		t.Error("the answer is recovered although entries were trimmed")
	}
	add(server, "order:1", "more")
	wantHeard(t, late, "order:1", "gap trimmed", "3", "4", "more")

	before := late.Last()
	server.CLI("DEL", "order:1")
	server.CLI("PUBLISH", "order:1", "")
	if _, err := late.AwaitAfter(t.Context(), before, relaytest.Is(relaytest.KindGap)); err != nil {
		t.Fatal(err)
	}
	add(server, "order:1", "a new one")
	wantHeard(t, late, "order:1", "gap trimmed", "3", "4", "more", "gap reset", "a new one")
}

// TestDurableCreatedAgain: if a key is deleted between two messages, clients
// receive the second one, after a gap if their protocol has gaps. A client whose
// cursor says that there was no stream receives a gap and everything that the
// stream has.
func TestDurableCreatedAgain(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	relay := startDurable(t, server, nil)
	client, empty := listen(t, relay, "order:1"), listen(t, relay, "order:2")
	raw := listenRaw(t, relay, "order:1")
	add(server, "order:1", "ordered")
	wantHeard(t, client, "order:1", "ordered")
	empty.Drop()
	for _, key := range []string{"order:1", "order:2"} {
		server.CLI("EVAL", "redis.call('XADD',KEYS[1],'*','data','paid');redis.call('XADD',KEYS[1],'*','data','packed')"+
			"redis.call('DEL',KEYS[1]);redis.call('XADD',KEYS[1],'*','data','sent');redis.call('PUBLISH',KEYS[1],'')", "1", key)
	}
	wantHeard(t, client, "order:1", "ordered", "gap trimmed", "sent")
	if received := hears(t, raw, 2); received[1].Data != "sent" {
		t.Errorf("the raw client received %v", received)
	}
	returned, answer := back(t, relay, empty.Cursors()...)
	if answer.Recovered {
		t.Error("the answer is recovered although two entries are missing")
	}
	wantHeard(t, returned, "order:2", "gap reset", "sent")
}

// TestDurableNudgeLost: without a nudge, and after an outage, the relay still
// finds the entries that were added.
func TestDurableNudgeLost(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, "--appendonly", "yes", "--appendfsync", "always")
	relay := startDurable(t, server, nil)
	client := listen(t, relay, "order:1", "live")
	gapClose := dial(t, &relaytest.Dialer{
		URL: relay.URL(), Protocol: relaytest.Raw, Channels: []string{"order:1"}, GapClose: true,
	})
	server.CLI("XADD", "order:1", "*", "data", "not nudged")
	wantHeard(t, client, "order:1", "not nudged")

	server.Restart()
	server.CLI("XADD", "order:1", "*", "data", "during the outage")
	wantHeard(t, client, "order:1", "not nudged", "during the outage")
	if gap, err := client.Await(t.Context(), relaytest.Is(relaytest.KindGap)); err != nil || gap.Channel != "" {
		t.Errorf("received %v: %v", gap, err)
	}
	// The only channel of this client is durable and had no gap, so the relay
	// does not close it.
	if received := hears(t, gapClose, 2); received[1].Data != "during the outage" {
		t.Errorf("received %v", received)
	}
	server.CLI("XADD", "order:1", "MAXLEN", "0", "*", "data", "gone")
	server.CLI("PUBLISH", "order:1", "")
	wantClose(t, gapClose, 4410)
}

// TestDurableKeyspaceEvents: if the server publishes keyspace events, an XADD
// needs no nudge.
func TestDurableKeyspaceEvents(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, "--notify-keyspace-events", "Kt")
	relay := startDurable(t, server, nil)
	client := listen(t, relay, "order:1")
	// The relay may not be subscribed to the events yet, and finds the first
	// entry by itself.
	server.CLI("XADD", "order:1", "*", "data", "0")
	wantHeard(t, client, "order:1", "0")
	began, want := time.Now(), []string{"0"}
	for i := range 20 {
		server.CLI("XADD", "order:1", "*", "data", strconv.Itoa(i+1))
		want = append(want, strconv.Itoa(i+1))
		wantHeard(t, client, "order:1", want...)
	}
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("20 entries took %v: the relay did not use the events", took)
	}
}

// TestDurablePublish: the relay adds messages that clients publish to a durable
// channel to its stream, trims the stream, and does not echo a message with
// "echo":false.
func TestDurablePublish(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	relay := startDurable(t, server, map[string]string{
		"SIDECAST_DURABLE_LENGTH": "100", "SIDECAST_COMMAND_RATE": "10000",
	})
	client, other := listen(t, relay, "order:1"), listen(t, relay, "order:1")
	if _, err := client.Publish(t.Context(), "order:1", []byte("mine")); err != nil {
		t.Fatal(err)
	}
	wantHeard(t, client, "order:1", "mine")
	wantHeard(t, other, "order:1", "mine")
	want := []string{"mine"}
	for i := range 50 {
		noEcho := fmt.Sprintf(`{"type":"publish","channel":"order:1","data":"no echo %d","echo":false}`, i)
		if err := client.SendText(noEcho); err != nil {
			t.Fatal(err)
		}
		want = append(want, fmt.Sprint("no echo ", i))
	}
	wantHeard(t, other, "order:1", want...)
	if _, err := client.Publish(t.Context(), "order:1", []byte("last")); err != nil {
		t.Fatal(err)
	}
	wantHeard(t, client, "order:1", "mine", "last")
	for i := range 300 {
		if _, err := client.Publish(t.Context(), "order:2", []byte(strconv.Itoa(i))); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := strconv.Atoi(server.CLI("XLEN", "order:2")); err != nil || n < 100 || n > 250 {
		t.Errorf("the stream has %d entries: %v", n, err)
	}
	if kind := server.CLI("TYPE", "order:1"); kind != "stream" {
		t.Errorf("the key is a %s", kind)
	}
}

// TestDurableUnfoundedNudge: a metric and the log report a backend that
// publishes to a durable channel without XADD.
func TestDurableUnfoundedNudge(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	relay := startDurable(t, server, nil)
	client := listen(t, relay, "order:1")
	for i := range 20 {
		server.CLI("EVAL", "redis.call('XADD', KEYS[1], '*', 'data', ARGV[1]) redis.call('PUBLISH', KEYS[1], ARGV[1])",
			"1", "order:1", strconv.Itoa(i))
	}
	wantHeard(t, client, "order:1", strings.Fields("0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19")...)
	series := `sidecast_messages_dropped_total{reason="nudge"}`
	if n := metric(t, relay, series); n != 0 {
		t.Errorf("the relay counted %v nudges as unfounded, want 0", n)
	}
	for range 3 {
		server.CLI("PUBLISH", "order:1", "not in the stream")
	}
	awaitMetric(t, relay, series, func(n float64) bool { return n == 3 })
	relay.AwaitLog(func(line string) bool { return strings.Contains(line, "not added to its stream") })
	if strings.Contains(relay.Log(), "not in the stream") {
		t.Error("the log contains a payload")
	}
}

// TestDurableWrongType: the relay rejects a subscription to a key that is not a
// stream, and other channels still work.
func TestDurableWrongType(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	relay := startDurable(t, server, nil)
	server.CLI("SET", "order:1", "x")
	client := dial(t, &relaytest.Dialer{URL: relay.URL()})
	for _, wish := range []relaytest.ChannelRequest{{Channel: "order:1"}, {Channel: "order:1", After: "AgEAAAAAAA"}} {
		if err := client.SubscribeFrom(t.Context(), wish); err == nil || !strings.Contains(err.Error(), "unavailable") {
			t.Errorf("subscribing to a string: %v", err)
		}
	}
	if err := client.Subscribe(t.Context(), "order:2"); err != nil {
		t.Fatal(err)
	}
	add(server, "order:2", "fine")
	wantHeard(t, client, "order:2", "fine")
	server.CLI("DEL", "order:1")
	if err := client.Subscribe(t.Context(), "order:1"); err != nil {
		t.Errorf("subscribing after the key was deleted: %v", err)
	}
}

// TestDurableWhileAway: while Redis is unavailable, a client that resumes waits
// for Redis, and a new client can subscribe.
func TestDurableWhileAway(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, "--appendonly", "yes", "--appendfsync", "always")
	relay := startDurable(t, server, nil)
	client := listen(t, relay, "order:1")
	add(server, "order:1", "first")
	wantHeard(t, client, "order:1", "first")
	cursors := client.Cursors()
	client.Drop()
	connected := listen(t, relay, "order:2")
	server.Kill()
	if _, err := connected.Await(t.Context(), relaytest.Is(relaytest.KindOffline)); err != nil {
		t.Fatal(err)
	}
	newcomer := listen(t, relay, "order:3")
	rejected := dial(t, &relaytest.Dialer{URL: relay.URL()})
	err := rejected.SubscribeFrom(t.Context(), cursors...)
	if err == nil || !strings.Contains(err.Error(), "unavailable") {
		t.Errorf("resuming while Redis is unavailable: %v", err)
	}
	returning := dial(t, &relaytest.Dialer{URL: relay.URL()})
	sendSubscribe(t, returning, cursors[0])
	server.Restart()
	add(server, "order:1", "second")
	wantHeard(t, returning, "order:1", "second")
	if _, err := newcomer.Await(t.Context(), relaytest.IsOn(relaytest.KindGap, "order:3")); err != nil {
		t.Fatal(err)
	}
	add(server, "order:3", "third")
	wantHeard(t, newcomer, "order:3", "gap redis", "third")
}

// TestDurableEmbedded: durable channels work with the embedded Redis.
func TestDurableEmbedded(t *testing.T) {
	t.Parallel()
	redistest.Require(t, "redis-cli", "redis-tools")
	relay := start(t, map[string]string{"SIDECAST_DURABLE_CHANNELS": "order:*"})
	line := relay.AwaitLog(func(line string) bool { return strings.Contains(line, "redis-cli -p ") })
	_, port, _ := strings.Cut(line, "redis-cli -p ")
	port, _, _ = strings.Cut(port, " ")
	server := redistest.At(t, "127.0.0.1:"+strings.TrimSpace(port))
	client := listen(t, relay, "order:1")
	add(server, "order:1", "a")
	wantHeard(t, client, "order:1", "a")
	client.Drop()
	server.CLI("XADD", "order:1", "*", "data", "b")
	returned, answer := back(t, relay, client.Cursors()...)
	wantHeard(t, returned, "order:1", "b")
	if _, err := returned.Publish(t.Context(), "order:1", []byte("c")); err != nil || !answer.Recovered {
		t.Error(err, answer)
	}
	wantHeard(t, returned, "order:1", "b", "c")
	server.CLI("DEL", "order:1")
	server.CLI("PUBLISH", "order:1", "")
	wantHeard(t, returned, "order:1", "b", "c", "gap reset")
	if _, answer := back(t, relay, client.Cursors()...); answer.Recovered {
		t.Error("the answer is recovered although the stream was deleted")
	}
}
