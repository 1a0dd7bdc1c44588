package e2e_test

import (
	"os/exec"
	"strings"
	"testing"

	"sidecast/relay/relaytest"
	"sidecast/relay/relaytest/redistest"
)

// paste runs commands in redis-cli as a user who pastes them there.
func paste(t *testing.T, server *redistest.Server, commands string) {
	t.Helper()
	redistest.Require(t, "redis-cli", "redis-tools")
	cli := exec.CommandContext(t.Context(), "redis-cli", "-e", "-p", server.Port())
	cli.Stdin = strings.NewReader(commands)
	if out, err := cli.CombinedOutput(); err != nil || string(out) != "OK\n" {
		t.Fatalf("redis-cli: %v\n%s", err, out)
	}
}

// asRelay are the settings with which a relay logs in as the user whose rights
// the document lists.
var asRelay = map[string]string{"SIDECAST_REDIS_USERNAME": "relay", "SIDECAST_REDIS_PASSWORD": "password"}

// wantAllOK fails the test unless sidecast check reports no problem.
func wantAllOK(t *testing.T, findings string) {
	t.Helper()
	for line := range strings.Lines(findings) {
		if !strings.HasPrefix(line, "ok ") {
			t.Errorf("sidecast check: %s", line)
		}
	}
}

// grants: the rights in the document are enough for all that a relay does on
// live channels.
func grants(t *testing.T, text string) {
	server := redistest.Start(t)
	paste(t, server, text)
	s := newShell(t, asRelay)
	serving := onPort(t, snippet(t, "sh", ownRedis), "redis://127.0.0.1:6379", server.Addr)
	url := s.start(serving)
	wantOpen(t, url, server)
	if who := server.CLI("CLIENT", "LIST"); !strings.Contains(who, " user=relay ") {
		t.Errorf("the relay is not logged in as its user:\n%s", who)
	}
	wantAllOK(t, s.run(strings.TrimSpace(serving)+" check\n"))
	server.CLI("ACL", "LOG", "RESET") // the check also tries rights that the relay does not need

	// A browser publishes with the same rights.
	settings := with(openSettings(server, asRelay), "SIDECAST_CHANNELS", "chat,chat:*")
	relay := relaytest.Start(t, with(settings, "SIDECAST_LOG_FORMAT", "json"))
	relay.AwaitReady()
	client := listen(t, relay, "chat")
	if _, err := client.Publish(t.Context(), "chat", []byte("from a browser")); err != nil {
		t.Errorf("publishing: %v", err)
	}
	if heard := hears(t, client, 1)[0].Data; heard != "from a browser" {
		t.Errorf("a client received %q", heard)
	}
	awaitMetric(t, relay, "sidecast_marker_round_trip_seconds_count", func(n float64) bool { return n > 0 })
	if log := server.CLI("ACL", "LOG"); log != "" {
		t.Errorf("Redis denied:\n%s", log)
	}
	if strings.Contains(relay.Log(), `"level":"WARN"`) {
		t.Errorf("the relay logged a warning:\n%s", relay.Log())
	}
}

// TestRightsOfSecondApplication: with the changes that relay/source/README.md
// names, the rights are enough for a second application on the same Redis.
func TestRightsOfSecondApplication(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	paste(t, server, strings.NewReplacer("&sidecast:*", "&shop:*", "&chat:*", "&orders:*").Replace(snippet(t, "", baseRights)))
	settings := openSettings(server, asRelay)
	settings["SIDECAST_CHANNELS"], settings["SIDECAST_KEY_PREFIX"] = "orders:*", "shop:"
	delete(settings, "SIDECAST_PUBLISH_CHANNELS")
	out, code := sidecast(t, settings, "check")
	if code != 0 || strings.Contains(out, "warn ") || strings.Contains(out, "fail ") {
		t.Errorf("sidecast check exits with %d:\n%s", code, out)
	}
	server.CLI("ACL", "LOG", "RESET") // the check also tries rights that the relay does not need
	relay := start(t, settings)
	client := listen(t, relay, "orders:1")
	server.CLI("PUBLISH", "orders:1", "hello")
	hears(t, client, 1)
	awaitMetric(t, relay, "sidecast_markers_up", func(up float64) bool { return up == 1 })
	if log := server.CLI("ACL", "LOG"); log != "" {
		t.Errorf("Redis denied:\n%s", log)
	}
}

// grantsStreams: the rights for durable channels in the document are enough,
// and sidecast check names each of them while it is missing.
func grantsStreams(t *testing.T, text string) {
	server := redistest.Start(t)
	paste(t, server, snippet(t, "", baseRights))
	settings := openSettings(server, asRelay)
	settings["SIDECAST_CHANNELS"], settings["SIDECAST_DURABLE_CHANNELS"] = "chat,chat:*", "order:*"
	settings["SIDECAST_LOG_FORMAT"], settings["SIDECAST_LOG_LEVEL"] = "json", "debug"
	settings["SIDECAST_LISTEN"], settings["SIDECAST_ADMIN_LISTEN"] = "127.0.0.1:0", "127.0.0.1:0"
	check := func() string {
		cmd := exec.Command(relaytest.Build(t), "check")
		cmd.Env = environment(settings)
		out, _ := cmd.CombinedOutput() // its status is 1 if a right is missing
		return string(out)
	}
	if found := check(); !strings.Contains(found, "%R~order:*") || !strings.Contains(found, "+xinfo") {
		t.Errorf("sidecast check does not name the rights that are missing:\n%s", found)
	}
	paste(t, server, text)
	found := check()
	wantAllOK(t, found)
	if !strings.Contains(found, "may only read them") {
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
	if strings.Contains(relay.Log(), `"level":"WARN"`) {
		t.Errorf("the relay logged a warning:\n%s", relay.Log())
	}
	if _, err := returned.Publish(t.Context(), "order:7", []byte("x")); err == nil {
		t.Error("a browser may publish although the user lacks the right")
	}
	relay.AwaitLog(func(line string) bool { return strings.Contains(line, "grant +xadd and %RW~") })
	paste(t, server, "ACL SETUSER relay %RW~order:* +xadd\n")
	if _, err := returned.Publish(t.Context(), "order:7", []byte("four")); err != nil {
		t.Errorf("publishing: %v", err)
	}
	wantHeard(t, returned, "order:7", "three", "four")
}
