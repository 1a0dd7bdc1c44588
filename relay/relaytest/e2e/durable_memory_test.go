package e2e_test

import (
	"strings"
	"testing"

	"sidecast/relay/relaytest"
	"sidecast/relay/relaytest/redistest"
)

// addAboveLimit appends entries and nudges the relays, although Redis uses more
// memory than maxmemory allows, as a script may that declares it.
func addAboveLimit(server *redistest.Server, channel string, payloads ...string) {
	for _, payload := range payloads {
		server.CLI("EVAL", "#!lua flags=allow-oom\n"+
			"redis.call('XADD', KEYS[1], '*', 'data', ARGV[1]) redis.call('PUBLISH', KEYS[1], '')", "1", channel, payload)
	}
}

// TestDurableAboveMaxmemory: while Redis refuses writes because its memory is
// full, clients join, resume and receive, and the relay reports why it cannot
// add their messages.
func TestDurableAboveMaxmemory(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	relay := startDurable(t, server, nil)
	first := listen(t, relay, "order:1")
	add(server, "order:1", "one")
	wantHeard(t, first, "order:1", "one")
	first.Drop()
	add(server, "order:1", "two")
	add(server, "order:2", "before")
	server.CLI("CONFIG", "SET", "maxmemory", "1")

	// A relay that starts now knows none of the streams: order:3 does not exist.
	late := startDurable(t, server, nil)
	for name, relay := range map[string]*relaytest.Process{"the same relay": relay, "another relay": late} {
		resumed, answer := back(t, relay, first.Cursors()...)
		if !answer.Recovered {
			t.Errorf("%s answered %v", name, answer)
		}
		wantHeard(t, resumed, "order:1", "two")
	}
	client := listen(t, late, "order:2", "order:3")
	for _, channel := range []string{"order:2", "order:3"} {
		addAboveLimit(server, channel, "above", "the limit")
		wantHeard(t, client, channel, "above", "the limit")
	}

	_, err := client.Publish(t.Context(), "order:2", []byte("from a browser"))
	if err == nil || !strings.Contains(err.Error(), "unavailable") {
		t.Errorf("publishing returned %v", err)
	}
	late.AwaitLog(func(line string) bool { return strings.Contains(line, "raise maxmemory in Redis") })
	if log := relay.Log() + late.Log(); strings.Contains(log, "durable channels cannot be read") {
		t.Errorf("a relay could not read:\n%s", log)
	}
	server.CLI("CONFIG", "SET", "maxmemory", "0")
	if _, err := client.Publish(t.Context(), "order:2", []byte("later")); err != nil {
		t.Errorf("publishing with enough memory returned %v", err)
	}
	wantHeard(t, client, "order:2", "above", "the limit", "later")
}
