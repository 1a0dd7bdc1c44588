package e2e_test

import (
	"strings"
	"testing"
	"time"

	"sidecast/relay/relaytest"
	"sidecast/relay/relaytest/browser"
	"sidecast/relay/relaytest/faultproxy"
	"sidecast/relay/relaytest/redistest"
)

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

// showsResumed opens the page with the client, breaks its connection, and
// checks that the page then shows the messages that were published during the
// break, and no gap. A second page shows all messages at once.
func showsResumed(t *testing.T, text string) {
	s, _, url := development(t)
	ctx := browser.Start(t)
	proxy := faultproxy.Start(t, strings.TrimSuffix(strings.TrimPrefix(url, "ws://"), "/ws"))
	page := "file://" + file(t, onPort(t, text, "localhost:8080", proxy.Addr))
	tab := open(ctx, t, page)
	const lines = `Array.from(document.querySelectorAll('#log li'), (line) => line.textContent).join()`
	awaitSubscribed(tab, t, "chat")
	s.run("sidecast publish chat 1")
	browser.Await(tab, t, lines+` === "1"`)
	proxy.Refuse(true)
	proxy.Reset()
	browser.Await(tab, t, `document.getElementById('state').textContent !== "open"`)
	for _, payload := range []string{"2", "3"} {
		s.run("sidecast publish chat " + payload)
	}
	proxy.Refuse(false)
	browser.Await(tab, t, lines+` === "1,2,3"`)
	s.run("sidecast publish chat 4")
	browser.Await(tab, t, lines+` === "1,2,3,4" && document.getElementById('state').textContent === "open"`)
	browser.Await(open(ctx, t, page), t, lines+` === "1,2,3,4"`)
}

// TestPagesNoticeSilence: the pages with the client, and the demo page, notice a
// connection on which nothing arrives any more, although it is open, and show
// the messages that they have missed. Without heartbeats, they would wait
// forever.
func TestPagesNoticeSilence(t *testing.T) {
	t.Parallel()
	redistest.Require(t, "sh", "dash")
	s := newShell(t, map[string]string{"SIDECAST_PING_INTERVAL": "2s", "SIDECAST_PONG_TIMEOUT": "1s"})
	url := s.start(snippet(t, "sh", startsDevelopment))
	ctx := browser.Start(t)
	const (
		demo       = "the demo page"
		demoIsLive = `document.getElementById("status").dataset.state === "live"`
	)
	for name, page := range map[string]struct{ channel, isOpen, shows string }{
		chatsPage:  {"chat", `relay.state === "open"`, `document.querySelector("#log").textContent.endsWith("missed")`},
		clientPage: {"chat", `relay.state === "open"`, `document.querySelector("#log").textContent.endsWith("missed")`},
		demo:       {"chat", demoIsLive, `document.querySelector("#messages").textContent.endsWith("missed")`},
	} {
		t.Run(name, func(t *testing.T) {
			proxy := faultproxy.Start(t, strings.TrimSuffix(strings.TrimPrefix(url, "ws://"), "/ws"))
			location := "http://" + proxy.Addr + "/"
			if name != demo {
				location = "file://" + file(t, onPort(t, snippet(t, "html", name), "localhost:8080", proxy.Addr))
			}
			tab := open(ctx, t, location)
			awaitSubscribed(tab, t, page.channel)
			browser.Await(tab, t, page.isOpen)
			proxy.Hold(faultproxy.Both...)
			begin := time.Now()
			browser.Await(tab, t, "!("+page.isOpen+")")
			t.Logf("noticed after %v", time.Since(begin).Round(time.Millisecond))
			s.run("sidecast publish chat missed")
			proxy.Reset() // what it holds must not arrive later
			proxy.Release(faultproxy.Both...)
			browser.Await(tab, t, page.shows)
		})
	}
}

// showsNewestPrice: the page without a library shows the newest message, at
// once and after it has noticed that its connection is dead. The minute after
// which it does is shortened.
func showsNewestPrice(t *testing.T, text string) {
	s, _, url := development(t)
	s.run("sidecast publish price:7 10")
	ctx := browser.Start(t)
	proxy := faultproxy.Start(t, strings.TrimSuffix(strings.TrimPrefix(url, "ws://"), "/ws"))
	text = onPort(t, text, "ws://localhost:8080", proxy.Addr)
	if !strings.Contains(text, "60000") {
		t.Fatalf("the page does not wait for a minute:\n%s", text)
	}
	tab := open(ctx, t, "file://"+file(t, strings.ReplaceAll(text, "60000", "3000")))
	const price = `document.getElementById("price").textContent`
	browser.Await(tab, t, price+` === "10"`)
	proxy.Hold(faultproxy.Both...)
	before := proxy.Opened()
	s.run("sidecast publish price:7 11")
	eventually(t, func() string {
		if proxy.Opened() > before {
			return ""
		}
		return "the page has not made a new connection"
	})
	proxy.Release(faultproxy.Both...)
	browser.Await(tab, t, price+` === "11"`)
	proxy.Reset()
	s.run("sidecast publish price:7 12")
	browser.Await(tab, t, price+` === "12"`)
}

// showsStream: the page with EventSource shows each message once and in order,
// also those that were published while its connection was broken.
func showsStream(t *testing.T, text string) {
	s, _, url := development(t)
	ctx := browser.Start(t)
	proxy := faultproxy.Start(t, strings.TrimSuffix(strings.TrimPrefix(url, "ws://"), "/ws"))
	text = onPort(t, text, "http://localhost:8080", proxy.Addr)
	tab := open(ctx, t, "file://"+file(t, text))
	browser.Await(tab, t, "source.readyState === EventSource.OPEN")
	const news = `[...document.querySelectorAll("li")].map((li) => li.textContent).join()`
	s.run("sidecast publish news one")
	browser.Await(tab, t, news+` === "one"`)
	for i, want := range []string{"one,two", "one,two,three"} {
		proxy.Reset()
		s.run("sidecast publish news " + []string{"two", "three"}[i])
		browser.Await(tab, t, news+` === "`+want+`"`)
	}
}
