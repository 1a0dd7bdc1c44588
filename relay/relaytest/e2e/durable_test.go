package e2e_test

import (
	"fmt"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"sidecast/relay/relaytest"
	"sidecast/relay/relaytest/redistest"
)

// durable are the settings of a relay on which order:* are streams and everything else is live.
func durable(server *redistest.Server, more map[string]string) map[string]string {
	return with(openSettings(server, more), "SIDECAST_DURABLE_CHANNELS", "order:*")
}

func startDurable(t testing.TB, server *redistest.Server, more map[string]string) *relaytest.Process {
	t.Helper()
	relay := relaytest.Start(t, with(durable(server, more), "SIDECAST_LOG_LEVEL", "debug"))
	relay.AwaitReady()
	return relay
}

// heardOn returns what a client heard on a channel: payloads, and gaps with their reasons.
func heardOn(client *relaytest.Client, channel string) (list []string) {
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

// wantHeard waits until a client has heard this on a channel, and nothing else.
func wantHeard(t testing.TB, client *relaytest.Client, channel string, want ...string) {
	t.Helper()
	if len(want) > 0 {
		_, err := client.Await(t.Context(), func(relaytest.Event) bool { return len(heardOn(client, channel)) >= len(want) })
		if err != nil {
			t.Fatalf("awaiting %q: %v; heard %q", want, err, heardOn(client, channel))
		}
	}
	if got := heardOn(client, channel); !slices.Equal(got, want) {
		t.Fatalf("heard %q on %s, want %q", got, channel, want)
	}
}

// add appends entries, and nudges the relays once.
func add(server *redistest.Server, channel string, payloads ...string) {
	for _, payload := range payloads {
		server.CLI("XADD", channel, "*", "data", payload)
	}
	server.CLI("PUBLISH", channel, "")
}

// back connects a client that comes back to a channel with a cursor, and returns the answer too.
func back(t testing.TB, relay *relaytest.Process, wish ...relaytest.Wish) (*relaytest.Client, relaytest.Event) {
	t.Helper()
	client := dial(t, &relaytest.Dialer{URL: relay.URL()})
	if err := client.SubscribeFrom(t.Context(), wish...); err != nil {
		t.Fatalf("coming back: %v", err)
	}
	answer, err := client.Await(t.Context(), relaytest.Is(relaytest.KindSubscribed))
	if err != nil {
		t.Fatal(err)
	}
	return client, answer
}

func numbers(from, to int) (list []string) {
	for i := from; i <= to; i++ {
		list = append(list, fmt.Sprint("entry ", i))
	}
	return list
}

// A client hears what is added to a stream, and gets what it missed when it comes back, to this relay or another one.
func TestDurableReturn(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	relay, other := startDurable(t, server, nil), startDurable(t, server, nil)
	client, raw := listen(t, relay, "order:7"), listenRaw(t, relay, "order:7")
	add(server, "order:7", numbers(1, 3)...)
	wantHeard(t, client, "order:7", numbers(1, 3)...)
	hears(t, raw, 3)

	fields := []string{"XADD", "order:7", "*", "event", "paid", "by", `"me"`, "event", "<again>"}
	server.CLI(fields...)
	server.CLI("PUBLISH", "order:7", "")
	object := `{"event":"paid","by":"\"me\"","event":"<again>"}`
	wantHeard(t, client, "order:7", append(numbers(1, 3), object)...)
	client.Drop()
	cursors := client.Cursors()

	add(server, "order:7", numbers(5, 400)...)
	for _, place := range []*relaytest.Process{other, relay} {
		client, answer := back(t, place, cursors...)
		if !answer.Recovered || answer.Cursor != cursors[0].After {
			t.Errorf("answered %v", answer)
		}
		wantHeard(t, client, "order:7", numbers(5, 400)...)
	}
	client, answer := back(t, other, relaytest.Wish{Channel: "order:7"})
	if answer.Recovered || answer.Cursor == "" {
		t.Errorf("answered %v", answer)
	}
	add(server, "order:7", "now")
	wantHeard(t, client, "order:7", "now")
}

// A client is told where what it missed is gone: trimmed, or with the key.
func TestDurableGaps(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	relay := startDurable(t, server, map[string]string{"SIDECAST_MAX_PAYLOAD_BYTES": "1KiB"})
	staying, leaving := listen(t, relay, "order:1"), listen(t, relay, "order:1")
	add(server, "order:1", numbers(1, 3)...)
	wantHeard(t, staying, "order:1", numbers(1, 3)...)
	wantHeard(t, leaving, "order:1", numbers(1, 3)...)
	leaving.Drop()

	// One that is larger than the relay carries leaves a hole that is told.
	add(server, "order:1", strings.Repeat("x", 1025), "behind")
	wantHeard(t, staying, "order:1", append(numbers(1, 3), "gap too_large", "behind")...)
	returned, _ := back(t, relay, leaving.Cursors()...)
	wantHeard(t, returned, "order:1", "gap too_large", "behind")

	// Trimming away what everybody has is nothing to tell of. What a client lacks is another matter.
	for i := range 5 {
		server.CLI("XADD", "order:1", "MAXLEN", "2", "*", "data", fmt.Sprint(i))
	}
	server.CLI("PUBLISH", "order:1", "")
	late, answer := back(t, relay, leaving.Cursors()...)
	if answer.Recovered {
		t.Errorf("recovered what is trimmed")
	}
	wantHeard(t, staying, "order:1", append(numbers(1, 3), "gap too_large", "behind", "gap trimmed")...)
	add(server, "order:1", "more")
	wantHeard(t, late, "order:1", "more")

	server.CLI("DEL", "order:1")
	server.CLI("PUBLISH", "order:1", "")
	if _, err := late.Await(t.Context(), relaytest.Is(relaytest.KindGap)); err != nil {
		t.Fatal(err)
	}
	add(server, "order:1", "a new one")
	wantHeard(t, late, "order:1", "more", "gap reset", "a new one")
}

// Neither a nudge nor an outage that is missed loses anything: what was added is found.
func TestDurableNudgeLost(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, "--appendonly", "yes", "--appendfsync", "always")
	relay := startDurable(t, server, nil)
	client := listen(t, relay, "order:1", "live")
	careful := dial(t, &relaytest.Dialer{
		URL: relay.URL(), Protocol: relaytest.Raw, Channels: []string{"order:1"}, GapClose: true,
	})
	server.CLI("XADD", "order:1", "*", "data", "not nudged")
	wantHeard(t, client, "order:1", "not nudged")

	server.Restart()
	server.CLI("XADD", "order:1", "*", "data", "while away")
	wantHeard(t, client, "order:1", "not nudged", "while away")
	if gap, err := client.Await(t.Context(), relaytest.Is(relaytest.KindGap)); err != nil || gap.Channel != "" {
		t.Errorf("told of %v: %v", gap, err)
	}
	// There was no gap on the one channel that this one hears, so it is not closed.
	if heard := hears(t, careful, 2); heard[1].Data != "while away" {
		t.Errorf("heard %v", heard)
	}
	server.CLI("XADD", "order:1", "MAXLEN", "0", "*", "data", "gone")
	server.CLI("PUBLISH", "order:1", "")
	closes(t, careful, 4410)
}

