package e2e_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"sidecast/relay/relaytest"
	"sidecast/relay/relaytest/browser"
	"sidecast/relay/relaytest/redistest"
)

// A chatPage is a page as in a tutorial: it connects to port 8080, shows the
// messages that it receives, and sends the lines that a user types.
type chatPage struct {
	name  string
	html  func(t testing.TB) string
	input string // the selector of the input field
	lines string // JavaScript: the texts of the messages
}

var chatPages = []chatPage{
	{
		name: "the classic tutorial",
		html: func(t testing.TB) string {
			text, err := os.ReadFile("testdata/tutorial.html")
			if err != nil {
				t.Fatal(err)
			}
			return string(text)
		},
		input: "#input",
		lines: `[...document.querySelectorAll("#messages p")].map((e) => e.textContent)`,
	},
	{
		name:  "the README's",
		html:  func(t testing.TB) string { return snippet(t, "html", chatsPage) },
		input: "#say",
		lines: `[...document.querySelectorAll("#log li")].map((e) => e.textContent)`,
	},
}

// TestTutorialPage: the page of the usual WebSocket tutorial and that of the
// README work with a relay without settings, wherever the page was loaded from.
func TestTutorialPage(t *testing.T) {
	t.Parallel()
	relay := start(t, nil)
	ctx := browser.Start(t)
	for _, page := range chatPages {
		t.Run(page.name, func(t *testing.T) {
			html := onPort(t, page.html(t), "localhost:8080", relay.Addr())
			pages := map[string]string{
				"a port":       serve(t, html, "localhost"),
				"another port": serve(t, html, "localhost"),
				"an address":   serve(t, html, "127.0.0.1"),
				"a file":       "file://" + file(t, html),
			}
			pages["a second tab"] = pages["a port"]
			tabs := make(map[string]context.Context)
			for name, url := range pages {
				tabs[name] = open(ctx, t, url)
				awaitSubscribed(tabs[name], t, "chat")
			}
			var sent []string
			for name, sender := range tabs {
				text := fmt.Sprintf("from %s: <b>\"hi\"</b> 👋", name)
				sent = append(sent, text)
				say(sender, t, page, text)
				for _, tab := range tabs {
					browser.Await(tab, t, fmt.Sprintf("%s.length >= %d", page.lines, len(sent)))
				}
			}
			for name, tab := range tabs {
				if shown := browser.Eval[[]string](tab, t, page.lines); !slices.Equal(shown, sent) {
					t.Errorf("%s shows %q, want %q", name, shown, sent)
				}
			}
		})
	}
	if problems := browser.Problems(ctx); len(problems) > 0 {
		t.Errorf("problems: %q", problems)
	}
}

// refusals are requests that the relay refuses, and the close event that
// Chromium reports to the page.
var refusals = []struct {
	name, query, protocols, send string // the last two are JavaScript; see connect
	code                         int
	reason                       string
}{
	{"not public, with a way to log in", "?channel=secret", `undefined`, ``, 4401, "receiving this channel needs a login"},
	{"reserved", "?channel=sidecast:mark", `undefined`, ``, 4403, "not a channel name, or a reserved one"},
	{"a bad token", "?channel=chat:1", `["sidecast.v1", "sidecast.token.abc"]`, ``, 4401, "no valid login: log in again"},
	{"no channel", "", `undefined`, ``, 1008, "no channel named: add ?channel=NAME or set SIDECAST_DEFAULT_CHANNELS"},
	{"too many channels", "?channel=" + strings.Join(channels("chat", 129), "&channel="), `undefined`, ``, 1008,
		"too many channels: name fewer, or increase SIDECAST_MAX_CHANNELS_PER_SESSION"},
	{"a message for two channels", "?channel=chat:1&channel=chat:2", `undefined`, `"hi"`, 1008, "several channels: add &publish=NAME"},
	{"no right to publish", "?channel=chat:1&publish=secret", `undefined`, `"hi"`, 1008, "publishing to this channel is not allowed"},
	{"not JSON", "", `"sidecast.v1"`, `"hi"`, 1007, "sidecast.v1 takes one JSON object in each text frame"},
	{"too big", "?channel=chat:1", `undefined`, `"x".repeat(16 * 1024 + 1)`, 1009,
		"the message is larger than SIDECAST_MAX_INBOUND_BYTES allows"},
	// Chromium reports 1006 without a reason for everything that is not a close
	// frame.
	{"an unknown subprotocol", "?channel=chat:1", `"soap"`, ``, 1006, ""},
}

