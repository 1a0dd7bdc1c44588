package e2e_test

import (
	"os/exec"
	"strings"
	"testing"

	"sidecast/relay/relaytest"
	"sidecast/relay/relaytest/redistest"
)

// addsFromPHP runs what a backend does to add to a stream, and sees that it is heard at once, on a real Redis and on the one
// in memory.
func addsFromPHP(t *testing.T, text string) {
	requirePHP(t)
	_, state, _ := strings.Cut(text, `{"state":"`)
	state, _, _ = strings.Cut(state, `"`)
	server := redistest.Start(t)
	real := startDurable(t, server, nil)
	embedded := newShell(t, map[string]string{"SIDECAST_DURABLE_CHANNELS": "order:*"})
	url := embedded.start(snippet(t, "sh", "go run .\n"))
	inMemory := dial(t, &relaytest.Dialer{URL: url})
	if err := inMemory.Subscribe(t.Context(), "order:7"); err != nil {
		t.Fatal(err)
	}
	for port, client := range map[string]*relaytest.Client{
		server.Port(): listen(t, real, "order:7"), embedded.redisPort(): inMemory,
	} {
		cmd := exec.Command("php")
		cmd.Stdin = strings.NewReader(strings.Replace(text, "6379", port, 1))
		if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
			t.Fatalf("php: %v\n%s", err, out)
		}
		wantHeard(t, client, "order:7", `{"state":"`+state+`"}`)
	}
	if n := metric(t, real, `sidecast_messages_dropped_total{reason="nudge"}`); n != 0 {
		t.Errorf("%v nudges are said to have nothing behind them", n)
	}
}

// grantsStreams gives a user the rights that the README names, and sees that they are enough and all there are.
func grantsStreams(t *testing.T, text string) {
	redistest.Require(t, "redis-cli", "redis-tools")
	server := redistest.Start(t)
	paste := func(text string) {
		cli := exec.CommandContext(t.Context(), "redis-cli", "-e", "-p", server.Port())
		cli.Stdin = strings.NewReader(text)
		if out, err := cli.CombinedOutput(); err != nil || string(out) != "OK\n" {
			t.Fatalf("redis-cli: %v\n%s", err, out)
		}
	}
	paste(snippet(t, "", "ACL SETUSER relay on"))
	as := map[string]string{
		"SIDECAST_REDIS_USERNAME": "relay", "SIDECAST_REDIS_PASSWORD": "password", "SIDECAST_REDIS_URL": server.URL(),
		"SIDECAST_CHANNELS": "chat:*,news", "SIDECAST_DURABLE_CHANNELS": "order:*",
	}
	settings := with(with(openSettings(server, as), "SIDECAST_LOG_FORMAT", "json"), "SIDECAST_LOG_LEVEL", "debug")
	check := func() string {
		cmd := exec.Command(relaytest.Build(t), "check")
		cmd.Env = environment(settings)
		out, _ := cmd.CombinedOutput() // it fails where something is missing
		return string(out)
	}
	if found := check(); !strings.Contains(found, "%R~order:*") || !strings.Contains(found, "+xinfo") {
		t.Errorf("sidecast check does not name the rights that are missing:\n%s", found)
	}
	paste(text)
	found := check()
	for line := range strings.Lines(found) {
		if !strings.HasPrefix(line, "ok ") {
			t.Errorf("sidecast check: %s", line)
		}
	}
	if !strings.Contains(found, "read only") {
		t.Errorf("sidecast check does not say that browsers cannot publish:\n%s", found)
	}
	relay := relaytest.Start(t, settings)
	relay.AwaitReady()
	client := listen(t, relay, "order:7")
	add(server, "order:7", "one", "two")
	wantHeard(t, client, "order:7", "one", "two")
	client.Drop()
	add(server, "order:7", "three")
	returned, answer := back(t, relay, client.Cursors()...)
	wantHeard(t, returned, "order:7", "three")
	if !answer.Recovered {
		t.Errorf("answered %v", answer)
	}
	if _, err := returned.Publish(t.Context(), "order:7", []byte("x")); err == nil {
		t.Error("a browser may publish without the right to")
	}
	paste("ACL SETUSER relay %RW~order:* +xadd\n")
	if _, err := returned.Publish(t.Context(), "order:7", []byte("four")); err != nil {
		t.Errorf("publishing: %v", err)
	}
	wantHeard(t, returned, "order:7", "three", "four")
	if strings.Contains(relay.Log(), `"level":"WARN"`) {
		t.Errorf("the relay complains of what it may not do:\n%s", relay.Log())
	}
}