// Where the server tells of its keys, XADD alone is enough.
func TestDurableKeyspaceEvents(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, "--notify-keyspace-events", "Kt")
	relay := startDurable(t, server, nil)
	client := listen(t, relay, "order:1")
	server.CLI("XADD", "order:1", "*", "data", "0") // the relay may not listen yet, and looks by itself
	wantHeard(t, client, "order:1", "0")
	began, want := time.Now(), []string{"0"}
	for i := range 20 {
		server.CLI("XADD", "order:1", "*", "data", strconv.Itoa(i+1))
		want = append(want, strconv.Itoa(i+1))
		wantHeard(t, client, "order:1", want...)
	}
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("hearing of 20 entries took %v: it was looked for them", took)
	}
}

// However many come back to one stream, it is read a few times.
func TestDurableStampede(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	relay := startDurable(t, server, nil)
	client := listen(t, relay, "order:1")
	add(server, "order:1", numbers(1, 120)...)
	wantHeard(t, client, "order:1", numbers(1, 120)...)
	var wishes []relaytest.Wish
	for _, e := range only(client, relaytest.KindMessage) {
		wishes = append(wishes, relaytest.Wish{Channel: "order:1", After: e.Cursor})
	}
	client.Drop()
	relay.Kill()
	relay = startDurable(t, server, map[string]string{"SIDECAST_HISTORY_BYTES": "0"})
	const clients = 500
	fleet := dialFleet(t, &relaytest.Dialer{URL: relay.URL()}, clients)
	server.CLI("CONFIG", "RESETSTAT")
	for i, client := range fleet {
		text := fmt.Sprintf(`{"type":"subscribe","channels":[{"channel":"order:1","after":%q}]}`, wishes[i%100].After)
		if err := client.SendText(text); err != nil {
			t.Fatal(err)
		}
	}
	for i, client := range fleet {
		wantHeard(t, client, "order:1", numbers(i%100+2, 120)...)
	}
	stats := server.CLI("INFO", "commandstats")
	if n := calls(t, stats, "xrange"); n > 40 {
		t.Errorf("%d clients caused %d reads", clients, n)
	}
	if kept := metric(t, relay, "sidecast_history_bytes"); kept < 256 {
		t.Error("nothing is kept for others that come back")
	}
	fleet.Drop()
	awaitMetric(t, relay, "sidecast_history_bytes", func(kept float64) bool { return kept < 256 }) // less than any entry
}