// TestRefusals: a page can read from the close event why the relay refused it
// or closed its connection.
func TestRefusals(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	relay := startRelay(t, server, map[string]string{
		"SIDECAST_PUBLIC_CHANNELS": "chat:*", "SIDECAST_PUBLISH_CHANNELS": "chat:*", "SIDECAST_DRAIN_DELAY": "0s",
		"SIDECAST_DRAIN_TIMEOUT": "1s", "SIDECAST_JWT_SECRET": jwtSecret,
	})
	ctx := browser.Start(t)
	browser.Do(ctx, t, chromedp.Navigate(serve(t, "<!doctype html><title>refusals</title>", "127.0.0.1")))
	for _, test := range refusals {
		t.Run(test.name, func(t *testing.T) {
			connect(ctx, t, relay, test.query, test.protocols, test.send)
			wantCloseEvent(ctx, t, test.code, test.reason)
		})
	}
	t.Run("a page of another host", func(t *testing.T) {
		foreign := open(ctx, t, serve(t, "<!doctype html><title>foreign</title>", "localhost"))
		connect(foreign, t, relay, "?channel=chat:1", `undefined`, ``)
		wantCloseEvent(foreign, t, 1006, "")
	})
	t.Run("not public, and no way to log in", func(t *testing.T) {
		plain := startRelay(t, server, map[string]string{"SIDECAST_PUBLIC_CHANNELS": "chat:*"})
		connect(ctx, t, plain, "?channel=secret", `undefined`, ``)
		wantCloseEvent(ctx, t, 4403, "receiving this channel is not allowed")
	})

	connectOpen := func(t *testing.T, query string) {
		t.Helper()
		connect(ctx, t, relay, query, `undefined`, ``)
		browser.Await(ctx, t, `socket.readyState === WebSocket.OPEN`)
	}
	t.Run("Redis is unavailable", func(t *testing.T) {
		connectOpen(t, "?channel=chat:1")
		server.Kill()
		browser.Eval[chromedp.Void](ctx, t, `socket.send("hi")`)
		wantCloseEvent(ctx, t, 1013, "the message may not have been published: try again later")
	})
	t.Run("a gap", func(t *testing.T) {
		connectOpen(t, "?channel=chat:1&gap=close")
		server.Restart()
		wantCloseEvent(ctx, t, 4410, "messages may be missing: load the state again, then reconnect")
	})
	t.Run("the relay restarts", func(t *testing.T) {
		connectOpen(t, "?channel=chat:1")
		terminate(relay)
		wantCloseEvent(ctx, t, 1012, "the relay restarts: reconnect after a random delay")
		if code := relay.Wait(); code != 0 {
			t.Errorf("exit code %d", code)
		}
	})
}

// connect opens a WebSocket in the page. When it is open it sends the value of
// a JavaScript expression, if that is not empty.
func connect(ctx context.Context, t testing.TB, relay *relaytest.Process, query, protocols, send string) {
	t.Helper()
	onOpen := "() => {}"
	if send != "" {
		onOpen = "() => socket.send(" + send + ")"
	}
	browser.Eval[chromedp.Void](ctx, t, fmt.Sprintf(`
		globalThis.ended = undefined;
		globalThis.socket = new WebSocket(%q, %s);
		socket.onopen = %s;
		socket.onclose = (event) => { ended = {code: event.code, reason: event.reason} };
		undefined`, relay.URL()+query, protocols, onOpen))
}

func wantCloseEvent(ctx context.Context, t testing.TB, code int, reason string) {
	t.Helper()
	browser.Await(ctx, t, "ended")
	if got := browser.Eval[int](ctx, t, "ended.code"); got != code {
		t.Errorf("Chromium reports %d, want %d", got, code)
	}
	if got := browser.Eval[string](ctx, t, "ended.reason"); got != reason {
		t.Errorf("Chromium reports the reason %q, want %q", got, reason)
	}
}

// open loads a page in a new tab, and waits until its WebSocket is open if it
// has one.
func open(ctx context.Context, t testing.TB, url string) context.Context {
	t.Helper()
	tab, done := chromedp.NewContext(ctx)
	t.Cleanup(done)
	if err := chromedp.Do(tab); err != nil { // without a deadline: it would end the tab
		t.Fatalf("opening a tab: %v", err)
	}
	browser.Do(tab, t, chromedp.Navigate(url))
	browser.Await(tab, t, `typeof socket === "undefined" || socket.readyState === WebSocket.OPEN`)
	return tab
}

// awaitSubscribed waits until the page's client is subscribed to the channel, if
// the page has a client. load runs when it is.
func awaitSubscribed(tab context.Context, t testing.TB, channel string) {
	t.Helper()
	browser.Await(tab, t, fmt.Sprintf(`(() => {
		if (typeof relay === "undefined") return true;
		relay.probe ??= relay.channel(%q, { load() { relay.isSubscribed = true } });
		return relay.isSubscribed;
	})()`, channel))
}

// say types a line into the page and sends it.
func say(tab context.Context, t testing.TB, page chatPage, text string) {
	t.Helper()
	browser.Do(tab, t, chromedp.SendKeys(chromedp.CSS(page.input), text+kb.Enter))
}

// serve serves a page on a free port of 127.0.0.1 and returns its URL with this
// host name.
func serve(t testing.TB, html, host string) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/" {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		fmt.Fprint(w, html)
	}))
	t.Cleanup(server.Close)
	_, port, _ := net.SplitHostPort(server.Listener.Addr().String())
	return "http://" + net.JoinHostPort(host, port) + "/"
}

// file writes a page to a file and returns its path.
func file(t testing.TB, html string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "page.html")
	if err := os.WriteFile(path, []byte(html), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// onPort replaces the port of an address in the text, which must contain the
// address, by the port of addr.
func onPort(t testing.TB, text, address, addr string) string {
	t.Helper()
	if !strings.Contains(text, address) {
		t.Fatalf("%s is not in:\n%s", address, text)
	}
	_, port, _ := net.SplitHostPort(addr)
	return strings.ReplaceAll(text, address, address[:strings.LastIndexByte(address, ':')+1]+port)
}
