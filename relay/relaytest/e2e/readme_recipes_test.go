package e2e_test

import (
	"strings"
	"testing"

	"sidecast/relay/relaytest"
	"sidecast/relay/relaytest/browser"
	"sidecast/relay/relaytest/faultproxy"
	"sidecast/relay/relaytest/redistest"
)

func sendsToRoom(t *testing.T, text string) {
	s, _, url := development(t)
	client := dial(t, &relaytest.Dialer{
		URL: strings.TrimSuffix(url, "ws"), Protocol: relaytest.Raw, Channels: []string{"room:7"},
	})
	if err := client.Barrier(t.Context()); err != nil {
		t.Fatal(err)
	}
	runPHP(t, text, s.redisPort(), "$room = 7; $name = 'Ada'; $text = 'hi';")
	if heard := hears(t, client, 1)[0].Data; heard != `{"from":"Ada","text":"hi"}` {
		t.Errorf("a client received %q", heard)
	}
}

// sendsToUser: a logged-in client receives the messages to its user without
// naming a channel, and an anonymous client cannot subscribe to them.
func sendsToUser(t *testing.T, text string) {
	server := redistest.Start(t)
	s := newShell(t, map[string]string{
		"SIDECAST_REDIS_URL": server.URL(), "SIDECAST_CHANNELS": "user:*", "SIDECAST_JWT_SECRET": jwtSecret,
	})
	url := s.start("sidecast")
	token := strings.TrimSpace(s.run("sidecast token --user 42"))
	user := dial(t, &relaytest.Dialer{
		URL: url, Protocol: relaytest.Raw, Offer: []string{"sidecast.raw", "sidecast.token." + token},
	})
	anonymous := dial(t, &relaytest.Dialer{URL: url})
	if err := anonymous.Subscribe(t.Context(), "user:42"); err == nil {
		t.Error("an anonymous client may subscribe to a user's channel")
	}
	if err := user.Barrier(t.Context()); err != nil {
		t.Fatal(err)
	}
	runPHP(t, text, server.Port(), "$id = 42;")
	if heard := hears(t, user, 1)[0].Data; heard != `{"unread":3}` {
		t.Errorf("the user received %q", heard)
	}
}

// job defines the variables and the function of the recipe about the progress
// of a job.
const job = `$id = 7; $rows = ['a', 'b', 'c']; function import($row) {}`

func sendsProgress(t *testing.T, text string) {
	s, client, _ := development(t)
	if err := client.Subscribe(t.Context(), "job:7"); err != nil {
		t.Fatal(err)
	}
	runPHP(t, text, s.redisPort(), job)
	if last := hears(t, client, 3)[2].Data; last != `{"done":3,"of":3}` {
		t.Errorf("the last message is %q", last)
	}
}

func showsProgress(t *testing.T, text string) {
	s, _, url := development(t)
	ctx := browser.Start(t)
	addr := strings.TrimSuffix(strings.TrimPrefix(url, "ws://"), "/ws")
	tab := open(ctx, t, "file://"+file(t, onPort(t, text, "ws://localhost:8080", addr)))
	runPHP(t, snippet(t, "php", "job:"), s.redisPort(), job)
	browser.Await(tab, t, `document.getElementById('bar').value === 3 && document.getElementById('bar').max === 3`)
}

// addsFromPHP adds an entry to a stream as an application does. Clients receive
// it at once, with a real Redis and with the one in memory.
func addsFromPHP(state string) func(t *testing.T, text string) {
	return func(t *testing.T, text string) {
		server := redistest.Start(t)
		relay := startDurable(t, server, nil)
		embedded := newShell(t, map[string]string{"SIDECAST_DURABLE_CHANNELS": "order:*"})
		url := embedded.start(snippet(t, "sh", startsDevelopment))
		inMemory := dial(t, &relaytest.Dialer{URL: url})
		if err := inMemory.Subscribe(t.Context(), "order:7"); err != nil {
			t.Fatal(err)
		}
		for port, client := range map[string]*relaytest.Client{
			server.Port(): listen(t, relay, "order:7"), embedded.redisPort(): inMemory,
		} {
			runPHP(t, text, port, "$id = 7;")
			wantHeard(t, client, "order:7", `{"state":"`+state+`"}`)
		}
		if n := metric(t, relay, `sidecast_messages_dropped_total{reason="nudge"}`); n != 0 {
			t.Errorf("%v nudges were counted as without a new entry", n)
		}
	}
}

// showsResumed opens the page that resumes, breaks its connection, and checks
// that the page then shows the messages that were published during the break,
// and no gap.
func showsResumed(t *testing.T, text string) {
	s, _, url := development(t)
	ctx := browser.Start(t)
	proxy := faultproxy.Start(t, strings.TrimSuffix(strings.TrimPrefix(url, "ws://"), "/ws"))
	tab := open(ctx, t, "file://"+file(t, onPort(t, text, "ws://localhost:8080", proxy.Addr)))
	const lines = `Array.from(document.querySelectorAll('#log li'), (line) => line.textContent).join()`
	browser.Await(tab, t, `after !== undefined`)
	s.run("sidecast publish chat 1")
	browser.Await(tab, t, lines+` === "1"`)
	proxy.Refuse(true)
	proxy.Reset()
	for _, payload := range []string{"2", "3"} {
		s.run("sidecast publish chat " + payload)
	}
	proxy.Refuse(false)
	browser.Await(tab, t, lines+` === "1,2,3"`)
	s.run("sidecast publish chat 4")
	browser.Await(tab, t, lines+` === "1,2,3,4"`)
}