// Everybody comes back to a stream of their own.
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
		wish := fleet[i].Cursors()[0]
		text := fmt.Sprintf(`{"type":"subscribe","channels":[{"channel":%q,"after":%q}]}`, wish.Channel, wish.After)
		if err := client.SendText(text); err != nil {
			t.Fatal(err)
		}
	}
	for i, client := range again {
		wantHeard(t, client, fmt.Sprint("order:", i), "second")
	}
}

// calls returns how often a command was called, of INFO commandstats.
func calls(t testing.TB, stats, command string) int {
	t.Helper()
	_, rest, found := strings.Cut(stats, "cmdstat_"+command+":calls=")
	if !found {
		return 0
	}
	number, _, _ := strings.Cut(rest, ",")
	n, err := strconv.Atoi(number)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// What clients publish to a durable channel is added to its stream, which is trimmed, and does not come back where they
// do not want it.
func TestDurablePublish(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	relay := startDurable(t, server, map[string]string{"SIDECAST_DURABLE_LENGTH": "100", "SIDECAST_COMMAND_RATE": "10000"})
	client, other := listen(t, relay, "order:1"), listen(t, relay, "order:1")
	if _, err := client.Publish(t.Context(), "order:1", []byte("mine")); err != nil {
		t.Fatal(err)
	}
	wantHeard(t, client, "order:1", "mine")
	wantHeard(t, other, "order:1", "mine")
	want := []string{"mine"}
	for i := range 50 {
		silent := fmt.Sprintf(`{"type":"publish","channel":"order:1","data":"silent %d","echo":false}`, i)
		if err := client.SendText(silent); err != nil {
			t.Fatal(err)
		}
		want = append(want, fmt.Sprint("silent ", i))
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

// Somebody who publishes to a durable channel and adds nothing finds that out from metric and log.
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
		t.Errorf("%v nudges are said to have nothing behind them", n)
	}
	for range 3 {
		server.CLI("PUBLISH", "order:1", "I am lost")
	}
	awaitMetric(t, relay, series, func(n float64) bool { return n == 3 })
	relay.AwaitLog(func(line string) bool { return strings.Contains(line, "not added to its stream") })
	if strings.Contains(relay.Log(), "I am lost") {
		t.Error("the log tells a payload")
	}
}

// A key that is no stream is told, and nothing else suffers from it.
func TestDurableWrongType(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	relay := startDurable(t, server, nil)
	server.CLI("SET", "order:1", "x")
	client := dial(t, &relaytest.Dialer{URL: relay.URL()})
	for _, wish := range []relaytest.Wish{{Channel: "order:1"}, {Channel: "order:1", After: "AgEAAAAAAA"}} {
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
		t.Errorf("the key is gone: %v", err)
	}
}

// While Redis is away, who comes back waits for it, and who comes for the first time is taken in.
func TestDurableWhileAway(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, "--appendonly", "yes", "--appendfsync", "always")
	relay := startDurable(t, server, nil)
	client := listen(t, relay, "order:1")
	add(server, "order:1", "first")
	wantHeard(t, client, "order:1", "first")
	cursors := client.Cursors()
	client.Drop()
	watch := listen(t, relay, "order:2")
	server.Kill()
	if _, err := watch.Await(t.Context(), relaytest.Is(relaytest.KindOffline)); err != nil {
		t.Fatal(err)
	}
	newcomer := listen(t, relay, "order:3")
	impatient := dial(t, &relaytest.Dialer{URL: relay.URL()})
	if err := impatient.SubscribeFrom(t.Context(), cursors...); err == nil || !strings.Contains(err.Error(), "unavailable") {
		t.Errorf("coming back while Redis is away: %v", err)
	}
	returning := dial(t, &relaytest.Dialer{URL: relay.URL()})
	if err := returning.SendText(fmt.Sprintf(`{"type":"subscribe","channels":[{"channel":"order:1","after":%q}]}`, cursors[0].After)); err != nil {
		t.Fatal(err)
	}
	server.Restart()
	add(server, "order:1", "second")
	wantHeard(t, returning, "order:1", "second")
	if _, err := newcomer.Await(t.Context(), relaytest.IsOn(relaytest.KindGap, "order:3")); err != nil {
		t.Fatal(err)
	}
	add(server, "order:3", "third")
	wantHeard(t, newcomer, "order:3", "gap redis", "third")
}

// All of it works with the Redis in memory.
func TestDurableEmbedded(t *testing.T) {
	t.Parallel()
	redistest.Require(t, "redis-cli", "redis-tools")
	relay := relaytest.Start(t, map[string]string{"SIDECAST_DURABLE_CHANNELS": "order:*"})
	relay.AwaitReady()
	line := relay.AwaitLog(func(line string) bool { return strings.Contains(line, "redis-cli -p ") })
	_, port, _ := strings.Cut(line, "redis-cli -p ")
	port, _, _ = strings.Cut(port, " ")
	server := &redistest.Server{Addr: "127.0.0.1:" + strings.TrimSpace(port)}
	client := listen(t, relay, "order:1")
	cli(t, server, "XADD", "order:1", "*", "data", "a")
	cli(t, server, "PUBLISH", "order:1", "")
	wantHeard(t, client, "order:1", "a")
	client.Drop()
	cli(t, server, "XADD", "order:1", "*", "data", "b")
	returned, answer := back(t, relay, client.Cursors()...)
	wantHeard(t, returned, "order:1", "b")
	if _, err := returned.Publish(t.Context(), "order:1", []byte("c")); err != nil || !answer.Recovered {
		t.Error(err, answer)
	}
	wantHeard(t, returned, "order:1", "b", "c")
	cli(t, server, "DEL", "order:1")
	cli(t, server, "PUBLISH", "order:1", "")
	wantHeard(t, returned, "order:1", "b", "c", "gap reset")
	if _, answer := back(t, relay, client.Cursors()...); answer.Recovered {
		t.Error("recovered what is deleted")
	}
}

func cli(t testing.TB, server *redistest.Server, args ...string) {
	t.Helper()
	out, err := exec.Command("redis-cli", append([]string{"-e", "-p", server.Port()}, args...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("redis-cli %q: %v\n%s", args, err, out)
	}
}
